"""Normalisation over the channels of each pixel, fused with the activation that follows it.

The cost of a small model's step is dominated by dispatching operators, most of which are normalised
activations. Written out, one takes four operators forward, four backward, and the bookkeeping of autograd;
here it takes two each way on a CPU.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

EPSILON = 1e-5
"""Constant that is added to variances."""
SLOPE = 0.2
"""Negative slope of leaky ReLUs, as in the paper."""


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU with slope `SLOPE`."""
    return F.leaky_relu(x, SLOPE)


def channel_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each pixel; (B, C, H, W) in and out."""
    if x.device.type != "cpu" and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):  # on a GPU the result would be in float32
            return channel_norm(x)
    return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), eps=EPSILON).permute(0, 3, 1, 2)


def activated(x: Tensor) -> Tensor:
    """act(norm(x)); (B, C, H, W) in and out."""
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _Activated.apply(x)  # type: ignore[no-untyped-call]
        return out
    return activation(channel_norm(x))


def activated_in_style(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """act(scale * norm(x) + shift); (B, C, H, W) in and out, scale and shift are (B, C, 1, 1)."""
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _ActivatedInStyle.apply(x, scale, shift)  # type: ignore[no-untyped-call]
        return out
    return activation(torch.addcmul(shift, channel_norm(x), scale))


class _Activated(torch.autograd.Function):
    """`activated`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        normal, *kept = _normalised(x)
        ctx.save_for_backward(*kept, normal)
        return activation(normal)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        *kept, normal = ctx.saved_tensors
        return _before_norm(_before_activation(gradient, normal), *kept)


class _ActivatedInStyle(torch.autograd.Function):
    """`activated_in_style`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        normal, *kept = _normalised(x)
        modulated = torch.addcmul(shift, normal, scale)
        ctx.save_for_backward(*kept, normal, scale, modulated)
        return activation(modulated)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        *kept, normal, scale, modulated = ctx.saved_tensors
        gradient = _before_activation(gradient, modulated)
        of_scale = (gradient * normal).sum((2, 3), keepdim=True)
        of_shift = gradient.sum((2, 3), keepdim=True)
        return _before_norm(gradient * scale, *kept), of_scale, of_shift


def _before_activation(gradient: Tensor, x: Tensor) -> Tensor:
    """The gradient of the input of `activation`."""
    before: Tensor = torch.ops.aten.leaky_relu_backward(gradient, x, SLOPE, False)
    return before


def _normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`channel_norm`, and its input, means and reciprocal deviations for `_before_norm`."""
    if _lies_by_pixels(x) and _group_norm_takes_pixels():
        normal, mean, deviation = _grouped(x)
        return normal, x, mean, deviation
    if torch.is_autocast_enabled(x.device.type):  # on a GPU the result would stay in float32
        with torch.autocast(x.device.type, enabled=False):
            return _normalised(x)
    pixels = _by_pixels(x)
    normal, mean, deviation = torch.native_layer_norm(pixels, pixels.shape[3:], None, None, EPSILON)
    return normal.permute(0, 3, 1, 2), pixels, mean, deviation


def _before_norm(gradient: Tensor, normalised: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """The gradient of the input of `_normalised`, from that of its result and what it saved."""
    only_input = [True, False, False]
    before: Tensor
    if mean.ndim == 2:  # of `_grouped`
        laid_out = gradient.contiguous(memory_format=torch.channels_last)
        sizes = (len(mean), normalised.shape[1], 1, 1)
        before, _, _ = torch.ops.aten.native_group_norm_backward(
            laid_out, normalised, mean, deviation, None, *sizes, only_input
        )
        return before
    before, _, _ = torch.ops.aten.native_layer_norm_backward(
        _by_pixels(gradient), normalised, normalised.shape[3:], mean, deviation, None, None, only_input
    )
    return before.permute(0, 3, 1, 2)


def _by_pixels(x: Tensor) -> Tensor:
    """Permute (B, C, H, W) to (B, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def _lies_by_pixels(x: Tensor) -> bool:
    """Whether a batch on a CPU is stored pixel by pixel, with adjacent channels."""
    return x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)


def _grouped(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`_normalised` in one operator instead of three: group norm treats every pixel as an image.

    In memory, a batch that `_lies_by_pixels` looks like B * H * W images of one pixel.
    """
    batch, channels, height, width = x.shape
    return torch.native_group_norm(x, None, None, batch * height * width, channels, 1, 1, EPSILON)


@cache
def _group_norm_takes_pixels() -> bool:
    """Whether group norm relies on the sizes that it is given, which torch does not document."""
    x = torch.arange(16.0).square().reshape(1, 2, 2, 4).permute(0, 3, 1, 2)
    try:
        return torch.allclose(_grouped(x)[0], channel_norm(x), atol=1e-5)
    except RuntimeError:
        return False
