"""Training in float16, on the CPU: the loss is scaled, and steps whose gradients overflow are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sivae_translate.config import from_dict
from sivae_translate.inference.translator import Translator
from sivae_translate.training.launch import train
from sivae_translate.training.loss_scale import MOST, PATIENCE, START, LossScale
from sivae_translate.training.step import Stepper
from sivae_translate.utils.devices import autocast, not_in_float16, pick_dtype
from tests.training.conftest import MODEL
from tests.training.tape import TapeRecorder
from tests.training.test_graph import STEPS, make, take, weights_of

CPU = torch.device("cpu")


def half() -> Any:
    return autocast(CPU, torch.float16)


def moments_of(stepper: Stepper) -> list[Tensor]:
    states = [state for one in stepper.optimizers.values() for state in one.state.values()]
    return [value for state in states for value in state.values()]


def in_float16(recorder: Any = None) -> Stepper:
    plain = make(None, torch.float32, {})
    return Stepper(plain.objective, 1.0, recorder=recorder, dtype=torch.float16)


def test_steps_in_float16_are_those_in_float32_and_can_be_replayed() -> None:
    exact, scaled, replayed = make(None, torch.float32, {}), in_float16(), in_float16(TapeRecorder())
    for number in range(STEPS):
        expected, found, again = take(exact, number), take(scaled, number, half), take(replayed, number, half)
        assert found["reconstruction"] == pytest.approx(expected["reconstruction"], rel=0.02)
        assert found["gradient_norm_decoder"] == pytest.approx(expected["gradient_norm_decoder"], rel=0.2)
        assert again == pytest.approx(found, rel=1e-3, abs=1e-4)
    assert scaled.loss_scale is not None
    assert float(scaled.loss_scale.scale) == START


def test_a_half_whose_gradient_overflows_changes_nothing() -> None:
    stepper = in_float16()
    scale = stepper.loss_scale
    assert scale is not None
    take(stepper, 0, half)
    before = [value.clone() for value in weights_of(stepper)]
    moments = [
        value.clone()
        for one in stepper.optimizers.values()
        for s in one.state.values()
        for value in s.values()
    ]
    scale.scale.fill_(2.0**60)
    metrics = take(stepper, 1, half)
    assert metrics["gradient_norm_encoders"] == metrics["gradient_norm_decoder"] == 0
    parameters = dict(stepper.objective.model.named_parameters())
    names = list(stepper.objective.model.state_dict())
    for name, old, new in zip(names, before, weights_of(stepper), strict=False):
        assert name not in parameters or torch.equal(old, new)
    assert all(torch.equal(old, new) for old, new in zip(moments, moments_of(stepper), strict=True))
    assert float(scale.scale) == MOST  # half of it, and no more than that
    scale.scale.fill_(START)
    assert take(stepper, 2, half)["gradient_norm_encoders"] > 0


def test_the_scale_falls_at_once_and_rises_slowly() -> None:
    scale = LossScale(CPU)
    gradients = [torch.tensor([START, 2 * START]), torch.tensor([float("inf")])]
    assert scale.unscaled(gradients[:1]) == 0
    assert gradients[0].tolist() == [1, 2]
    assert scale.unscaled(gradients) == 1
    scale.update()
    assert scale.scale == START / 2
    for _ in range(PATIENCE - 1):
        scale.update()
    assert scale.scale == START / 2
    scale.update()
    assert scale.scale == START
    for _ in range(20):
        scale.unscaled([torch.tensor([float("nan")])])
        scale.update()
    assert scale.scale == 1


def test_a_run_in_float16_leaves_a_model(tmp_path: Path, data: Any) -> None:
    settings = {
        "data": {"image_size": 32, "channels": 1},
        "model": MODEL,
        "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
        "training": {"steps": 4, "batch": 4, "picture_every": 0, "validation": 0.0, "device": "cpu"}
        | {"precision": "float16", "align": False},
    }
    run = train(from_dict(settings, "the test"), tmp_path / "run", data=data)
    translator = Translator.from_pretrained(run, device="cpu", dtype="float16")
    assert translator.facts["precision"] == "float16"
    exact = Translator.from_pretrained(run, device="cpu", dtype="float32")
    images = data.train[0].array[:2]
    made, expected = (one(list(images), "right", output="tensor") for one in (translator, exact))
    torch.testing.assert_close(made.float(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("bfloat16", "capability", "expected"),
    [(True, (9, 0), torch.bfloat16), (False, (7, 5), torch.float16), (False, (6, 1), torch.float32)],
)
def test_the_precision_suits_the_gpu(
    monkeypatch: pytest.MonkeyPatch, bfloat16: bool, capability: tuple[int, int], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert pick_dtype("auto", torch.device("cuda")) == expected
    assert pick_dtype("float16", CPU) == torch.float16


def test_what_has_no_scaled_loss_stays_in_float32() -> None:
    a = torch.ones(2, 2)
    for dtype, expected in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        with autocast(CPU, dtype), not_in_float16(CPU):
            assert (a @ a).dtype == expected
