"""Layers that change resolution: from pixels to features, down, up, and from features to pixels.

``shuffle`` rearranges 2x2 pixels into channels and back, and never computes at full resolution. It is fast on
CPUs but leaves a woven texture with periods of 2 to 4 px. ``antialiased`` is the same, but encoders see a
smoothed image.

``smooth`` has convolutions at full resolution at both ends, a low-pass filter before downsampling (arXiv
1904.11486), and interpolation before the convolutions that follow upsampling. No layer treats even and odd
pixels differently, so none produces a texture of its own. After the same number of steps, its fine detail is
softer so far (experiment 62).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.models.blocks import conv3x3
from sivae_translate.models.norms import activated, activation

Resampling: TypeAlias = Literal["smooth", "shuffle", "antialiased"]

PATCH = 2
"""Side of the pixel blocks that ``shuffle`` turns into channels, and ratio of two resolutions."""
_TAPS = (1.0, 3.0, 3.0, 1.0)


def low_pass(channels: int) -> Tensor:
    """The filter of `halved`, [1, 3, 3, 1] / 8 in both directions for each channel: (C, 1, 4, 4)."""
    taps = torch.tensor(_TAPS) / sum(_TAPS)
    return (taps[:, None] * taps).expand(channels, 1, -1, -1).contiguous()


def halved(x: Tensor, kernel: Tensor) -> Tensor:
    """Downsample after a filter (`low_pass`): (B, C, H, W) to (B, C, H/2, W/2)."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, stride=2, groups=x.shape[1])


def doubled(x: Tensor) -> Tensor:
    """Upsample bilinearly: (B, C, H, W) to (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def smoothed(images: Tensor) -> Tensor:
    """Filter images (B, C, H, W) with [1, 2, 1] / 4 in both directions, which removes the finest stripes."""
    return F.avg_pool2d(F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 2, 1), 2, 1)


class ShuffleStem(nn.Conv2d):
    """2x2 pixels into channels, then a 3x3 convolution: (B, C, H, W) to (B, width, H/2, W/2).

    Args:
        channels: image channels.
        width: channels of the features.
        antialias: smooth the image first.
    """

    def __init__(self, channels: int, width: int, *, antialias: bool) -> None:
        super().__init__(channels * PATCH**2, width, 3, padding=1)
        self.antialias = antialias
        _as_conv3x3(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to features."""
        smooth = smoothed(images) if self.antialias else images
        return super().forward(F.pixel_unshuffle(smooth, PATCH).to(self.weight.dtype))


class ShuffleDown(nn.Conv2d):
    """2x2 features into channels, then a 1x1 convolution, which is a 2x2 convolution with stride 2.

    Attributes:
        pass_shapes: shapes in which training may substitute the parameters' weights.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__(PATCH**2 * narrow, wide, 1)
        self.pass_shapes = {"weight": (wide, narrow, PATCH, PATCH)}

    def forward(self, x: Tensor) -> Tensor:
        """(B, narrow, H, W) to (B, wide, H/2, W/2)."""
        shape = self.pass_shapes["weight"]
        kernel = self.weight if self.weight.shape == shape else self.weight.view(shape)
        return F.conv2d(x, kernel, self.bias, stride=PATCH)


class ShuffleUp(nn.Conv2d):
    """A 1x1 convolution, then channels into 2x2 features."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__(wide, PATCH**2 * narrow, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, wide, H, W) to (B, narrow, 2H, 2W)."""
        return F.pixel_shuffle(super().forward(x), PATCH)


class ShuffleExit(nn.Conv2d):
    """A 3x3 convolution, then channels into 2x2 pixels."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, channels * PATCH**2, 3, padding=1)
        _as_conv3x3(self, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H/2, W/2) to (B, C, H, W)."""
        return F.pixel_shuffle(super().forward(x), PATCH)


class SmoothDown(nn.Module):
    """A low-pass filter, downsampling, then a 1x1 convolution."""

    kernel: Tensor

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(narrow, wide, 1)
        self.register_buffer("kernel", low_pass(narrow), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, narrow, H, W) to (B, wide, H/2, W/2)."""
        out: Tensor = self.conv(halved(x, self.kernel.to(x.dtype)))
        return out


class SmoothUp(nn.Module):
    """A 1x1 convolution, then interpolation; the 3x3 convolutions of the next block follow."""

    def __init__(self, wide: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, narrow, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, wide, H, W) to (B, narrow, 2H, 2W)."""
        return doubled(self.conv(x))


class SmoothStem(nn.Module):
    """A 3x3 convolution at full resolution, then down: (B, C, H, W) to (B, width, H/2, W/2)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, full_width(width))
        self.down = SmoothDown(full_width(width), width)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to features."""
        out: Tensor = self.down(activation(self.conv(images.to(self.conv.weight.dtype))))
        return out


class SmoothExit(nn.Module):
    """Up, then two 3x3 convolutions at full resolution: (B, width, H/2, W/2) to (B, C, H, W)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.up = SmoothUp(width, full_width(width))
        self.conv = conv3x3(full_width(width), full_width(width))
        self.exit = conv3x3(full_width(width), channels, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Features to pixels before the sigmoid."""
        out: Tensor = self.exit(activated(self.conv(activation(self.up(x)))))
        return out


def full_width(width: int) -> int:
    """Channels at full resolution, where arithmetic is most expensive: half of those at half resolution."""
    return max(width // 2, 8)


class FlatStem(nn.Module):
    """A 3x3 convolution that keeps the resolution, for the views of an autoencoder."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, width)

    def forward(self, views: Tensor) -> Tensor:
        """(B, K, h, w) in [-1, 1] to (B, width, h, w)."""
        features: Tensor = self.conv(views.to(self.conv.weight.dtype))
        return features


class FlatExit(nn.Module):
    """A 3x3 convolution that keeps the resolution, for the views of an autoencoder."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(width, channels, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to (B, K, h, w) before the sigmoid."""
        views: Tensor = self.conv(x)
        return views


def make_stem(channels: int, width: int, resampling: Resampling, *, flat: bool = False) -> nn.Module:
    """From pixels (B, C, H, W) to features (B, width, H/2, W/2), or (B, width, H, W) where ``flat``."""
    if flat:
        return FlatStem(channels, width)
    if resampling == "smooth":
        return SmoothStem(channels, width)
    return ShuffleStem(channels, width, antialias=resampling == "antialiased")


def make_down(narrow: int, wide: int, resampling: Resampling) -> nn.Module:
    """From (B, narrow, H, W) to (B, wide, H/2, W/2)."""
    return SmoothDown(narrow, wide) if resampling == "smooth" else ShuffleDown(narrow, wide)


def make_up(wide: int, narrow: int, resampling: Resampling) -> nn.Module:
    """From (B, wide, H, W) to (B, narrow, 2H, 2W)."""
    return SmoothUp(wide, narrow) if resampling == "smooth" else ShuffleUp(wide, narrow)


def make_exit(width: int, channels: int, resampling: Resampling, *, flat: bool = False) -> nn.Module:
    """From features (B, width, H/2, W/2) to pixels (B, C, H, W) before the sigmoid.

    Where ``flat``, the features have the side of what they are made to.
    """
    if flat:
        return FlatExit(width, channels)
    return SmoothExit(width, channels) if resampling == "smooth" else ShuffleExit(width, channels)


def _as_conv3x3(conv: nn.Conv2d, gain: float = 1.0) -> None:
    """Initialise like `conv3x3`."""
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # the bias exists
    with torch.no_grad():
        conv.weight.mul_(gain)
