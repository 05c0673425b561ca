"""The averaged weights, which a run saves as its model."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from sivae_translate.models.autoencoder_files import SPACE
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.published import has_batch_norm, settle


def average_of(model: LatentModel) -> LatentModel:
    """A copy that starts the average, in evaluation mode and without gradients; both share an autoencoder."""
    return deepcopy(model, {id(model.space): model.space}).requires_grad_(False).eval()


@torch.no_grad()
def update_average(average: LatentModel, model: LatentModel, decay: float, step: int) -> None:
    """Update the averaged weights; the average is short at first, to forget the initial weights.

    Args:
        average: the average, updated in place.
        model: the model after the step.
        decay: decay of the average, 0 to 1.
        step: number of steps before this one.
    """
    share = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(trained_parameters(average), trained_parameters(model), share)


def trained_parameters(model: LatentModel) -> list[Tensor]:
    """The parameters that training moves: all but an autoencoder's."""
    return [value for name, value in model.named_parameters() if not name.startswith(SPACE) and value.numel()]


def settle_average(average: LatentModel, batches: Iterable[Tensor]) -> None:
    """Measure the statistics of the average's BatchNorms, which the published networks have.

    Args:
        average: changed in place, unless it has no BatchNorms.
        batches: real images (B, C, H, W) on its device; not iterated without BatchNorms.
    """
    if has_batch_norm(average):
        settle(average.content_encoder, average.decoder, average.content_prior, batches)


def is_finite(module: nn.Module) -> bool:
    """Whether all weights are finite."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
