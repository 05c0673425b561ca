"""The averaged weights, which are what a run ships."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor

from sivae_translate.models.latent import LatentModel
from sivae_translate.models.published import has_batch_norm, settle


def average_of(model: LatentModel) -> LatentModel:
    """A copy that starts the average, in evaluation mode and without gradients."""
    return deepcopy(model).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: LatentModel, model: LatentModel, decay: float, step: int) -> None:
    """Move the averaged weights; the average is short at first, or it would remember the initial weights.

    Args:
        average: moved in place.
        model: the weights after the step.
        decay: of the average, 0 to 1.
        step: steps before this one.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)


def settle_average(average: LatentModel, batches: Iterable[Tensor]) -> None:
    """Give the average's BatchNorms, where the published networks have them, statistics of their own.

    Args:
        average: changed in place; left alone without BatchNorms.
        batches: real images (B, C, H, W) on its device; not iterated without BatchNorms.
    """
    if has_batch_norm(average):
        settle(average.content_encoder, average.decoder, average.content_prior, batches)


def is_finite(model: LatentModel) -> bool:
    """Whether all weights are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
