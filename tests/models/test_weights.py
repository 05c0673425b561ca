"""Model files: whatever is wrong with one is a CheckpointError, found before anything is allocated."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sivae_translate.config import from_dict
from sivae_translate.models import weights
from sivae_translate.models.build import MOST_PARAMETERS, make_model, model_shapes, parameter_bound
from sivae_translate.models.weights import find_model, load_model, read_facts
from sivae_translate.utils.errors import CheckpointError, ConfigError
from sivae_translate.utils.tensor_files import read_metadata

FIXTURE = Path(__file__).parent / "fixtures" / "format-1.safetensors"


def rewritten(
    path: Path,
    change: Callable[[dict[str, Any]], object] = lambda about: None,
    change_weights: Callable[[dict[str, Any]], object] = lambda tensors: None,
) -> Path:
    """The fixture with another text about itself, or other weights."""
    about, tensors = json.loads(read_metadata(FIXTURE)["about"]), load_file(FIXTURE)
    change(about)
    change_weights(tensors)
    save_file(tensors, path, metadata={"format": weights.FORMAT, "about": json.dumps(about)})
    return path


def setting(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda about: about["config"]["model"].__setitem__(name, value)


def calibrated(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda about: about["calibration"].__setitem__(name, value)


ROWS = ("medians", "deviations")
TEXTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "blocks without end": setting("decoder_blocks", 10**9),
    "widths without end": setting("widths", [10**9] * 3),
    "more widths than resolutions": setting("widths", [4] * 10**4),
    "a giant style": setting("style_dim", 10**12),
    "a size that halving does not reach": setting("content_size", 5),
    "a width that is a text": setting("widths", ["a"]),
    "an unknown setting": setting("colour", 3),
    "no settings": lambda about: about.pop("config"),
    "settings of another type": lambda about: about.update(config=[1]),
    "a section of another type": lambda about: about["config"].update(model=7),
    "a number that is not finite": lambda about: about["config"]["training"].update(ema=float("nan")),
    "no domains": lambda about: about.update(domains=[]),
    "domains that are no list": lambda about: about.update(domains="paper"),
    "domains that are no texts": lambda about: about.update(domains=[1, 2]),
    "an endless name": lambda about: about.update(domains=["x" * 10**6, "y"]),
    "domains of one name": lambda about: about.update(domains=[about["domains"][0]] * len(about["domains"])),
    "other domains": lambda about: about["domains"].append("third"),
    "facts that are no table": lambda about: about.update(facts=[1]),
    "a ragged calibration": calibrated("medians", [[0, 0, 0, 0], [0, 0]]),
    "an empty calibration": calibrated("levels", []),
    "an unsorted calibration": calibrated("levels", [2.0, 1.0]),
    "a calibration that is not finite": calibrated("levels", [float("nan")]),
    "a calibration without width": calibrated("deviations", [[0, 0, 0, 0], [0, 0, 0, 0]]),
    "a calibration for more domains": lambda about: [about["calibration"][k].append([1.0] * 4) for k in ROWS],
    "something else": lambda about: about.update(other=1),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_with_a_wrong_text_is_refused(tmp_path: Path, name: str) -> None:
    path = rewritten(tmp_path / "model.safetensors", TEXTS[name])
    with pytest.raises(CheckpointError, match=r"cannot read the model .*model\.safetensors") as caught:
        load_model(path)
    assert len(str(caught.value)) < 1000


def first(tensors: dict[str, Any]) -> str:
    return next(name for name, value in tensors.items() if value.ndim == 4)


WEIGHTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "not a number": lambda tensors: tensors[first(tensors)].view(-1)[3:4].fill_(float("nan")),
    "infinite": lambda tensors: tensors[first(tensors)].view(-1)[3:4].fill_(float("inf")),
    "whole": lambda tensors: tensors.update({first(tensors): tensors[first(tensors)].long()}),
    "missing": lambda tensors: tensors.pop(first(tensors)),
    "unknown": lambda tensors: tensors.update(other=torch.zeros(1)),
    "of another shape": lambda tensors: tensors.update({first(tensors): tensors[first(tensors)][:1]}),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_file_with_wrong_weights_is_refused(tmp_path: Path, name: str) -> None:
    path = rewritten(tmp_path / "model.safetensors", change_weights=WEIGHTS[name])
    with pytest.raises(CheckpointError, match=r"cannot read the model .*model\.safetensors"):
        load_model(path)


def test_settings_of_a_larger_model_than_the_weights_are_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(tmp_path / "model.safetensors", setting("widths", [2000] * 3))
    monkeypatch.setattr(weights, "make_model", lambda *_: pytest.fail("the model was allocated"))
    with pytest.raises(CheckpointError, match="do not fit its settings"):
        load_model(path)


def test_a_model_with_too_many_parameters_is_refused_before_it_is_allocated() -> None:
    config = from_dict({"model": {"widths": [8192] * 5, "style_widths": [8192] * 5}}, "the test")
    with pytest.raises(ConfigError, match=r"would have [\d,]{13,} parameters") as caught:
        make_model(config.model, config.data, 2)
    assert "widths" in caught.value.remedy


@pytest.mark.parametrize("kind", ["translation", "plain", "published"])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"widths": [8] * 5, "style_dim": 500},
        {"latent_dim": 900, "prior_components": 40, "style_features": 9, "encoder_blocks": 3},
    ],
)
def test_the_bound_is_above_the_number_of_parameters(kind: str, sizes: dict[str, Any]) -> None:
    config = from_dict({"model": {"kind": kind, **sizes}, "data": {"image_size": 128}}, "the test")
    if "widths" not in sizes:
        values = {"widths": [32, 64, 64, 96, 192], "style_widths": [16, 32, 64, 64, 128]}
        config = from_dict({"model": {"kind": kind, **sizes, **values}, "data": {"image_size": 128}}, "")
    elif kind == "translation":
        config = from_dict(
            {"model": {"kind": kind, **sizes, "style_widths": [8] * 5}, "data": {"image_size": 128}}, ""
        )
    shapes = model_shapes(config.model, config.data, 3)
    assert sum(shape.numel() for shape in shapes.values()) <= parameter_bound(config.model, config.data, 3)
    assert parameter_bound(config.model, config.data, 3) < MOST_PARAMETERS


def test_counting_parameters_draws_no_random_numbers() -> None:
    config = from_dict({}, "the test")
    state = torch.get_rng_state()
    model_shapes(config.model, config.data, 3)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "9" * 5000, "null", "[]", "\ud800".encode("utf-8", "replace").decode()]
)
def test_a_text_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"format": weights.FORMAT, "about": text})
    for read in (load_model, read_facts):
        with pytest.raises(CheckpointError):
            read(path)


@pytest.mark.parametrize("seed", range(60))
def test_changed_bytes_are_an_error_or_harmless(tmp_path: Path, seed: int) -> None:
    rng, content = np.random.default_rng(seed), bytearray(FIXTURE.read_bytes())
    reach = 8 + int.from_bytes(content[:8], "little") if seed % 4 else len(content)
    for place in rng.integers(0, reach, 1 + seed % 5):
        content[place] = int(rng.integers(256))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content[: rng.integers(len(content))] if seed % 10 == 0 else content)
    try:
        model = load_model(path).model
    except CheckpointError as error:
        assert error.remedy
    else:
        assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


@pytest.mark.parametrize("name", ["gone", "folder", "empty", "text"])
def test_what_is_no_model_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name != "gone":
        path.write_text("a text" if name == "text" else "")
    with pytest.raises(CheckpointError, match=name):
        load_model(path)


def test_an_unfinished_run_offers_its_best_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has no model") as caught:
        find_model(tmp_path)
    assert "best.safetensors" not in caught.value.remedy
    assert f"--out {tmp_path} --resume" in caught.value.remedy
    best = rewritten(tmp_path / "best.safetensors")
    with pytest.raises(CheckpointError) as caught:
        find_model(tmp_path)
    assert f"best checkpoint so far, {best}" in caught.value.remedy
    assert load_model(find_model(best)).domains == load_model(FIXTURE).domains


def test_an_endless_name_is_no_model() -> None:
    with pytest.raises(CheckpointError, match="there is no run") as caught:
        find_model("x" * 100_000)
    assert len(str(caught.value)) < 1000


def test_a_folder_called_like_a_pretrained_model_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glyphs").mkdir()
    shipped = find_model("glyphs")
    assert shipped.parent != tmp_path / "glyphs"
    assert not capsys.readouterr().err
    own = tmp_path / "glyphs" / "model.safetensors"
    own.write_bytes(FIXTURE.read_bytes())
    assert find_model("glyphs") == shipped
    assert "glyphs is the pretrained model; ./glyphs is your run" in capsys.readouterr().err
    assert find_model("./glyphs").samefile(own)
    assert find_model(Path("glyphs")).samefile(own)
