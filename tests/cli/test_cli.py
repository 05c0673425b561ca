"""The command line: exit codes and messages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sivae_translate
from sivae_translate import __version__
from sivae_translate.cli import main
from sivae_translate.cli.app import COMMANDS, parse
from sivae_translate.cli.common import data_of, evaluation_folder
from sivae_translate.config import load_config


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out + captured.err


def test_translate_with_a_broken_file_does_the_rest_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], tiny_run: Path, folder: Path, tmp_path: Path
) -> None:
    code, text = call(capsys, "translate", tiny_run, folder, "--to", "dogs", "--out", tmp_path / "out")
    assert code == 1
    assert "broken.png" in text
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


def test_translate_exits_with_0_when_all_is_well_and_takes_references(
    capsys: pytest.CaptureFixture[str], tiny_run: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "broken.png").unlink()
    options = ("--like", folder / "a.png", "--out", tmp_path / "out", "--dtype", "float32")
    code, text = call(capsys, "translate", tiny_run, folder, *options)
    assert code == 0, text
    assert len(list((tmp_path / "out").rglob("*.png"))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("translate", "RUN", "IN", "--to", "dosg", "--out", "OUT"), "did you mean 'dogs'"),
        (("translate", "RUN", "IN", "--out", "OUT"), "either --to DOMAIN or --like"),
        (("translate", "RUN", "--to", "dogs", "--out", "OUT"), "no input"),
        (("translate", "RUN", "IN", "--like", "IN", "--seed", "3", "--out", "OUT"), "omit --seed"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--fast"), "--fast"),
        (("train", "--training.stepz", "3"), "--training.steps"),
        (
            ("train", "--data", "/nowhere/at/all", "--training.steps", "100", "--out", "OUT"),
            "/nowhere/at/all",
        ),
        (("info", "RUN", "--training.steps", "100"), "no option '--training.steps'"),
        (("train", "--data", "x" * 5000, "--out", "OUT"), "File name too long"),
        (("train",), "nothing to train on"),
        (("train", "nosuch"), "glyphs"),
        (("train", "--data", "/nowhere/at/all", "--out", "OUT"), "/nowhere/at/all"),
        (("info", "/nowhere/at/all"), "pretrained models are glyphs"),
        (("evaluate", "RUN"), "data.root is not set"),
        (("theory", "--iterations", "9", "--out", "OUT"), "are too few"),
        (("fidelity", "RUN", "--images", "0"), "--images is 0"),
        (("benchmark", "glyphs", "--limit", "1", "--out", "OUT"), "the limit is 1 images"),
        (("benchmark", "--out", "OUT"), "no benchmark is named"),
        (("train", "--out", "OUT", "--resume"), "no run to resume in"),
        (("train", "glyphs", "--out", "OUT", "--resume"), "no run to resume in"),
        (("sample", "RUN", "--n", "1", "--out", "OUT.png"), "the name of an image"),
        (("toy", "--out", "FILE"), "it is a file, where a folder belongs"),
        (("theory", "--out", "FILE"), "it is a file, where a folder belongs"),
        (("evaluate", "glyphs", "--out", "FILE"), "it is a file, where a folder belongs"),
        (
            ("ood", "glyphs", "--out", "OTHER", "--in", "OTHER", "--report", "FILE"),
            "it is a file, where a folder",
        ),
        (("interpolate", "RUN", "FILE", "OTHER", "--out", "OTHER"), "would replace an input"),
        (("interpolate", "RUN", "FILE", "OTHER", "--out", "OUT.bmp"), "not written as .bmp"),
        (("interpolate", "RUN", "FILE", "OTHER", "--out", "IN"), "is a folder, where a picture belongs"),
        (("interpolate", "RUN", "FILE", "OTHER", "--out", "FILE/a.png"), "it is a file, where a folder"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--grid", "FILE"), "replace an input"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--grid", "OUT/a.png"), "output's name"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--grid", "OUT.gif"), "as .gif files"),
        (("translate", "RUN", "IN", "--to", "dogs", "--seed", "-1", "--out", "OUT"), "the seed is -1"),
        (("sample", "RUN", "--n", "1", "--seed", str(2**63), "--out", "OUT"), "the seed is 92233"),
        (("evaluate", "RUN", "--seed", "-1"), "the seed is -1"),
        (
            ("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--size=input", "--mask=/no/mask.png"),
            "cannot read /no/mask.png",
        ),
        (("translate", "RUN", "", "--to", "dogs", "--out", "OUT"), "an argument is empty"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out="), "an argument is empty"),
        (("train", "--data", "IN", "--data.cache", "", "--out", "OUT"), "an argument is empty"),
        (("translate", "RUN", "IN", "--to", "dogs", "--device", "meta", "--out", "OUT"), "'meta' cannot"),
        (("translate", "RUN", "IN", "--to", "dogs", "--percentile", "50", "--out", "OUT"), "is the check's"),
        (("translate", "RUN", "IN", "--to", "dogs", "--workers", "-1", "--out", "OUT"), "workers is -1"),
        (("interpolate", "RUN", "FILE", "OTHER", "--steps", "900", "--out", "OUT.webp"), "does not fit"),
        (("interpolate", "RUN", "FILE", "OTHER", "--steps", "1001", "--out", "OUT.png"), "at most 1000"),
        (("evaluate", "RUN", "--no-vgg", "--vgg-weights", "FILE"), "leave one of them out"),
        (("benchmark", "glyphs", "--no-vgg", "--vgg-weights", "FILE", "--out", "OUT"), "one of them out"),
        (("benchmark", "--data", "IN", "--root", "IN", "--out", "OUT"), "leave one of them out"),
        (("benchmark", "glyphs", "--pairs", "--out", "OUT"), "--pairs is for --data"),
        (("translate", "RUN", "IN", "--to", "dogs", "--out", "s3://bucket/x"), "no path on this machine"),
        (("train", "--data=gs://bucket", "--out", "OUT"), "no path on this machine"),
        (("train", "--data", "IN", "--out", "IN"), "would be images of the next call"),
        (("train", "--data", "IN", "--out", "IN/deep/run"), "would be images of the next call"),
        (("benchmark", "--data", "IN", "--out", "IN/run"), "would be images of the next call"),
        (("ood", "glyphs", "--out", "IN", "--in", "OTHER", "--report", "IN/a"), "images of the next call"),
        (("ood", "RUN", "--out", "IN", "--seed", "-1"), "the seed is -1"),
        (
            ("translate", "RUN", "IN", "--to", "dogs", "--out", "OUT", "--engine", "ray", "--device", "cpu"),
            "--device",
        ),
    ],
)
def test_mistakes_are_explained(
    capsys: pytest.CaptureFixture[str],
    tiny_run: Path,
    folder: Path,
    tmp_path: Path,
    arguments: str,
    message: str,
) -> None:
    places = {"RUN": tiny_run, "IN": folder, "OUT": tmp_path / "out"}
    places |= {"OTHER": folder / "b.png", "FILE": folder / "a.png"}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = [re.fullmatch(r"([A-Z]*)(.*)", argument) for argument in arguments]
    status, text = call(capsys, *(f"{places.get(word[1], word[1])}{word[2]}" for word in words))
    assert status == 2
    assert message in text
    assert not (tmp_path / "out").exists()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_unreadable_images_are_all_listed_and_the_others_are_used(
    capsys: pytest.CaptureFixture[str], tiny_run: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    for domain in ("cats", "dogs", "foxes"):
        images = tmp_path / "data" / domain
        images.mkdir(parents=True)
        for index in range(9):
            Image.fromarray(pixels[index % 5]).save(images / f"{index}.png")
        for index in range(4):
            (images / f"broken{index}.png").write_bytes(b"no image")
    data = tmp_path / "data"
    commands = (
        ("translate", tiny_run, data, "--to", "dogs", "--out", tmp_path / "translated"),
        ("reconstruct", tiny_run, data, "--out", tmp_path / "rebuilt"),
        ("evaluate", tiny_run, "--data", data, "--limit", "2", "--no-vgg", "--out", tmp_path / "evaluation"),
        ("ood", "glyphs", "--out", data, "--in", data, "--samples", "1", "--report", tmp_path / "ood"),
    )
    for command in commands:
        status, text = call(capsys, *command)
        assert status == 1, text
        count = 24 if command[0] == "ood" else 12  # known and foreign images
        assert f"{count} could not be read:" in text
        assert text.count("broken") == count
        assert Path(command[-1]).is_dir()


def test_a_run_named_like_a_pretrained_model_lends_it_nothing(
    monkeypatch: pytest.MonkeyPatch, tiny_run: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, "glyphs")
    saved = load_config(Path("glyphs/config.yaml")).data.model_copy(update={"image_size": 64})
    assert evaluation_folder("glyphs") == Path("runs/glyphs/evaluation")
    assert evaluation_folder("./glyphs") == Path("glyphs/evaluation")
    assert data_of("glyphs", saved, None) == saved
    assert data_of("./glyphs", saved, None).image_size == 32


def test_info_shows_domains_sizes_and_parameters(capsys: pytest.CaptureFixture[str], tiny_run: Path) -> None:
    code, text = call(capsys, "info", tiny_run)
    assert code == 0
    for word in ("cats, dogs, foxes", "3 x 32 x 32", "parameters", "steps"):
        assert word in text
    for word in ("space", "latents", "autoencoder"):  # it computes on pixels
        assert word not in text
    assert re.search(r"translation +[\d.]+ GFLOP per image; [\d,]+ images/s in batches of 1, ", text)
    assert re.search(r"training +batches of 32; a step: [^;]+ a second in its 3 phases; about ", text)


def test_info_names_what_the_shipped_model_started_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = call(capsys, "info", "glyphs")
    assert code == 0
    assert "minutes 57, model glyphs-finish, steps 6166" in " ".join(text.split())


def test_settings_lists_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = call(capsys, "settings")
    assert code == 0
    assert all(
        f"  {name}\n" in text
        for name in ("data.root", "model.widths", "objective.back_translation", "training.minutes")
    )


@pytest.mark.parametrize(
    "code",
    [
        "import sivae_translate",
        "from sivae_translate.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_importing_the_package_and_asking_for_help_do_not_import_torch(code: Any) -> None:
    heavy = "{'torch', 'torchvision', 'kornia', 'albumentations', 'matplotlib', 'lpips'}"
    probe = f"{code}\nimport sys; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_all_there() -> None:
    import sivae_translate

    for name in sivae_translate.__all__:
        assert getattr(sivae_translate, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = sivae_translate.nonsense


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "sivae_translate", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        run.stdout.close()
        assert run.stderr.read() == ""
    assert run.returncode == 141


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"sivae-translate {__version__}\n"


def test_every_command_that_a_message_or_a_help_text_names_exists() -> None:
    package = Path(sivae_translate.__file__).parent
    named = {
        name
        for path in package.rglob("*.py")
        for name in re.findall(r"sivae-translate ([a-z]+(?:-[a-z]+)*)\b", path.read_text(encoding="utf-8"))
    }
    assert {"train", "translate", "benchmark"} <= named
    assert named - {"command"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse([name, "--help"])
    assert stop.value.code == 0
    assert f"sivae-translate {name}" in capsys.readouterr().out


def test_evaluate_takes_a_folder_of_domains_and_names_a_missing_partner(
    capsys: pytest.CaptureFixture[str], tiny_run: Path, tmp_path: Path
) -> None:
    for domain, grey in (("cats", 50), ("dogs", 200)):
        for index in range(2):
            path = tmp_path / "new" / domain / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40), (grey, 20 * index, 90)).save(path)
    code, text = call(capsys, "evaluate", tiny_run, "--data", tmp_path / "new", "--out", tmp_path / "out")
    assert code == 0, text
    assert "numbers within 0.8 to 1.25" in text
    assert "test images: cats 2, dogs 2" in text
    assert [
        pair["images"] for pair in json.loads((tmp_path / "out" / "evaluation.json").read_text())["pairs"]
    ] == [2, 2]
    shutil.copytree(tmp_path / "new", tmp_path / "split" / "train")
    shutil.copytree(tmp_path / "new" / "cats", tmp_path / "split" / "test" / "cats")
    code, text = call(capsys, "evaluate", tiny_run, "--data", tmp_path / "split")
    assert code == 2
    assert "test/dogs is missing" in text


def test_a_seed_that_torch_does_not_take_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["sample", "glyphs", "--out", "nowhere", "--seed", str(10**23)])
    assert end.value.code == 2
    assert "the seed is 1000" in capsys.readouterr().err


def test_memory_that_runs_out_is_no_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(command: Any) -> int:
        torch.empty(2**55)
        return 0

    arguments = ("theory", "--problems", 10**15, "--iterations", "10", "--out", tmp_path / "out")
    for run in (COMMANDS["theory"][1], too_much):
        monkeypatch.setitem(COMMANDS, "theory", (COMMANDS["theory"][0], run))
        status, text = call(capsys, *arguments)
        assert status == 2
        assert "memory ran out" in text


def test_a_grid_of_nothing_is_said(
    capsys: pytest.CaptureFixture[str], tiny_run: Path, folder: Path, tmp_path: Path
) -> None:
    command = ("translate", tiny_run, folder / "a.png", "--to", "dogs", "--out", tmp_path / "out")
    assert call(capsys, *command)[0] == 0
    status, text = call(capsys, *command, "--grid", tmp_path / "grid.png")
    assert status == 0
    assert "grid.png: nothing was translated" in text
    assert not (tmp_path / "grid.png").exists()


@pytest.mark.parametrize("stream", ["1", "2"])
def test_closed_outputs_do_not_stop_the_work(stream: str) -> None:
    command = f"exec {sys.executable} -m sivae_translate --version {stream}>&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
