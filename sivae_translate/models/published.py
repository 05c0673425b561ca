"""The residual networks of the published Soft-IntroVAE (arXiv 2012.13253, appendix), for comparison.

They have BatchNorm, whose running statistics mix real images, reconstructions and samples during training, so
that a loaded model would produce other images than before. Here the averaged model is always in evaluation
mode, and `settle` measures its statistics again before it is used or saved: the encoder's on real images, the
decoder's on draws from the prior.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sivae_translate.models.codes import Gaussian
from sivae_translate.models.networks import at_least_float32, bounded_logvar
from sivae_translate.models.priors import MixturePrior, StandardPrior

SLOPE = 0.2


class PublishedBlock(nn.Module):
    """A residual block of two 3x3 convolutions with BatchNorm.

    If the number of channels changes, the input passes a 1x1 convolution.

    Args:
        narrow: input channels.
        wide: output channels.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.skip = nn.Conv2d(narrow, wide, 1, bias=False) if narrow != wide else nn.Identity()
        self.body = nn.Sequential(
            nn.Conv2d(narrow, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False),
            nn.BatchNorm2d(wide),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, narrow, H, W) to (B, wide, H, W)."""
        out: Tensor = nn.functional.leaky_relu(self.body(x) + self.skip(x), SLOPE)
        return out


class PublishedEncoder(nn.Module):
    """q(z | x).

    Args:
        channels: of images.
        widths: channels at each resolution, finest first; one for each halving from the image's side down to
            ``side``.
        side: of the features between convolutions and latent; 4 in the paper, 7 for images of 28 px.
        latent_dim: Z.
    """

    def __init__(self, channels: int, widths: Sequence[int], side: int, latent_dim: int) -> None:
        super().__init__()
        first = widths[0]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, first, 5, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.LeakyReLU(SLOPE),
            nn.AvgPool2d(2),
        ]
        for narrow, wide in pairwise(widths):
            layers += [PublishedBlock(narrow, wide), nn.AvgPool2d(2)]
        self.body = nn.Sequential(*layers, PublishedBlock(widths[-1], widths[-1]))
        self.head = nn.Linear(widths[-1] * side**2, 2 * latent_dim)

    def forward(self, images: Tensor) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to a Gaussian with parameters (B, Z)."""
        mean, raw = at_least_float32(self.head(self.body(images).flatten(1))).chunk(2, dim=1)
        return Gaussian(mean, bounded_logvar(raw))


class PublishedDecoder(nn.Module):
    """z to an image.

    Args:
        channels: of images.
        widths: see `PublishedEncoder`.
        side: see `PublishedEncoder`.
        latent_dim: Z.
    """

    def __init__(self, channels: int, widths: Sequence[int], side: int, latent_dim: int) -> None:
        super().__init__()
        self.side = side
        coarse_first = list(widths)[::-1]
        self.width = coarse_first[0]
        self.head = nn.Sequential(nn.Linear(latent_dim, self.width * side**2), nn.ReLU())
        layers: list[nn.Module] = []
        for narrow, wide in zip([self.width, *coarse_first[:-1]], coarse_first, strict=True):
            layers += [PublishedBlock(narrow, wide), nn.Upsample(scale_factor=2)]
        last = coarse_first[-1]
        self.body = nn.Sequential(
            *layers, PublishedBlock(last, last), nn.Conv2d(last, channels, 5, padding=2)
        )

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Latents (B, Z) and a style (B, 0) to images (B, C, H, W) before the sigmoid, in float32."""
        features = self.head(content).reshape(-1, self.width, self.side, self.side)
        return at_least_float32(self.body(features))


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model has BatchNorm statistics."""
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@torch.no_grad()
def settle(
    encoder: nn.Module,
    decoder: nn.Module,
    prior: StandardPrior | MixturePrior,
    batches: Iterable[Tensor],
    seed: int = 0,
) -> None:
    """Measure the running statistics again, on real images and on the same number of prior draws.

    Both networks are in evaluation mode afterwards.

    Args:
        encoder: the encoder.
        decoder: the decoder, from latents and a style without dimensions.
        prior: prior of the latents.
        batches: real images (B, C, H, W).
        seed: seed of the draws.
    """
    norms = [
        module
        for part in (encoder, decoder)
        for module in part.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over batches
        norm.train()
    for index, images in enumerate(batches):
        encoder(images)
        generator = torch.Generator(images.device).manual_seed(seed + index)
        draws = prior.sample(len(images), images.device, generator)
        decoder(draws, draws.new_zeros(len(draws), 0))
    for norm in norms:
        norm.eval()
