"""Small formulas whose gradients take few operators, since on a GPU every operator is a launch.

Values and gradients equal those of the plain formulas, which are used if no gradient is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def kl_to_unit(mean: Tensor, logvar: Tensor, prior: Tensor | None) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(prior, I)) in nats, summed over all dimensions but the first: (B,).

    Args:
        mean: (B, ...).
        logvar: the same shape.
        prior: the same shape; None is 0.
    """
    kl: Tensor = _Kl.apply(mean, logvar, prior)  # type: ignore[no-untyped-call]
    return kl


def drawn(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Compute mean + exp(logvar / 2) * noise; all have the same shape."""
    draw: Tensor = _Draw.apply(mean, logvar, noise)  # type: ignore[no-untyped-call]
    return draw


def squared_error(logits: Tensor, target: Tensor) -> Tensor:
    """Squared error of the sigmoid, summed over all dimensions but the first: (B,)."""
    error: Tensor = _SquaredError.apply(logits, target)  # type: ignore[no-untyped-call]
    return error


def squashed(x: Tensor, bound: float) -> Tensor:
    """Compute bound * tanh(x / bound)."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return bound * torch.tanh(x / bound)
    out: Tensor = _Squash.apply(x, bound)  # type: ignore[no-untyped-call]
    return out


def pooled(x: Tensor) -> Tensor:
    """Means, then maxima, of (B, C, H, W) over places: (B, 2C); equal maxima share the gradient."""
    if not (torch.is_grad_enabled() and x.requires_grad):
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
    out: Tensor = _Pool.apply(x)  # type: ignore[no-untyped-call]
    return out


def joint_linear(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Tensor:
    """The concatenated outputs of several linear layers, in one matrix product.

    Args:
        x: (B, F).
        weights: weights of each layer, (N_i, F).
        biases: biases of each layer, (N_i,).

    Returns:
        (B, sum of N_i).
    """
    if not torch.is_grad_enabled() or x.dtype != weights[0].dtype:  # the latter is left to autocast
        return F.linear(x, torch.cat(list(weights)), torch.cat(list(biases)))
    out: Tensor = _JointLinear.apply(x, *weights, *biases)  # type: ignore[no-untyped-call]
    return out


def rolled(x: Tensor, shift: Tensor) -> Tensor:
    """Pixels moved down and to the right by numbers on the device, across the edges to the other side.

    Args:
        x: (B, C, H, W).
        shift: whole numbers of pixels (2,).
    """
    moved: Tensor = _Roll.apply(x, shift)  # type: ignore[no-untyped-call]
    return moved


def _moved(x: Tensor, shift: Tensor) -> Tensor:
    """`rolled`, in channels_last memory format, in which a pixel is copied at once."""
    count, channels, height, width = x.shape
    rows, columns = (torch.arange(size, device=x.device) for size in (height, width))
    sources = (rows - shift[0]).remainder_(height)[:, None] * width + (columns - shift[1]).remainder_(width)
    pixels = x.permute(0, 2, 3, 1).reshape(count, height * width, channels)
    return pixels.index_select(1, sources.view(-1)).view(count, height, width, channels).permute(0, 3, 1, 2)


class _Roll(torch.autograd.Function):
    """`rolled`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(shift)
        return _moved(x, shift)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (shift,) = ctx.saved_tensors
        return _moved(gradient, -shift), None


class _JointLinear(torch.autograd.Function):
    """`joint_linear`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parts: Tensor) -> Tensor:
        half = len(parts) // 2
        weight, ctx.sizes = torch.cat(parts[:half]), [len(part) for part in parts[:half]]
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, torch.cat(parts[half:]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x = gradient @ weight
        if not any(ctx.needs_input_grad[1:]):
            return of_x, *[None] * (2 * len(ctx.sizes))
        of_weights = torch.split(gradient.t() @ x, ctx.sizes)
        return of_x, *of_weights, *torch.split(gradient.sum(0), ctx.sizes)


class _Kl(torch.autograd.Function):
    """`kl_to_unit`."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, logvar: Tensor, prior: Tensor | None) -> Tensor:
        distance = mean if prior is None else mean - prior
        excess = torch.expm1(logvar)
        ctx.save_for_backward(distance, excess)
        terms = torch.addcmul(excess, distance, distance).sub_(logvar)
        return terms.sum(tuple(range(1, mean.ndim))) * 0.5

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        distance, excess = ctx.saved_tensors
        each = gradient.view(-1, *[1] * (distance.ndim - 1))
        of_mean = distance * each
        return of_mean, excess * (each * 0.5), -of_mean if ctx.needs_input_grad[2] else None


class _Draw(torch.autograd.Function):
    """`drawn`."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        offset = torch.exp(0.5 * logvar).mul_(noise)
        ctx.save_for_backward(offset)
        return mean + offset

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (offset,) = ctx.saved_tensors
        return gradient, (gradient * offset).mul_(0.5), None


class _SquaredError(torch.autograd.Function):
    """`squared_error`."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor) -> Tensor:
        made = torch.sigmoid(logits)
        difference = made - target
        ctx.save_for_backward(made, difference)
        return difference.square().sum(tuple(range(1, made.ndim)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        made, difference = ctx.saved_tensors
        of_made = difference * (2 * gradient).view(-1, *[1] * (made.ndim - 1))
        of_logits: Tensor = torch.ops.aten.sigmoid_backward(of_made, made)
        return of_logits, -of_made if ctx.needs_input_grad[1] else None


class _Squash(torch.autograd.Function):
    """`squashed`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        share = torch.tanh(x / bound)
        ctx.save_for_backward(share)
        return bound * share

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (share,) = ctx.saved_tensors
        before: Tensor = torch.ops.aten.tanh_backward(gradient, share)
        return before, None


class _Pool(torch.autograd.Function):
    """`pooled`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        greatest = x.amax((2, 3), keepdim=True)
        ctx.save_for_backward(x, greatest)
        return torch.cat([x.mean((2, 3), keepdim=True), greatest], dim=1).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        x, greatest = ctx.saved_tensors
        channels = x.shape[1]
        of_mean, of_greatest = torch.split(gradient.view(-1, 2 * channels, 1, 1), [channels, channels], 1)
        reached = x == greatest
        shared = reached * (of_greatest / reached.sum((2, 3), keepdim=True))
        return torch.add(shared, of_mean, alpha=1 / (x.shape[2] * x.shape[3]))
