"""What must come out alike on a GPU and on the CPU. Skipped where there is no CUDA device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sivae_translate.config import from_dict
from sivae_translate.evaluation import metrics
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.launch import train
from sivae_translate.utils.devices import exact_float32
from tests.training.conftest import MODEL

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="compares a CUDA device with the CPU, and there is none"
    ),
]


def images(count: int, seed: int, channels: int = 3, side: int = 64) -> Any:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_metrics_are_those_of_the_cpu(channels: int) -> None:
    a, b = images(40, 0, channels), images(40, 1, channels)
    here, there = Lpips.load().distances(a, b), Lpips.load(device="cuda").distances(a, b)
    torch.testing.assert_close(there, here, atol=1e-4, rtol=0)
    with exact_float32(torch.device("cuda")):
        for metric in (metrics.l1, metrics.ssim, metrics.psnr):
            torch.testing.assert_close(metric(a.cuda(), b.cuda()).cpu(), metric(a, b), atol=1e-4, rtol=1e-5)


def test_translations_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = list((images(8, 2, 1, 32).permute(0, 2, 3, 1) * 255).byte().numpy())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    made = [
        Translator.from_pretrained("glyphs", device=device, dtype="float32")(
            sources, "dejavu-serif", output="tensor"
        )
        for device in ("cpu", "cuda")
    ]
    torch.testing.assert_close(made[1].cpu(), made[0], atol=1e-3, rtol=0)


def test_training_on_a_gpu_leaves_a_model_for_any_device(tmp_path: Path, data: Any) -> None:
    settings = {
        "data": {"image_size": 32, "channels": 1},
        "model": MODEL,
        "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
        "training": {"steps": 8, "batch": 8, "picture_every": 0, "validation": 0.1, "device": "cuda"},
    }
    run = train(from_dict(settings, "the test"), tmp_path / "run", data=data)
    translator = Translator.from_pretrained(run, device="cpu")
    assert str(translator.facts["device"]).startswith("cuda")
    assert translator(data.train[0].array[0], "right", output="tensor").isfinite().all()
