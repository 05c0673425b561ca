"""Masks of trained models: which channels, and that translations stay."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sivae_translate.cli.app import main
from sivae_translate.config import from_dict
from sivae_translate.data.domains import DomainData
from sivae_translate.data.sources.glyphs import FONTS, draw_many, split
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.weights import find_model, load_model, read_facts
from sivae_translate.training.launch import train
from sivae_translate.training.masking import mask_collapsed
from tests.training.conftest import MODEL

LETTERS = split(0).common[::10]


def letters(domain: int, positions: np.ndarray) -> Tensor:
    chosen = tuple(LETTERS[position] for position in positions)
    return to_tensor(draw_many(list(FONTS)[domain], chosen, 32)[..., None])


@torch.no_grad()
def test_the_shipped_model_uses_three_channels_and_translates_as_before() -> None:
    model = load_model(find_model("glyphs")).model.eval()
    places = np.arange(len(LETTERS))
    images = letters(0, places[:20])
    style = model.prior_style(torch.full((20,), 4), 20)
    kl, translations = model.encode(images).content.kl().mean(), model.translate(images, style)

    assert mask_collapsed(model, [places] * 6, letters, nullcontext) == 13

    content = model.encode(images).content
    assert int(content.mean.flatten(2).any(2).any(0).sum()) == 3
    assert 0 < kl - content.kl().mean() < 1
    assert (model.translate(images, style) - translations).abs().mean() < 1e-3
    assert mask_collapsed(model, [places] * 6, letters, nullcontext) == 13  # again


def test_a_model_is_masked_into_a_new_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sivae_translate.training.masking.MOST_IMAGES", 20)
    out = tmp_path / "masked.safetensors"
    with pytest.raises(SystemExit) as left:
        main(["mask", "glyphs", "--out", str(out)])
    assert left.value.code == 0
    assert "13 of 16 channels are masked" in capsys.readouterr().err
    assert read_facts(out)["masked"] == 13
    saved = load_model(out)
    assert saved.calibration is not None and saved.model.alignment is not None
    with pytest.raises(SystemExit):
        main(["mask", "glyphs", "--out", str(out)])
    assert "is no new .safetensors file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["mask", "align"])
def test_data_with_other_domains_is_refused(
    pixels: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for domain in ("a", "b"):
        (tmp_path / "data" / domain).mkdir(parents=True)
        for index in range(4):
            Image.fromarray(pixels[0]).save(tmp_path / "data" / domain / f"{index}.png")
    out = tmp_path / "new.safetensors"
    with pytest.raises(SystemExit) as left:
        main([command, "glyphs", "--out", str(out), "--data", str(tmp_path / "data")])
    assert left.value.code == 2
    assert "the data has a, b" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


@pytest.mark.parametrize("masked", [False, True])
def test_a_training_masks_at_its_end_if_it_is_told_to(data: DomainData, tmp_path: Path, masked: bool) -> None:
    settings: dict[str, Any] = {
        "data": {"image_size": 32, "channels": 1},
        "model": dict(MODEL),
        # So high a price that nothing passes through the content.
        "objective": {"beta_kl": 1e4, "beta_kl_start": 1e4, "introspection_from": 1.0},
        "training": {"steps": 40, "batch": 4, "mask": masked, "align": False, "learning_rate": 1e-2},
    }
    run = train(from_dict(settings, "the test"), tmp_path / "run", data=data)
    saved = load_model(run / "model.safetensors")
    content = saved.model.encode(torch.rand(2, 1, 32, 32)).content
    assert saved.facts["masked"] == (3 if masked else 0)
    assert bool(content.mean.any()) != masked
