"""Content encoder, style encoder, style prior and style-modulated decoder.

`sivae_translate.models.resampling` has the layers that change resolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from sivae_translate.models.blocks import ModulatedBlock, Modulations, ResidualBlock, conv3x3
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.fused import pooled, squashed
from sivae_translate.models.norms import activated
from sivae_translate.models.resampling import Resampling, make_down, make_exit, make_stem, make_up
from sivae_translate.models.windows import Windows

LOGVAR_BOUND = 8.0
SHARPNESS = 25.0
"""Fifty times that of a posterior under priors with unit variance."""


def bounded_logvar(raw: Tensor) -> Tensor:
    """Bound log variances smoothly to (-8, 8): the KL of fakes is pushed up and must not overflow."""
    return squashed(raw, LOGVAR_BOUND)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert from reduced precision, in which sums over pixels and latents would lose digits."""
    return x if x.dtype == torch.float64 else x.float()


@contextmanager
def precision_of(weight: Tensor) -> Iterator[None]:
    """Turn autocast off for layers whose weights have its precision already, as in training.

    Autocast costs time at every operator.
    """
    if weight.dtype in (torch.bfloat16, torch.float16):
        with torch.autocast(weight.device.type, enabled=False):
            yield
    else:
        yield


class Trunk(nn.Module):
    """Convolutional features of an image at the content code's resolution.

    Args:
        channels: 1 or 3.
        level_widths: channels at each resolution, finest first.
        blocks: residual blocks at each resolution.
        resampling: how it changes resolution.
        flat: begin at the image's resolution, not at half of it.
    """

    def __init__(
        self,
        channels: int,
        level_widths: Sequence[int],
        blocks: int,
        resampling: Resampling = "shuffle",
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.stem = make_stem(channels, level_widths[0], resampling, flat=flat)
        self.levels = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(w) for _ in range(blocks))) for w in level_widths
        )
        pairs = pairwise(level_widths)
        self.downs = nn.ModuleList(make_down(narrow, wide, resampling) for narrow, wide in pairs)

    @property
    def _weight(self) -> Tensor:
        """A weight that has the precision of the layers."""
        return next(self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) in [0, 1] to features (B, F, h, w)."""
        with precision_of(self._weight):
            x: Tensor = self.stem(torch.rsub(images, -1.0, alpha=-2.0))  # 2 * images - 1
            x = self.levels[0](x)
            for down, level in zip(self.downs, self.levels[1:], strict=True):
                x = level(down(x))
        return x


class ContentEncoder(nn.Module):
    """q(c | x): a spatial diagonal Gaussian.

    Args:
        channels: image channels.
        level_widths: see `Trunk`.
        blocks: see `Trunk`.
        content_channels: Cc.
        resampling: see `Trunk`.
        flat: see `Trunk`.
    """

    def __init__(
        self,
        channels: int,
        level_widths: Sequence[int],
        blocks: int,
        content_channels: int,
        resampling: Resampling = "shuffle",
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, level_widths, blocks, resampling, flat)
        self.head = conv3x3(level_widths[-1], 2 * content_channels, gain=0.3)

    def forward(self, images: Tensor) -> Gaussian:
        """Map images (B, C, H, W) in [0, 1] to a Gaussian with parameters (B, Cc, h, w)."""
        mean, raw = at_least_float32(self.head(activated(self.trunk(images)))).chunk(2, dim=1)
        return Gaussian(mean, bounded_logvar(raw))


class StyleEncoder(nn.Module):
    """q(s | x): a diagonal Gaussian over a vector.

    Args:
        channels: image channels.
        level_widths: see `Trunk`.
        blocks: see `Trunk`.
        style_dim: S.
        resampling: see `Trunk`.
        flat: see `Trunk`.
    """

    def __init__(
        self,
        channels: int,
        level_widths: Sequence[int],
        blocks: int,
        style_dim: int,
        resampling: Resampling = "shuffle",
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, level_widths, blocks, resampling, flat)
        self.head = nn.Linear(2 * level_widths[-1], 2 * style_dim)

    def forward(self, images: Tensor) -> Gaussian:
        """Map images (B, C, H, W) in [0, 1] to a Gaussian with parameters (B, S)."""
        features = pooled(activated(self.trunk(images)))
        mean, raw = at_least_float32(self.head(features)).chunk(2, dim=1)
        return Gaussian(mean, bounded_logvar(raw))


class LatentEncoder(nn.Module):
    """q(z | x): a diagonal Gaussian over one vector, computed without pooling over places.

    Args:
        channels: image channels.
        level_widths: see `Trunk`.
        blocks: see `Trunk`.
        size: side of the trunk's features.
        latent_dim: Z.
        resampling: see `Trunk`.
        flat: see `Trunk`.
    """

    def __init__(
        self,
        channels: int,
        level_widths: Sequence[int],
        blocks: int,
        size: int,
        latent_dim: int,
        resampling: Resampling = "shuffle",
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, level_widths, blocks, resampling, flat)
        self.head = nn.Linear(level_widths[-1] * size**2, 2 * latent_dim)

    def forward(self, images: Tensor) -> Gaussian:
        """Map images (B, C, H, W) in [0, 1] to a Gaussian with parameters (B, Z)."""
        features = activated(self.trunk(images)).flatten(1)
        mean, raw = at_least_float32(self.head(features)).chunk(2, dim=1)
        return Gaussian(mean, bounded_logvar(raw))


class PlaceEncoder(nn.Module):
    """q(u | x): a diagonal Gaussian at every place of a coarse map, and a fixed prior mean for each domain.

    Args:
        channels: image channels.
        level_widths: see `Trunk`.
        dimensions: U.
        domains: number of labelled domains; 0 without labels, where the only mean is 0.
        flat: see `Trunk`.
    """

    means: Tensor

    def __init__(
        self, channels: int, level_widths: Sequence[int], dimensions: int, domains: int, flat: bool = False
    ) -> None:
        super().__init__()
        self.trunk = Trunk(channels, level_widths, blocks=1, resampling="smooth", flat=flat)
        self.head = nn.Conv2d(level_widths[-1], 2 * dimensions, 1)
        means = torch.randn(domains, dimensions) if domains else torch.zeros(1, dimensions)
        self.register_buffer("means", means)

    def forward(self, images: Tensor) -> Gaussian:
        """Map images (B, C, H, W) in [0, 1] to a Gaussian with parameters (B, U, h, w)."""
        features = activated(self.trunk(images))
        mean, raw = at_least_float32(self.head(features)).chunk(2, dim=1)
        return Gaussian(mean, bounded_logvar(raw))


class StylePrior(nn.Module):
    """p(s | d) = N(m_d, I) with learned m_d; N(0, I) without domain labels.

    Args:
        domains: number of domains; 0 for unlabelled data.
        style_dim: S.
    """

    def __init__(self, domains: int, style_dim: int) -> None:
        super().__init__()
        self.style_dim = style_dim
        self.means = nn.Parameter(torch.randn(domains, style_dim), requires_grad=domains > 0)

    def forward(self, domain: Tensor | None, batch: int) -> Tensor:
        """Prior means (B, S) of domain indices (B,), or zeros if ``domain`` is None."""
        if domain is None:
            return self.means.new_zeros(batch, self.style_dim)
        return self.means[domain]

    def membership(self, style: Tensor) -> Tensor:
        """Shares (B, D) of the domains in styles (B, S): nearly 1 for the nearest, less between two.

        It is sharper than the probability under the priors, so that a prior mean belongs to its own domain
        even if that of a similar domain is near.
        """
        distances = (style.float()[:, None] - self.means.float()).square().sum(2)
        return torch.softmax(-SHARPNESS * distances, 1)


class Decoder(nn.Module):
    """Decodes content and style to an image.

    The style modulates every block and produces the initial features, to which the content is added.

    Args:
        channels: image channels.
        level_widths: channels at each resolution, finest first.
        blocks: modulated blocks at each resolution.
        content_shape: (Cc, h, w); Cc = 0 for a decoder that only takes the style.
        style_dim: S.
        style_features: width of the style's mapping network.
        resampling: how it changes resolution.
        flat: end at the finest features' resolution, not at twice of it.
    """

    def __init__(
        self,
        channels: int,
        level_widths: Sequence[int],
        blocks: int,
        content_shape: tuple[int, int, int],
        style_dim: int,
        style_features: int,
        resampling: Resampling = "shuffle",
        flat: bool = False,
    ) -> None:
        super().__init__()
        coarse_first = level_widths[::-1]
        content_channels, self.height, self.width = content_shape
        self.mapping = nn.Sequential(
            nn.Linear(style_dim, style_features),
            nn.LeakyReLU(0.2),
            nn.Linear(style_features, style_features),
            nn.LeakyReLU(0.2),
        )
        self.canvas = nn.Linear(style_features, coarse_first[0] * self.height * self.width)
        self.entry = conv3x3(content_channels, coarse_first[0]) if content_channels else None
        self.levels = nn.ModuleList(
            nn.ModuleList(ModulatedBlock(w, style_features) for _ in range(blocks)) for w in coarse_first
        )
        every = [block for level in self.levels for block in level]  # type: ignore[attr-defined]
        self.modulations = Modulations(every)
        pairs = pairwise(coarse_first)
        self.ups = nn.ModuleList(make_up(wide, narrow, resampling) for wide, narrow in pairs)
        self.exit = make_exit(coarse_first[-1], channels, resampling, flat=flat)

    def forward(self, content: Tensor | None, style: Tensor, windows: Windows | None = None) -> Tensor:
        """Decode content (B, Cc, h, w) and style (B, S) to float32 images (B, C, H, W) before the sigmoid.

        The content is None for a decoder without content channels. With windows, it is that of parts of a
        larger picture, and has their size.
        """
        weight = self.canvas.weight
        with precision_of(weight):
            return at_least_float32(self._decoded(content, style.to(weight.dtype), windows))

    def _decoded(self, content: Tensor | None, style: Tensor, windows: Windows | None) -> Tensor:
        """Images before the sigmoid, in the weights' or autocast's precision."""
        features = self.mapping(style)
        x: Tensor = self.canvas(features).unflatten(1, (-1, self.height, self.width))
        if windows is not None:
            x = windows.cut(x)
        modulations = self.modulations(features)
        if self.entry is not None:
            assert content is not None
            x = self.entry(content.to(style.dtype)) + x  # keeps the memory format of the first term
        for index, level in enumerate(self.levels):
            if index:
                x = self.ups[index - 1](x)
            for block in level:  # type: ignore[attr-defined]  # a ModuleList of blocks
                x = block(x, next(modulations))
        out: Tensor = self.exit(activated(x))
        return out
