"""Translating folders: nothing lost, nothing overwritten, everything resumable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.cli.common import report_files
from sivae_translate.inference import folders as batch
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.jobs import name_outputs
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import DataError, InputError, OutputError
from sivae_translate.utils.files import replacing
from tests.conftest import with_fit


def files(folder: Path) -> Any:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


EXPECTED = ["a.png", "b.png", "deep/c.png", "deep/er/d.png"]


def test_sub_folders_and_names_are_kept_and_the_broken_file_is_listed(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    result = translate_files(translator, [folder], "dogs", tmp_path / "out", batch_size=2)
    assert files(tmp_path / "out") == EXPECTED
    assert len(result.written) == 4
    assert len(result.unreadable) == 1
    assert "broken.png" in result.unreadable[0]


def test_results_equal_the_translators_in_any_batch_size(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    expected = translator(folder / "deep" / "c.png", "dogs")
    for size in (1, 3):
        translate_files(translator, [folder], "dogs", tmp_path / f"out{size}", batch_size=size)
        made = np.asarray(Image.open(tmp_path / f"out{size}" / "deep" / "c.png")).astype(int)
        assert np.abs(made - np.asarray(expected)).max() <= 1


def test_a_second_call_does_only_what_is_missing(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translate_files(translator, [folder], "dogs", out)
    (out / "b.png").unlink()
    (out / "a.png").write_bytes(b"mine")
    result = translate_files(translator, [folder], "dogs", out)
    assert result.written == [out / "b.png"]
    assert len(result.existing) == 3
    assert (out / "a.png").read_bytes() == b"mine"
    translate_files(translator, [folder], "dogs", out, overwrite=True)
    assert (out / "a.png").read_bytes() != b"mine"


def test_strict_stops_at_the_unreadable_file(translator: Translator, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"broken\.png"):
        translate_files(translator, [folder], "dogs", tmp_path / "out", strict=True)


def test_files_that_are_no_images_are_counted_and_an_error_where_strict(
    translator: Translator, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Image.new("RGB", (8, 8)).save(source / "a.png")
    (source / "drawing.psd").touch()
    with pytest.raises(DataError, match=r"not images: 1 \.psd"):
        translate_files(translator, [source], "dogs", out, strict=True)
    assert not out.exists()
    assert translate_files(translator, [source], "dogs", out).left_out == "1 .psd"
    assert files(out) == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes of this kind")
def test_pipes_and_links_to_themselves_are_listed_and_stop_nothing(
    translator: Translator, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Image.new("RGB", (8, 8)).save(source / "a.png")
    os.mkfifo(source / "pipe.png")
    (source / "loop.png").symlink_to("loop.png")
    (source / "circle").symlink_to(".")
    result = translate_files(translator, [source], "dogs", out)
    assert files(out) == ["a.png"]
    loop, pipe = sorted(result.unreadable)
    assert "loop.png: Too many levels" in loop
    assert "pipe.png: it is a pipe" in pipe
    with pytest.raises(DataError, match="it is a pipe"):
        translator.style_code([source / "pipe.png"])


def test_an_interrupted_call_leaves_only_whole_files_and_can_be_finished(
    translator: Translator, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = Encoding.save, []

    def fail_on_third(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(Encoding, "save", fail_on_third)
    with pytest.raises(KeyboardInterrupt):
        translate_files(translator, [folder], "dogs", tmp_path / "out", batch_size=1, workers=0)
    monkeypatch.undo()
    for name in files(tmp_path / "out"):
        Image.open(tmp_path / "out" / name).load()
    translate_files(translator, [folder], "dogs", tmp_path / "out")
    assert files(tmp_path / "out") == EXPECTED


def test_outputs_that_would_collide_or_replace_inputs_are_refused(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="would replace an input"):
        translate_files(translator, [folder], "dogs", folder)
    with pytest.raises(InputError, match="batch_size is -1"):
        translate_files(translator, [folder], "dogs", tmp_path / "out", batch_size=-1)
    linked = tmp_path / "linked"
    linked.mkdir()
    name = next(path.name for path in sorted(folder.iterdir()) if path.suffix == ".png")
    (linked / name).symlink_to(folder / name)
    with pytest.raises(InputError, match="would replace an input"):
        translate_files(translator, [linked], "dogs", folder)
    (tmp_path / "way").symlink_to(folder, target_is_directory=True)
    with pytest.raises(InputError, match="would replace an input"):
        translate_files(translator, [folder], "dogs", tmp_path / "way")
    assert not (tmp_path / "out").exists()


def test_images_that_differ_in_their_endings_alone_keep_them(
    translator: Translator, folder: Path, tmp_path: Path, pixels: np.ndarray
) -> None:
    Image.fromarray(pixels[0]).save(folder / "a.jpg")
    translate_files(translator, [folder], "dogs", tmp_path / "out")
    assert files(tmp_path / "out") == ["a.jpg.png", "a.png.png", *EXPECTED[1:]]


def test_names_that_a_file_system_takes_for_one_are_told_apart_or_refused() -> None:
    assert name_outputs("12", ["a.jpg", "A.png"], any_case=True) == ["a.jpg.png", "A.png.png"]
    assert name_outputs("12", ["a.jpg", "A.jpg"]) == ["a.png", "A.png"]
    with pytest.raises(InputError, match="1 and 2 would both become"):
        name_outputs("12", ["a.jpg", "A.jpg"], any_case=True)
    assert name_outputs("12", ["a.jpg", "a.png/b.jpg"]) == ["a.jpg.png", "a.png/b.png"]
    with pytest.raises(InputError, match="1 and 3 would both become"):
        name_outputs("123", ["a.jpg", "a.gif", "a.jpg.bmp"])


def test_an_output_folder_inside_the_input_is_no_input_of_the_next_call(
    translator: Translator, folder: Path
) -> None:
    out = folder / "out"
    translate_files(translator, [folder], "dogs", out)
    again = translate_files(translator, [folder], "dogs", out)
    assert (again.written, len(again.existing)) == ([], 4)
    assert files(out) == EXPECTED


def test_outputs_among_the_inputs_are_refused(
    translator: Translator, tmp_path: Path, pixels: np.ndarray
) -> None:
    source = tmp_path / "in"
    (source / "in").mkdir(parents=True)
    Image.fromarray(pixels[0]).save(source / "in" / "a.jpg")
    for out in (source, tmp_path):  # above the input, in/in/a.jpg would become in/a.png
        with pytest.raises(InputError, match="among the images"):
            translate_files(translator, [source], "dogs", out)
    translate_files(translator, [source / "in" / "a.jpg"], "dogs", source / "in")  # one file beside itself
    assert files(source) == ["in/a.jpg", "in/a.png"]


def test_an_image_name_is_no_output_folder_unless_it_is_one(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "night.PNG"
    with pytest.raises(InputError, match="is the name of an image"):
        translate_files(translator, [folder], "dogs", out)
    out.mkdir()
    assert len(translate_files(translator, [folder], "dogs", out).written) == 4


def test_an_empty_file_is_no_output_and_a_folder_in_its_place_is_refused(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").touch()
    assert out / "a.png" in translate_files(translator, [folder], "dogs", out).written
    (out / "b.png").unlink()
    (out / "b.png").mkdir()
    with pytest.raises(InputError, match=r"b\.png is a folder"):
        translate_files(translator, [folder], "dogs", out)


def test_an_output_folder_that_cannot_be_made_is_reported(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        translate_files(translator, [folder], "dogs", tmp_path / "file" / "out")


def test_missing_inputs_and_unknown_styles_are_refused_before_anything_is_written(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="nowhere"):
        translate_files(translator, [tmp_path / "nowhere"], "dogs", tmp_path / "out")
    with pytest.raises(InputError, match="did you mean 'dogs'"):
        translate_files(translator, [folder], "dgos", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_have_the_shapes_of_their_inputs(
    translator: Translator, tmp_path: Path, pixels: np.ndarray
) -> None:
    (tmp_path / "in").mkdir()
    wide = Image.fromarray(pixels[0]).resize((50, 20))
    wide.save(tmp_path / "in" / "wide.png")
    Image.fromarray(pixels[1]).resize((50, 50)).save(tmp_path / "in" / "square.png")
    result = translate_files(translator, [tmp_path / "in"], "dogs", tmp_path / "out", size="input")
    assert {path.name for path in result.written} == {"square.png", "wide.png"}
    made = {path.name: Image.open(path) for path in result.written}
    assert made["square.png"].size == (50, 50)
    assert np.array_equal(np.asarray(made["wide.png"]), np.asarray(translator(wide, "dogs", size="input")))


def test_the_inputs_shape_and_a_comparison_grid(
    translator: Translator, tmp_path: Path, pixels: np.ndarray
) -> None:
    Image.fromarray(pixels[0]).resize((50, 20)).save(tmp_path / "wide.png")
    translate_files(
        with_fit(translator, "contain"),
        [tmp_path / "wide.png"],
        "dogs",
        tmp_path / "out",
        size="input",
        grid=tmp_path / "grid.jpg",
    )
    assert Image.open(tmp_path / "out" / "wide.png").size == (50, 20)
    with Image.open(tmp_path / "grid.jpg") as grid:
        assert (grid.format, grid.width > 96) == ("JPEG", True)


def test_what_a_killed_call_left_half_written_is_removed(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    translate_files(translator, [folder], "dogs", out)
    with replacing(out / "deep" / "c.png") as temporary:
        shutil.copy(out / "deep" / "c.png", temporary)
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait()
        left = temporary.with_name(temporary.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
        left.write_bytes(b"half")
    (out / "deep" / "c.png").unlink()
    translate_files(translator, [folder], "dogs", out)
    assert not left.exists()
    assert len(list(out.rglob("*.png"))) == 4


def test_names_with_brackets_are_shown_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = batch.BatchResult(
        written=[tmp_path], unreadable=["IMG [final].png: damaged", "o[/x].png: empty"]
    )
    assert report_files(result, Path("o[/x]")) == 1
    shown = capsys.readouterr().err
    for words in ("1 written to o[/x]", "IMG [final].png", "o[/x].png"):
        assert words in shown


@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_outputs_have_the_format_and_the_quality_that_are_asked_for(
    translator: Translator, folder: Path, tmp_path: Path, kind: Any
) -> None:
    sizes = {}
    for quality in (None, 20):
        out = tmp_path / str(quality)
        translate_files(translator, [folder], "dogs", out, encoding=Encoding(kind, quality))
        assert files(out) == [name.replace("png", kind) for name in EXPECTED]
        with Image.open(out / f"a.{kind}") as image:
            assert image.format == {"jpg": "JPEG", "webp": "WEBP"}[kind]
        sizes[quality] = (out / f"a.{kind}").stat().st_size
    assert sizes[20] < sizes[None]
    again = translate_files(translator, [folder], "dogs", tmp_path / "20", encoding=Encoding(kind))
    assert (again.written, len(again.existing)) == ([], 4)


def test_a_picture_that_a_format_cannot_hold_is_listed(translator: Translator, tmp_path: Path) -> None:
    Image.new("L", (16_400, 4)).save(tmp_path / "long.png")
    contained = with_fit(translator, "contain")
    given = {"inputs": [tmp_path / "long.png"], "style": "dogs", "size": "input"}
    result = translate_files(contained, out=tmp_path / "out", encoding=Encoding("webp"), **given)  # type: ignore[arg-type]
    assert result.written == []
    assert "long.png: a picture of 16400 x 4 pixels does not fit into a webp file" in result.unreadable[0]
    assert len(translate_files(contained, out=tmp_path / "out", **given).written) == 1  # type: ignore[arg-type]
