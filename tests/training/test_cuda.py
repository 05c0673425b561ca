"""What must come out alike on a GPU and on the CPU. Skipped where there is no CUDA device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sivae_translate.config import DataConfig, from_dict, load_config
from sivae_translate.data.batches import Batch, iterate
from sivae_translate.data.resident import ResidentBatches, fits
from sivae_translate.data.splits import split_training
from sivae_translate.evaluation import metrics
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.norms import channel_norm
from sivae_translate.objectives import make_objective
from sivae_translate.training.launch import train
from sivae_translate.training.step import Stepper, make_stepper
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.devices import autocast, exact_float32
from tests.training.conftest import MODEL, run_until_power_cut

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


def weights_after(steps: int, graph: str, dtype: torch.dtype, name: str) -> tuple[Stepper, list[Tensor]]:
    settings = {
        **{"data.image_size": 32, "training.graph": graph, "objective.name": name},
        **{"objective.back_translation_from": 0.25, "objective.introspection_from": 0.5},
    }
    config = load_config(None, settings)
    torch.manual_seed(0)
    device = torch.device("cuda")
    model = make_model(config.model, config.data, 2).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = make_stepper(make_objective(config.objective, model), config.training)
    for number in range(steps):
        batch = Batch(images(8, number, side=32), torch.arange(8) // 4).to(device)
        torch.manual_seed(number)
        result = stepper.step(batch, number / steps, 1e-4, number + 1, lambda: autocast(device, dtype))
        if number % 10 == 0:
            assert all(map(math.isfinite, result.metrics().values()))
    return stepper, [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("name", "dtype", "near"),
    [
        ("soft_introvae", torch.float32, 0.02),
        ("soft_introvae", torch.bfloat16, 0.1),
        ("bootstrap", torch.bfloat16, 0.1),
    ],
    ids=str,
)
def test_replayed_steps_leave_the_weights_of_eager_ones(name: str, dtype: torch.dtype, near: float) -> None:
    (_, start), (_, plain), (_, again), (stepper, replayed) = (
        weights_after(steps, graph, dtype, name)
        for steps, graph in ((0, "off"), (50, "off"), (50, "off"), (50, "on"))
    )
    assert stepper.replayed is not None
    assert stepper.replayed.replay is not None

    def distance(one: list[Tensor], other: list[Tensor]) -> float:
        return float(torch.stack([(a - b).norm() for a, b in zip(one, other, strict=True)]).norm())

    # Sums in parallel are not exact: two eager runs differ as well.
    moved = distance(start, plain)
    assert distance(plain, replayed) <= max(near * moved, 3 * distance(plain, again))


def test_replayed_translations_are_those_of_the_engine_without_replays() -> None:
    engine = Translator.from_pretrained("glyphs", device="cuda", dtype="bfloat16").engine
    batches = [images(count, seed, 1, 32) for seed in range(6) for count in (1, 8)]
    found = [engine.translate(batch, engine.prior_mean(3)) for batch in batches]
    assert engine._replays is not None
    assert engine._replays.able
    engine._replays = None
    for one, batch in zip(found, batches, strict=True):
        torch.testing.assert_close(one, engine.translate(batch, engine.prior_mean(3)), atol=1e-2, rtol=0)


def test_norms_stay_in_the_precision_of_autocast() -> None:
    features = torch.rand(2, 8, 4, 4, device="cuda", dtype=torch.bfloat16)
    with autocast(torch.device("cuda"), torch.bfloat16):
        assert channel_norm(features).dtype == torch.bfloat16


def test_decoded_images_lie_on_the_gpu(data: Any) -> None:
    device = torch.device("cuda")
    splits = split_training(data.train, 0.1)
    changes = {"shift": 0.1, "flip": True, "brightness": 0.1}
    config = DataConfig.model_validate({"image_size": 32, "channels": 1, "augment": changes})
    assert fits(device, 0.25, data, splits)
    batch = next(iterate(ResidentBatches(device, data, config, 8, 0, splits), 0, 1, 0))
    assert batch.images.device.type == "cuda"
    assert batch.to(device).images.shape == (8, 1, 32, 32)


def test_a_resumed_run_of_replays_continues_as_it_was(tmp_path: Path, data: Any) -> None:
    settings = {
        "data": {"image_size": 32, "channels": 1},
        "model": MODEL,
        "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
        "training": {
            **{"steps": 40, "batch": 8, "picture_every": 0, "validation": 0, "device": "cuda"},
            **{"graph": "on", "checkpoint_every": 12, "align": False, "precision": "float32"},
        },
    }
    config = from_dict(settings, "the test")
    whole = Trainer(config, tmp_path / "whole", data=data)
    whole.run()
    run_until_power_cut(Trainer(config, tmp_path / "cut", data=data), 30)
    resumed = Trainer(config, tmp_path / "cut", data=data, resume=True)
    resumed.run()
    for one, other in zip(resumed.state.model.parameters(), whole.state.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3)


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
