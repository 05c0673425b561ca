"""Replicated VAEs of the plane, with the published network: four hidden layers of 256 units."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from sivae_translate.models.codes import Codes, Gaussian, Posterior
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.networks import StylePrior
from sivae_translate.models.plain import NoStyle
from sivae_translate.models.priors import StandardPrior

LATENTS = 2
HIDDEN = 256
HIDDEN_LAYERS = 4


class ReplicatedMLP(nn.Module):
    """R independent multilayer perceptrons with ReLU, computed as batched matrix products.

    The initial weights are those of torch's Linear.

    Args:
        widths: widths of input, hidden layers and output.
        seeds: seed of each replica's initial weights.
        dtype: precision of layers between hidden ones. The first and the last stay in float32: in bfloat16 a
            coordinate of 2 has a resolution of 0.01, and a mode of the 8 Gaussians is 0.02 wide.
    """

    def __init__(
        self, widths: tuple[int, ...], seeds: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.replicas = len(seeds)
        weights: list[list[Tensor]] = []
        biases: list[list[Tensor]] = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            drawn = [_linear(a, b, generator) for a, b in pairwise(widths)]
            weights.append([weight for weight, _ in drawn])
            biases.append([bias for _, bias in drawn])
        self.weights = nn.ParameterList(
            nn.Parameter(torch.stack(layer)) for layer in zip(*weights, strict=True)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.stack(layer)) for layer in zip(*biases, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(R, B, inputs) to (R, B, outputs)."""
        first, *inner, last = zip(self.weights, self.biases, strict=True)
        x = torch.relu(torch.baddbmm(first[1], x, first[0])).to(self.dtype)
        for weight, bias in inner:
            x = torch.relu(torch.baddbmm(bias.to(self.dtype), x, weight.to(self.dtype)))
        return torch.baddbmm(last[1], x.to(last[1].dtype), last[0])


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Weights (inputs, outputs) and bias (1, outputs), uniform within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    weight = torch.empty(inputs, outputs).uniform_(-bound, bound, generator=generator)
    return weight, torch.empty(1, outputs).uniform_(-bound, bound, generator=generator)


def _apart(x: Tensor, replicas: int) -> Tensor:
    """Reshape (B * R, ...) to (R, B, ...).

    Element i belongs to replica i mod R, so that batches can be concatenated.
    """
    return x.reshape(-1, replicas, *x.shape[1:]).transpose(0, 1)


def _together(x: Tensor) -> Tensor:
    """Reshape (R, B, ...) back to (B * R, ...)."""
    return x.transpose(0, 1).flatten(0, 1)


class ToyEncoder(nn.Module):
    """q(z | x) of R replicas.

    Args:
        network: from 2 inputs to mean and log variance of z.
    """

    def __init__(self, network: ReplicatedMLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, points: Tensor) -> Gaussian:
        """Map points (B * R, 2), of replica i mod R, to a Gaussian with parameters (B * R, 2)."""
        mean, logvar = _together(self.network(_apart(points, self.network.replicas))).chunk(2, dim=1)
        return Gaussian(mean, logvar)


class ToyDecoder(nn.Module):
    """The decoder of R replicas.

    Args:
        network: from z to 2 outputs.
    """

    def __init__(self, network: ReplicatedMLP) -> None:
        super().__init__()
        self.network = network

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Map latents (B * R, 2), of replica i mod R, and a style (B * R, 0) to points (B * R, 2)."""
        return _together(self.network(_apart(content, self.network.replicas)))


class ToyVAE(LatentModel):
    """R plain VAEs of the plane; point i of a batch of B * R points belongs to replica i mod R.

    Args:
        seeds: seed of each replica's initial weights.
        hidden: width of the hidden layers.
        dtype: precision of products between hidden layers.
    """

    def __init__(
        self, seeds: tuple[int, ...], hidden: int = HIDDEN, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__((2,))
        self.content_shape = (LATENTS,)
        self.style_dim = self.domains = 0
        self.translates = False
        self.replicas = len(seeds)
        layers = [hidden] * HIDDEN_LAYERS
        self.content_encoder = ToyEncoder(
            ReplicatedMLP((2, *layers, 2 * LATENTS), tuple(2 * seed for seed in seeds), dtype)
        )
        self.content_prior = StandardPrior(self.content_shape)
        self.style_encoder = NoStyle()
        self.style_prior = StylePrior(0, 0)
        self.decoder = ToyDecoder(
            ReplicatedMLP((LATENTS, *layers, 2), tuple(2 * seed + 1 for seed in seeds), dtype)
        )

    def encode(self, images: Tensor) -> Posterior:
        """Map points (B * R, 2) to the posteriors of z (B * R, 2) and of a style without dimensions."""
        return self.read(images)

    def observed(self, logits: Tensor) -> Tensor:
        """Return the decoder's outputs, which are points."""
        return logits

    @torch.no_grad()
    def points(self, count: int, seed: int) -> Tensor:
        """Generate points, (R, count, 2), from the same draws of z for every replica."""
        z = torch.randn(count, LATENTS, generator=torch.Generator().manual_seed(seed)).repeat_interleave(
            self.replicas, 0
        )
        return _apart(self.decode(Codes(z, z.new_zeros(len(z), 0))), self.replicas)

    @torch.no_grad()
    def cost(self, points: Tensor) -> Tensor:
        """Minus the ELBO of points (N, 2) under each replica, (R, N).

        It is the squared error of the mean's reconstruction plus the KL.
        """
        shared = points.repeat_interleave(self.replicas, 0)
        posterior = self.encode(shared)
        rebuilt = self.decode(posterior.mean)
        return _apart((rebuilt - shared).square().sum(1) + posterior.content.kl(), self.replicas)

    @torch.no_grad()
    def reconstructions(self, points: Tensor) -> Tensor:
        """Reconstruct points (N, 2) with each replica, (R, N, 2)."""
        return _apart(
            self.decode(self.encode(points.repeat_interleave(self.replicas, 0)).mean), self.replicas
        )
