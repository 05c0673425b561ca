"""Whatever a file system allows as a name works: in training, reports, lists and translations."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from sivae_translate.cli import main
from sivae_translate.data.listing import is_visible
from sivae_translate.data.split_names import parse
from sivae_translate.utils.text import printable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse some bytes")

ODD = [*"[]$_^\\{}|*`<>&#%'\";=~!?:\n\t\r\x1b\x7f \x85é漢\u202e", "\udce9", "😀", "[/x]", "$$", "\\frac"]
LONGEST = 200
"""Bytes; an ending and a number fit behind them."""


def legal(name: str) -> bool:
    return "/" not in name and "\0" not in name and 0 < len(os.fsencode(name)) <= LONGEST


NAMES = st.one_of(
    st.lists(st.sampled_from([*ODD, "a", "B", "7", "."]), min_size=1, max_size=12).map("".join),
    st.binary(min_size=1, max_size=LONGEST).map(os.fsdecode),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
).filter(legal)
FOLDERS = NAMES.filter(lambda name: is_visible(name) and parse(name) is None and name != "..")


def command(*arguments: str | Path) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def fill(folder: Path, names: list[str], pixels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for name, image in zip(names, pixels, strict=False):
        Image.fromarray(image).save(folder / name, "PNG")


@example("caf\udce9", "IMG [final]")
@example("o[/x]", "-$")
@given(FOLDERS, NAMES)
def test_translations_and_lists(
    tiny_run: Path, pixels: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str], a: str, b: str
) -> None:
    assume(is_visible(b))
    root = tmp_path / "in"
    shutil.rmtree(tmp_path)
    fill(root / a, [f"{b}.png"], pixels)
    (root / f"{b}.jpg").write_bytes(b"not an image")
    out = tmp_path / a
    assert command("translate", tiny_run, root, "--to", "dogs", "--out", f"{out}") == 1
    shown = capfd.readouterr().err
    assert shown.isascii() or shown.encode()
    assert f"{printable(f'{b}.jpg')}: it is not an image" in shown
    written = [path for path in out.rglob("*") if path.is_file()]
    assert written == [out / a / f"{b}.png"]
    assert command("translate", tiny_run, root, "--to", "dogs", "--out", f"{out}") == 1
    assert "0 written" in capfd.readouterr().err


WIDTHS = ["--model.widths", "4", "4", "4", "--model.style-widths", "4", "4", "4"]
SMALL = ["--data.image-size", "32", "--training.steps", "2", *WIDTHS]


@pytest.mark.full
@settings(max_examples=1, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
@example("caf\udce9", "$_$")
@example("a|b\n", "<i>[x]")
@given(FOLDERS, FOLDERS)
def test_training_and_reports(
    pixels: np.ndarray, tmp_path: Path, capfd: pytest.CaptureFixture[str], a: str, b: str
) -> None:
    assume(a != b)
    shutil.rmtree(tmp_path)
    data, run, out = tmp_path / "data", tmp_path / f"{b}-run", tmp_path / f"{b}-report"
    for split, count in (("train", 24), ("test", 3)):
        for domain in (a, b):
            fill(
                data / split / domain, [f"{domain}{index}.png" for index in range(count)], pixels.repeat(5, 0)
            )
    for arguments in (
        ["train", "--data", data, "--out", run, *SMALL, "--training.batch", "4"],
        ["info", run],
        ["evaluate", run, "--limit", "2", "--no-vgg", "--out", out],
        [
            "ood",
            run,
            "--out",
            data / "test" / a,
            "--in",
            data / "test" / b,
            "--report",
            out,
            "--samples",
            "2",
        ],
        ["sample", run, "--n", "1", "--out", tmp_path / "samples"],
        ["train", "--resume", "--out", run, "--training.steps", "3"],
    ):
        assert command(*arguments) == 0, capfd.readouterr().err
    report = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert {pair["source"] for pair in report["pairs"]} == {a, b}
    assert (out / "evaluation.md").read_text(encoding="utf-8").startswith("# ")
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {
        "samples.png",
        f"{a}-00000.png",
        f"{b}-00000.png",
    }
