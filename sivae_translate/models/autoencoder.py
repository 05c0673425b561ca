"""A small convolutional autoencoder, and the space of its latents.

Latents are standardised per channel, then mapped to [0, 1]: the range holds `DEVIATIONS` standard deviations
on either side of the mean. There is no normalisation layer, since it would discard the strength of contrasts.

Our own autoencoder has a linear path beside its convolutions. This path starts with what JPEG keeps of a
patch: the lowest frequencies of the brightness (discrete cosine transform), and fewer of the colours. So it
reconstructs images before it has learned anything, and training is spent on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.models.blocks import conv3x3
from sivae_translate.models.norms import activation
from sivae_translate.models.spaces import Space
from sivae_translate.utils.errors import ConfigError

DEVIATIONS = 4.0
"""Standard deviations of a latent from the middle of [0, 1] to either end."""
CHANNELS = {4: 16, 8: 32}
"""Latent channels of our own autoencoder, by its factor."""
WIDTHS = {4: (32, 64, 96), 8: (32, 48, 64, 96)}
"""Its number of features at each resolution, that of the image first."""
COLOUR_SHARE = 3 / 16
"""Share of the latent channels that start as frequencies of each of the two colour differences."""
BRIGHTNESS = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))
"""JPEG's brightness and two colour differences, from red, green and blue."""


class Autoencoder(Space):
    """Views that are the latents of an autoencoder.

    Args:
        encoder: images (B, C, H, W) in [0, 1] to latents (B, K, h, w).
        decoder: latents to images, nominally in [0, 1].
        image_channels: C.
        channels: K.
        factor: H / h.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, image_channels: int, channels: int, factor: int
    ) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.image_channels, self.channels, self.factor = image_channels, channels, factor
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """(K, H / factor, W / factor).

        Raises:
            ConfigError: the sides are not multiples of the factor, or the autoencoder is for images with
                another number of channels.
        """
        image_channels, height, width = image_shape
        if image_channels != self.image_channels:
            raise ConfigError(
                f"data.channels is {image_channels}, but the autoencoder needs {self.image_channels}",
                remedy=f"set data.channels to {self.image_channels}, or choose another model.autoencoder",
            )
        if height % self.factor or width % self.factor:
            raise ConfigError(
                f"images of {height} x {width} px do not fit the autoencoder: their sides must be "
                f"multiples of {self.factor}",
                remedy=f"choose a data.image_size that is a multiple of {self.factor}, or leave "
                "model.autoencoder out",
            )
        return (self.channels, height // self.factor, width // self.factor)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to views (B, K, h, w) in [0, 1]; values outside are clipped."""
        return self.squeezed(self.latents(images))

    def decode(self, views: Tensor) -> Tensor:
        """Views (B, K, h, w) in [0, 1] to images (B, C, H, W) in [0, 1]."""
        latents = (views.float() - 0.5) * (2 * DEVIATIONS) * self.deviation + self.mean
        return self.rebuilt(latents).clamp(0, 1)

    def latents(self, images: Tensor) -> Tensor:
        """Images to latents (B, K, h, w), as the encoder gives them."""
        latents: Tensor = self.encoder(images)
        return latents

    def rebuilt(self, latents: Tensor) -> Tensor:
        """Latents to images (B, C, H, W), not clipped to [0, 1]."""
        images: Tensor = self.decoder(latents)
        return images

    def squeezed(self, latents: Tensor) -> Tensor:
        """Latents to views."""
        standard = (latents.float() - self.mean) / self.deviation
        return (0.5 + standard / (2 * DEVIATIONS)).clamp(0, 1)

    def fit_statistics(self, latents: Tensor) -> None:
        """Take the mean and deviation of each channel from latents (N, K, h, w)."""
        self.mean.copy_(latents.mean((0, 2, 3))[:, None, None])
        self.deviation.copy_(latents.std((0, 2, 3)).clamp(min=1e-3)[:, None, None])


def small_autoencoder(image_channels: int, channels: int, widths: Sequence[int]) -> Autoencoder:
    """Our own autoencoder, with initial weights.

    Args:
        image_channels: C.
        channels: K, of the latents.
        widths: features at every resolution, the image's own first; each further one halves the side.
    """
    encoder = SmallEncoder(image_channels, channels, widths)
    decoder = SmallDecoder(image_channels, channels, widths)
    basis = patch_basis(image_channels, channels, _factor(widths))
    with torch.no_grad():
        encoder.patches.weight.copy_(basis)
        decoder.patches.weight.copy_(torch.linalg.pinv(basis.flatten(1)).t().reshape(basis.shape))
    return Autoencoder(encoder, decoder, image_channels, channels, _factor(widths))


def _factor(widths: Sequence[int]) -> int:
    """An image's side over its latents'."""
    return int(2 ** (len(widths) - 1))


def patch_basis(image_channels: int, channels: int, factor: int) -> Tensor:
    """What the latents measure in a patch at the start: (K, C, factor, factor), orthogonal over patches.

    In images with other than three channels, every channel counts as brightness.
    """
    colours = 2 * round(COLOUR_SHARE * channels) if image_channels == 3 else 0
    if image_channels == 3:
        mixes = torch.tensor(BRIGHTNESS)
        counts = [channels - colours, colours // 2, colours // 2]
    else:
        mixes = torch.eye(image_channels)
        counts = [len(range(part, channels, image_channels)) for part in range(image_channels)]
    waves = _cosines(factor)
    order = sorted(
        ((u, v) for u in range(factor) for v in range(factor)),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair),
    )
    parts = [
        mix[:, None, None] * torch.outer(waves[u], waves[v])
        for mix, count in zip(mixes, counts, strict=True)
        for u, v in order[:count]
    ]
    spare = [torch.zeros(image_channels, factor, factor)] * (channels - len(parts))
    return torch.stack([*parts, *spare])


def _cosines(size: int) -> Tensor:
    """The discrete cosine transform: orthonormal rows, (size, size)."""
    places = (torch.arange(size) + 0.5) * math.pi / size
    waves = torch.cos(torch.arange(size)[:, None] * places) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves


class SmallBlock(nn.Module):
    """x + conv(act(conv(act(x)))); (B, C, H, W) in and out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv3x3(width, width), conv3x3(width, width, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        out: Tensor = x + self.conv2(activation(self.conv1(activation(x))))
        return out


def _blocks(width: int, level: int) -> nn.Sequential:
    """One block for each halving so far: arithmetic at full resolution costs most."""
    return nn.Sequential(*(SmallBlock(width) for _ in range(level)))


class SmallEncoder(nn.Module):
    """Images to latents: a linear map of patches, and convolutions of stride 2 with residual blocks.

    Args:
        image_channels: C.
        channels: K.
        widths: features at every resolution, the image's own first.
    """

    def __init__(self, image_channels: int, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = conv3x3(image_channels, widths[0])
        self.downs = nn.ModuleList(
            nn.Conv2d(wide, narrow, 4, stride=2, padding=1) for wide, narrow in pairwise(widths)
        )
        self.levels = nn.ModuleList(_blocks(width, level) for level, width in enumerate(widths[1:], 1))
        self.head = conv3x3(widths[-1], channels, gain=0.1)
        factor = _factor(widths)
        self.patches = nn.Conv2d(image_channels, channels, factor, stride=factor, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] to (B, K, h, w)."""
        centred = 2 * images - 1
        x: Tensor = self.stem(centred)
        for down, level in zip(self.downs, self.levels, strict=True):
            x = level(down(activation(x)))
        latents: Tensor = self.patches(centred) + self.head(activation(x))
        return latents


class SmallDecoder(nn.Module):
    """Latents to images: a linear map to patches, and residual blocks.

    Nearest-neighbour interpolation and a convolution double the side.

    Args:
        image_channels: C.
        channels: K.
        widths: features at every resolution, the image's own first.
    """

    def __init__(self, image_channels: int, channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        coarse_first = tuple(widths)[::-1]
        levels = range(len(widths) - 1, 0, -1)
        self.stem = conv3x3(channels, coarse_first[0])
        self.levels = nn.ModuleList(
            _blocks(width, level) for level, width in zip(levels, coarse_first, strict=False)
        )
        self.ups = nn.ModuleList(conv3x3(wide, narrow) for wide, narrow in pairwise(coarse_first))
        self.last = SmallBlock(widths[0])
        self.exit = conv3x3(widths[0], image_channels, gain=0.1)
        factor = _factor(widths)
        self.patches = nn.ConvTranspose2d(channels, image_channels, factor, stride=factor, bias=False)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, K, h, w) to (B, C, H, W), nominally in [0, 1]."""
        x: Tensor = self.stem(latents)
        for level, up in zip(self.levels, self.ups, strict=True):
            x = up(F.interpolate(activation(level(x)), scale_factor=2, mode="nearest"))
        images: Tensor = self.patches(latents) + self.exit(activation(self.last(x)))
        return 0.5 * images + 0.5
