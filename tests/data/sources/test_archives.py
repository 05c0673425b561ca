"""Archives of any content give bytes or one DataError that names the file."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sivae_translate.config import DataConfig
from sivae_translate.data import archives
from sivae_translate.data.archives import list_files, unzip
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import cars3d, digits, idx
from sivae_translate.utils.errors import DataError


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return path


def patched(path: Path, offset: int, value: int) -> Path:
    """A zip file of one member with another 16-bit field, counted from the start of its flags, in both of its
    headers.
    """
    raw = bytearray(path.read_bytes())
    for start in (raw.index(b"PK\3\4") + 6, raw.index(b"PK\1\2") + 8):
        raw[start + offset : start + offset + 2] = struct.pack("<H", value)
    path.write_bytes(raw)
    return path


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    path = patched(zipped(tmp_path / "locked.zip", {"train/a.png": b"x"}), 0, 1)
    with pytest.raises(DataError, match=r"locked\.zip is encrypted") as caught:
        list_files(path)
    assert "unpack it" in caught.value.remedy
    with pytest.raises(DataError, match="is encrypted"):
        load_data(DataConfig(name="facades", root=tmp_path))


def test_a_method_that_is_not_supported_is_named(tmp_path: Path) -> None:
    files = list_files(patched(zipped(tmp_path / "odd.zip", {"a.png": b"x"}), 2, 9))
    with pytest.raises(DataError, match=r"odd\.zip/a\.png: .*compression"):
        files.read("a.png")


def test_a_member_that_would_fill_the_memory_is_refused_unread(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", {"a.png": bytes(2**20)})
    claimed = path.read_bytes().replace(struct.pack("<I", 2**20), struct.pack("<I", 2**31))
    path.write_bytes(claimed)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.png unpacks to 2,048 MB or more"):
        list_files(path).read("a.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_files_that_unpack_to_more_than_is_allowed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1000)
    with pytest.raises(DataError, match="x unpacks to"):
        unzip(gzip.compress(bytes(2000)), "x")
    (tmp_path / "large").write_bytes(bytes(2000))
    with pytest.raises(DataError, match="large unpacks to"):
        list_files(tmp_path).read("large")
    stored = io.BytesIO()
    np.savez_compressed(stored, images=np.zeros((9, 16, 16), np.uint8), labels=np.zeros(9, np.uint8))
    (tmp_path / "mnist_10k.npz").write_bytes(stored.getvalue())
    with pytest.raises(DataError, match=r"mnist_10k\.npz unpacks to"):
        digits._npz(list_files(tmp_path), "mnist_10k.npz", ("images", "labels"))


def test_what_an_archive_program_adds_is_left_out(tmp_path: Path) -> None:
    names = ("train/photo/1.png", "__MACOSX/train/photo/._1.png", "train/photo/.DS_Store")
    path = zipped(tmp_path / "mac.zip", dict.fromkeys(names, b"x"))
    assert list(list_files(path).readers) == ["train/photo/1.png"]


def test_links_in_a_circle_and_pipes_do_not_stop_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(b"x")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.zip")
    assert list(list_files(tmp_path).readers) == ["sub/a.png"]


def mat() -> bytes:
    from scipy.io import savemat

    stored = io.BytesIO()
    savemat(stored, {"im": np.zeros((4, 4, 3, 24, 4), np.uint8)}, do_compression=True)
    return stored.getvalue()


def arrays() -> bytes:
    stored = io.BytesIO()
    np.savez_compressed(stored, images=np.ones((9, 4, 4), np.uint8), labels=np.ones(9, np.uint8))
    return stored.getvalue()


def numbers() -> bytes:
    return bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 3) + bytes(range(18))


def members() -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/a.png", b"x" * 99)
        archive.writestr("b", b"y")
    return stored.getvalue()


def read_all(path: Path) -> None:
    files = list_files(path)
    for name in files.readers:
        files.read(name)


READERS: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "zip": (members(), read_all),
    "idx": (numbers(), lambda path: idx.read_idx(path, 3)),
    "idx.gz": (gzip.compress(numbers()), lambda path: idx.read_idx(path, 3)),
    "npz": (arrays(), lambda path: digits._npz(list_files(path.parent), path.name, ("images", "labels"))),
    "mat": (mat(), lambda path: cars3d._from_mat(path.read_bytes(), str(path))),
    "lines": (
        gzip.compress(b" ".join([b"7.0", *[b"-1.000"] * 256]) + b"\n"),
        lambda path: digits._from_lines(path.read_bytes(), str(path)),
    ),
}


def mutations(raw: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, removed, or repeated."""
    changed = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        at, kind = int(rng.integers(len(changed))), int(rng.integers(3))
        if kind == 0:
            changed[at] = int(rng.choice([0, 1, 127, 255, rng.integers(256)]))
        elif kind == 1:
            del changed[at : at + int(rng.integers(1, 20))]
        else:
            changed[at:at] = changed[at : at + 8]
        changed = changed or bytearray(1)
    return bytes(changed)


@pytest.mark.parametrize("kind", READERS)
def test_damage_of_any_kind_is_one_error(kind: str, tmp_path: Path) -> None:
    """300 damaged files each: they are read, or a DataError names them."""
    path = tmp_path / f"file.{kind}"
    raw, read = READERS[kind]
    path.write_bytes(raw)
    read(path)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        path.write_bytes(mutations(raw, rng))
        try:
            read(path)
        except DataError as error:
            refused += 1
            assert str(tmp_path) in error.what
    assert refused > 30
