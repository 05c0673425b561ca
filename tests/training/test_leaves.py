"""Gradients by leaves of every call against autograd's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.objectives.base import Objective
from sivae_translate.training.leaves import Leaves
from sivae_translate.training.step import Stepper

KINDS: dict[str, dict[str, Any]] = {
    "translation": {},
    "smooth": {"model.resampling": "smooth"},
    "perceptual": {"objective.perceptual": 1.0},
    "places": {"objective.places": 0.1},
    "all passes": {
        **{"objective.name": "bootstrap", "objective.gamma_r": 1.0, "objective.fake_content_kl": 0.5},
        "objective.fake_reconstruction": True,
    },
    "published": {"model.kind": "published", "objective.back_translation": 0.0},
}


def bfloat16() -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16)


PRECISIONS: list[Callable[[], AbstractContextManager[object]]] = [nullcontext, bfloat16]


def make(kind: str) -> tuple[Objective, Batch]:
    sizes = {"data.image_size": 32, "model.widths": (4, 8, 8), "model.style_widths": (4, 4, 8)}
    config = load_config(None, {**sizes, "model.latent_dim": 6, "objective.beta_neg": 30.0, **KINDS[kind]})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2).to(memory_format=torch.channels_last)
    return make_objective(config.objective, model), Batch(torch.rand(4, 3, 32, 32), torch.arange(4) // 2)


def both_halves(
    objective: Objective, batch: Batch, progress: float, autocast: Any, leaves: Leaves | None
) -> list[Tensor | None]:
    """Gradients of the encoders and the decoder, with the encoders as they were."""
    encoders, decoders = objective.encoder_parameters(), objective.model.decoder_parameters()
    weights = objective.weights(progress)
    torch.manual_seed(1)
    found: list[Tensor | None] = []
    for half, parameters in (("encoder", encoders), ("decoder", decoders)):
        if leaves is not None:
            leaves.renew(None if half == "encoder" else encoders)
        with autocast(), nullcontext() if leaves is None else leaves():
            if half == "encoder":
                state = objective.forward(batch, weights)
            loss = getattr(objective, f"{half}_loss")(state, weights)
        if leaves is None:
            found += torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        else:
            leaves.differentiate(loss, parameters, retain=True)
            found += [parameter.grad for parameter in parameters]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", PRECISIONS)
def test_gradients_are_those_of_autograd(kind: str, autocast: Any) -> None:
    for progress in (0.1, 0.45, 0.8):
        objective, batch = make(kind)
        dtype = torch.bfloat16 if autocast is bfloat16 else None
        expected = both_halves(objective, batch, progress, autocast, None)
        found = both_halves(objective, batch, progress, autocast, Leaves(objective.networks(), dtype))
        parameters = [*objective.encoder_parameters(), *objective.model.decoder_parameters()]
        for parameter, one, other in zip(parameters, found, expected, strict=True):
            if other is None:
                assert one is None or not one.any()
                continue
            assert one is not None
            assert (one.dtype, one.shape) == (parameter.dtype, parameter.shape)
            near = 1e-5 if dtype is None else 0.05
            assert (one - other).norm() <= near * other.norm() + 1e-9


def four_losses(*, move: bool) -> list[float]:
    objective, batch = make("translation")
    model = objective.model
    before = dict(model.named_parameters())
    stepper = Stepper(objective, 1.0)
    losses = []
    for number in range(4):
        if number == 2 and move:
            model.to(torch.float64).to(torch.float32)  # the same numbers in other memory
        torch.manual_seed(0)
        losses.append(stepper.step(batch, 0.8, 1e-2, number).loss.item())
    assert dict(model.named_parameters()) == before  # after a step a model has its own weights
    return losses


def test_a_model_may_move_between_steps() -> None:
    assert four_losses(move=True) == four_losses(move=False)
