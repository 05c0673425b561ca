"""The benchmark's published step and ours have the same gradients on the same network."""

from __future__ import annotations

from typing import Literal, TypeAlias

import pytest
import torch
from torch import Tensor

from benchmarks import train_step
from benchmarks.train_step import Naive, published_objective
from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.priors import StandardPrior
from sivae_translate.objectives import make_objective

COUNT, LATENTS = 6, 5
SIDE: Literal[32] = 32
Halves: TypeAlias = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
"""Gradients of the encoder and of the decoder."""
Sides: TypeAlias = tuple[LatentModel, Tensor, Halves]
"""A model, images, and the published step's gradients."""


def fixed(mean: Tensor) -> Tensor:
    """Noise that depends on the place in an image's code alone, so that computations in other orders share
    it."""
    return torch.sin(torch.arange(mean[0].numel(), dtype=mean.dtype) * 1.7).expand_as(mean)


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Sides:
    monkeypatch.setattr(train_step, "draw", lambda p: p.mean + torch.exp(0.5 * p.logvar) * fixed(p.mean))
    monkeypatch.setattr(
        Gaussian, "sample", lambda self, _=None: self.mean + torch.exp(0.5 * self.logvar) * fixed(self.mean)
    )
    noise = torch.randn(COUNT, LATENTS, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    monkeypatch.setattr(StandardPrior, "sample", lambda self, *_: noise)
    torch.manual_seed(0)
    model = make_model(
        ModelConfig(kind="published", widths=(4, 6, 8), latent_dim=LATENTS),
        DataConfig(image_size=SIDE, channels=3),
        1,
    ).double()
    images = torch.rand(COUNT, 3, SIDE, SIDE, dtype=torch.float64)
    naive = Naive(model, 1 / images[0].numel())
    encoder = torch.autograd.grad(naive.encoder_loss(images, noise), list(model.content_encoder.parameters()))
    decoder = torch.autograd.grad(naive.decoder_loss(images, noise), list(model.decoder.parameters()))
    model.requires_grad_(True)
    return model, images, (encoder, decoder)


def ours(model: LatentModel, images: Tensor, *, autocast: bool = False) -> Halves:
    objective = make_objective(published_objective(), model)
    batch = Batch(images, torch.zeros(len(images), dtype=torch.long))
    weights = objective.weights(1.0)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        shared = objective.forward(batch, weights)
        first, second = (
            objective.encoder_loss(shared, weights),
            objective.decoder_loss(shared, weights),
        )
    encoder = torch.autograd.grad(first, list(model.content_encoder.parameters()), retain_graph=True)
    return encoder, torch.autograd.grad(second, list(model.decoder.parameters()))


def test_sharing_passes_and_leaving_out_idle_ones_changes_no_gradient(sides: Sides) -> None:
    model, images, expected = sides
    for half, reference in zip(ours(model, images), expected, strict=True):
        for gradient, known in zip(half, reference, strict=True):
            torch.testing.assert_close(
                gradient, known, rtol=1e-6, atol=1e-6 * known.abs().max().item()
            )  # gamma_r is 1e-8


def test_gradients_in_bfloat16_are_those_of_float64_up_to_rounding(sides: Sides) -> None:
    model, images, expected = sides
    model, images = model.float(), images.float()
    for half, reference in zip(ours(model, images, autocast=True), expected, strict=True):
        found = torch.cat([gradient.double().flatten() for gradient in half])
        known = torch.cat([gradient.flatten() for gradient in reference])
        assert (found - known).norm() / known.norm() < 0.1  # 20 layers there and back, 0.4 % each
