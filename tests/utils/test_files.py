"""Files and folders appear whole or not at all, whatever fails or dies meanwhile."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sivae_translate.utils.errors import OutputError
from sivae_translate.utils.files import (
    remove_leftovers,
    replacing,
    replacing_folder,
    whole_folders,
    write_text,
)


class Death(BaseException):
    """The process is killed: nothing after it happens."""


def write_folder(target: Path, content: str) -> None:
    with replacing_folder(target) as folder:
        (folder / "file").write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException, *, dead: bool) -> None:
    """The ``number``-th rename fails; with ``dead`` everything that changes the disk fails from then on."""
    count = 0

    def failing(original: Any, *, renames: bool) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += renames
            if (renames and count == number) or (dead and count >= number):
                raise error
            return original(*arguments, **options)

        return run

    for module, name in [(os, "replace"), (shutil, "rmtree"), (os, "unlink"), (os, "mkdir")]:
        monkeypatch.setattr(module, name, failing(getattr(module, name), renames=name == "replace"))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", ["error", "interrupt", "death"])
def test_a_folder_that_is_replaced_is_whole_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    target = tmp_path / "step-4"
    write_folder(target, "old")
    error = {"error": OSError(errno.EIO, "broken"), "interrupt": KeyboardInterrupt(), "death": Death()}[kind]
    fail_at(monkeypatch, number, error, dead=kind == "death")
    if number < 3:  # there are two renames
        with pytest.raises((OutputError, KeyboardInterrupt, Death)):
            write_folder(target, "new")
    else:
        write_folder(target, "new")
    monkeypatch.undo()
    expected = "old" if number < 3 else "new"
    assert (whole_folders(tmp_path)["step-4"] / "file").read_text() == expected
    assert list(whole_folders(tmp_path)) == ["step-4"]
    if kind != "death":
        assert names(tmp_path) == ["step-4"]
    remove_leftovers(tmp_path, exclusive=True)
    assert names(tmp_path) == ["step-4"]
    assert (target / "file").read_text() == expected


def leave_temporaries(folder: Path) -> None:
    """What a process leaves that is killed while it writes."""
    files, folders = replacing(folder / "picture.png"), replacing_folder(folder / "model")
    files.__enter__().write_text("half")
    (folders.__enter__() / "file").write_text("half")
    os._exit(0)


def test_what_a_killed_process_leaves_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=leave_temporaries, args=(tmp_path,))
    process.start()
    process.join()
    assert len(names(tmp_path)) == 2
    with replacing(tmp_path / "mine.txt") as temporary:
        temporary.write_text("mine")
        remove_leftovers(tmp_path)
        assert names(tmp_path) == [temporary.name]
    assert names(tmp_path) == ["mine.txt"]


def test_a_folder_removes_what_a_killed_process_left_of_it(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=leave_temporaries, args=(tmp_path,))
    process.start()
    process.join()
    write_folder(tmp_path / "model", "whole")
    assert [name for name in names(tmp_path) if "model" in name] == ["model"]


def test_leftovers_of_earlier_versions_are_removed_and_other_hidden_files_stay(tmp_path: Path) -> None:
    for name in [".best.safetensors.123.tmp.safetensors", ".step-00000004.k_3x9a0z.tmp", ".lock", ".tmp"]:
        (tmp_path / name).touch()
    (tmp_path / ".step-00000008.77.old.tmp").mkdir()
    remove_leftovers(tmp_path, exclusive=True)
    assert names(tmp_path) == [".lock", ".tmp", "step-00000008"]


def test_temporary_names_differ_between_calls(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as one, replacing(tmp_path / "a.txt") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a.txt").read_text() == "one"


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 125 + ".png", "a." + "b" * 250])
def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    write_folder(tmp_path / "folder" / name, "text")
    assert names(tmp_path) == sorted([name, "folder"])
    assert names(tmp_path / "folder") == [name]


def test_a_file_is_synchronised_by_a_descriptor_for_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses to synchronise a file that was opened for reading."""
    fcntl = pytest.importorskip("fcntl")
    modes = []

    def watch(descriptor: int) -> None:
        modes.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR))

    monkeypatch.setattr(os, "fsync", watch)
    write_text(tmp_path / "a.txt", "text")
    write_folder(tmp_path / "folder", "text")
    assert modes == [os.O_RDWR, os.O_RDWR]


def test_files_and_folders_have_the_users_modes(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "text")
    write_folder(tmp_path / "folder", "text")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain.txt").touch()
    for ours, plain in [("a.txt", "plain.txt"), ("folder", "plain")]:
        assert stat.S_IMODE((tmp_path / ours).stat().st_mode) == stat.S_IMODE(
            (tmp_path / plain).stat().st_mode
        )


def test_long_names_can_be_written_where_names_are_ascii(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from sivae_translate.utils.files import write_text; "
    code += "write_text(Path(sys.argv[1]), 'x')"
    place = tmp_path / ("\u00e9" * 110)
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, str(place)], env=plain, check=True)
    assert place.read_text() == "x"
    assert len(names(tmp_path)) == 1
