"""The check of files of earlier versions, by four numbers of the model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.inference.translator import Translator
from sivae_translate.models.code_typicality import CodeCalibration, measure
from sivae_translate.models.typicality import Calibration
from sivae_translate.models.weights import load_model

FIXTURE = Path(__file__).parent / "fixtures" / "format-1.safetensors"


@pytest.fixture
def calibration() -> Calibration:
    """Of two domains with their own medians and deviations."""
    medians, deviations = np.full((2, 4), 10.0), np.array([[1, 5, 0.2, 2], [30, 2, 1, 3]])
    return CodeCalibration(medians, deviations, np.linspace(0, 3, 99))


def test_the_reason_is_what_is_out_of_line(calibration: Any) -> None:
    odd = torch.full((4, 4), 10.0).double()
    odd[0, 0], odd[1, 1], odd[2, 2], odd[3, 3] = 20, 100, 30, 60
    verdicts = calibration.verdicts(odd, torch.tensor([0, 0, 1, 1]))
    assert [verdict.score for verdict in verdicts] == pytest.approx([10, 18, 20, 50 / 3])
    assert [verdict.reason for verdict in verdicts] == ["reconstruction", "content", "style", "complexity"]
    assert all(verdict.percentile == calibration.highest == 99 for verdict in verdicts)
    assert "style fits none" in str(verdicts[2])
    # 20 is far off for the first domain, and a third of a deviation for the second: 11 of 99 are below.
    (usual,) = calibration.verdicts(odd[:1], torch.tensor([1]))
    assert usual.percentile == pytest.approx(11)


def test_files_that_know_no_complexity_go_by_the_other_three(calibration: Any) -> None:
    oldest = CodeCalibration(calibration.medians[:, :3], calibration.deviations[:, :3], calibration.levels)
    values, domains = torch.rand(5, 4).double(), torch.arange(5) % 2
    values[:, 3] = 1e6
    assert oldest.verdicts(values, domains) == oldest.verdicts(values[:, :3], domains)


def test_the_four_numbers_are_the_models_own() -> None:
    model = load_model(FIXTURE).model
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    values, domain = measure(model, images)
    posterior = model.encode(images)
    torch.testing.assert_close(values[:, 1], posterior.content.kl())
    each = torch.stack([posterior.style.kl(mean) for mean in model.style_prior.means], 1)
    torch.testing.assert_close(values[:, 2], each.min(1).values)
    assert torch.equal(domain, each.argmin(1))
    error = (model.decode(posterior.mean) - images).square().flatten(1).sum(1)
    torch.testing.assert_close(values[:, 0], error)
    bits = (error / (2 * model.variance.clamp(min=1e-12)) + values[:, 1] + values[:, 2]) / np.log(2)
    pictures = [Image.fromarray((image[0] * 255).round().byte().numpy()) for image in images]
    sizes = torch.tensor([8 * len(png(picture)) for picture in pictures])
    torch.testing.assert_close(values[:, 3], bits - sizes, rtol=1e-4, atol=0.1)


def png(picture: Any) -> Any:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=6)
    return buffer.getvalue()


def test_a_file_of_an_earlier_version_keeps_its_verdicts_when_it_is_saved_again(tmp_path: Path) -> None:
    translator = Translator.from_pretrained(FIXTURE, device="cpu", dtype="float32")
    assert isinstance(translator.calibration, CodeCalibration)
    images = torch.rand(20, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    translator.save(tmp_path / "again.safetensors")
    again = Translator.from_pretrained(tmp_path / "again.safetensors", device="cpu", dtype="float32")
    assert again.typicality(images) == translator.typicality(images)
