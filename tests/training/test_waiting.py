"""A step of training waits for the device only where metrics are due."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

from benchmarks.operators import Operators
from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import ObjectiveName

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero")
"""Operators whose result the host reads, or whose result's size it has to know."""


def stepper(**objective: Any) -> tuple[Stepper, Batch]:
    settings = {
        "data.image_size": 32,
        "model.widths": (8, 8, 8),
        "model.style_widths": (8, 8, 8),
        **{f"objective.{name}": value for name, value in objective.items()},
    }
    config = load_config(None, settings)
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2)
    batch = Batch(torch.rand(4, 3, 32, 32), torch.tensor([0, 0, 1, 1]))
    return Stepper(make_objective(config.objective, model), 1.0), batch


@pytest.mark.parametrize("name", get_args(ObjectiveName))
@pytest.mark.parametrize(
    "more", [{}, {"perceptual": 1.0}, {"places": 0.1}, {"gamma_r": 1.0}, {"content_nats": 9.0}], ids=str
)
def test_a_steady_step_never_waits_for_the_device(name: str, more: dict[str, float]) -> None:
    steps, batch = stepper(name=name, **more)
    for number, progress in enumerate((0.1, 0.45, 0.8), 1):
        result = steps.step(
            batch, progress, 1e-3, 2 * number - 1
        )  # the first of a phase may prepare something
        with Operators() as found:
            result = steps.step(batch, progress, 1e-3, 2 * number)
        assert not {op: found.count[op] for op in WAITS if found.count[op]}
        with Operators() as found:
            metrics = result.metrics()
        assert found.count["_local_scalar_dense"] == 0  # tolist of one tensor is a single copy
        assert metrics["loss"] == pytest.approx(result.loss.item())


def test_a_step_in_parts_never_waits_for_the_device() -> None:
    steps, batch = stepper()
    steps = Stepper(steps.objective, 1.0, parts=2)
    for progress in (0.1, 0.45, 0.8):
        steps.step(batch, progress, 1e-3, 1)
        with Operators() as found:
            steps.step(batch, progress, 1e-3, 2)
        assert not {op: found.count[op] for op in WAITS if found.count[op]}


def test_waiting_is_noticed() -> None:
    with Operators() as found:
        bool(torch.ones(2).sum() > 1)
        torch.ones(3)[torch.tensor([True, False, True])]
    assert found.count["_local_scalar_dense"] + found.count["is_nonzero"] >= 1
    assert found.count["nonzero"] + found.count["index"] >= 1
