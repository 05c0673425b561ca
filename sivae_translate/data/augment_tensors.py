"""Random augmentation of a batch on its device, the same in distribution as `sivae_translate.data.augment`.

Every image has its own flip, placement and factors. The order of the changes of colour is drawn once for each
batch, since computing all orders for all images would cost more than the changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.data.augment import AugmentSettings

Change = Callable[[Tensor, Tensor], Tensor]
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the grey of a colour."""


class TensorAugmentation:
    """Random changes that depend only on a seed and on the kind of device.

    Args:
        config: strength of each change.
    """

    def __init__(self, config: AugmentSettings) -> None:
        self.config = config
        self._moves = bool(config.shift or config.scale or config.rotate)

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Change images (B, C, H, W) in [0, 1]; the given tensor itself if every change is off."""
        config, draw = self.config, _Draws(images, seed)
        changed = images
        flip = draw.uniform(0.0, 1.0) < 0.5 if config.flip else None
        if self._moves:
            shift = [draw.uniform(-config.shift, config.shift) * size for size in images.shape[:1:-1]]
            turn = draw.uniform(-config.rotate, config.rotate)
            scale = draw.uniform(1 - config.scale, 1 + config.scale)
            changed = placed(images, torch.stack(shift, 1).trunc(), scale, turn, flip)
        elif flip is not None:
            changed = torch.where(flip[:, None, None, None], images.flip(3), images)
        for change in self._colours(images.shape[1], draw):
            changed = change(changed)
        # Images that were read have 8 bits, and so have augmented ones on the CPU.
        return changed if changed is images else changed.mul(255).round_().div_(255)

    def _colours(self, channels: int, draw: _Draws) -> list[Callable[[Tensor], Tensor]]:
        """The changes of colour in a random order, each with its factors."""
        config = self.config
        kinds: list[tuple[Change, float, float]]
        kinds = [(brightened, config.brightness, 1.0), (contrasted, config.contrast, 1.0)]
        if channels == 3:
            kinds += [(saturated, config.saturation, 1.0), (turned, config.hue, 0.0)]
        made = [
            partial(_with_factors, change, draw.uniform(middle - reach, middle + reach))
            for change, reach, middle in kinds
            if reach
        ]
        return [made[index] for index in draw.order(len(made))]


class _Draws:
    """Random numbers for a batch, on its device.

    Args:
        images: the batch.
        seed: not negative.
    """

    def __init__(self, images: Tensor, seed: int) -> None:
        self.like = images
        self.generator = torch.Generator(images.device).manual_seed(seed)
        self.host = torch.Generator().manual_seed(seed)

    def uniform(self, least: float, most: float) -> Tensor:
        """A number for each image, (B,)."""
        drawn = torch.rand(len(self.like), generator=self.generator, device=self.like.device)
        return least + (most - least) * drawn

    def order(self, count: int) -> list[int]:
        """A random order, the same for all images."""
        order: list[int] = torch.randperm(count, generator=self.host).tolist()
        return order


def placed(images: Tensor, shift: Tensor, scale: Tensor, degrees: Tensor, flip: Tensor | None) -> Tensor:
    """Images mirrored, scaled and rotated about their middle, and shifted; the edge is repeated outside.

    Args:
        images: (B, C, H, W).
        shift: pixels to the right and down, (B, 2).
        scale: factors on the size, (B,).
        degrees: counterclockwise rotation, (B,).
        flip: whether to mirror left and right first, (B,); None mirrors none.
    """
    height, width = images.shape[2:]
    angle, scale = (value[:, None, None] for value in (degrees * (math.pi / 180), scale))
    x, y = (
        torch.arange(size, device=images.device) - (size - 1) / 2 - shift[:, index, None]
        for index, size in enumerate((width, height))
    )
    x, y = x[:, None, :], y[:, :, None]
    across = (angle.cos() * x - angle.sin() * y) / scale
    down = (angle.sin() * x + angle.cos() * y) / scale
    if flip is not None:
        across = torch.where(flip[:, None, None], -across, across)
    # grid_sample counts from -1 to 1 between the middles of the outermost pixels
    grid = torch.stack([across * (2 / (width - 1)), down * (2 / (height - 1))], 3)
    return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=True)


def _with_factors(change: Change, factors: Tensor, images: Tensor) -> Tensor:
    return change(images, factors[:, None, None, None].to(images.dtype)).clamp(0, 1)


def brightened(images: Tensor, factor: Tensor) -> Tensor:
    """Images (B, C, H, W) times factors (B, 1, 1, 1)."""
    return images * factor


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """Images with factors on the distance from their mean grey."""
    return torch.lerp(_grey(images).mean((1, 2, 3), keepdim=True), images, factor)


def saturated(images: Tensor, factor: Tensor) -> Tensor:
    """Images with factors on the distance of every pixel from its grey."""
    return torch.lerp(_grey(images), images, factor)


def turned(images: Tensor, turn: Tensor) -> Tensor:
    """Images with hues turned by shares of the colour circle."""
    most, least = images.amax(1), images.amin(1)
    red, green, blue = images.unbind(1)
    chroma = most - least
    step = chroma.clamp(min=1e-8)
    hue = torch.where(most == green, (blue - red) / step + 2, (red - green) / step + 4)
    hue = torch.where(most == red, (green - blue) / step, hue) + 6 * turn[:, 0]
    steps = torch.stack([(offset + hue) % 6 for offset in (5, 3, 1)], 1)
    return most[:, None] - chroma[:, None] * torch.minimum(steps, 4 - steps).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """The grey of every pixel, (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    return sum(share * images[:, index, None] for index, share in enumerate(GREY))  # type: ignore[return-value]
