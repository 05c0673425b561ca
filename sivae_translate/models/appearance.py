"""How much images look like others: KID (arXiv 1801.01401) in the features of the shipped AlexNet.

It needs no download and little time, so training chooses checkpoints by it and every evaluation reports it.
Its numbers are not those of KID in Inception's features, which `evaluation.fidelity` has.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips

CHANNELS = (64, 192, 384, 256, 256)
"""Of AlexNet's layers."""
BATCH = 32


def appearance(images: Tensor, lpips: Lpips) -> Tensor:
    """Mean and deviation over each image of AlexNet's channels.

    Args:
        images: (N, 1 or 3, H, W) in [0, 1]; those smaller than 32 px are enlarged.
        lpips: with AlexNet.

    Returns:
        (N, 2304) on the device of LPIPS.
    """
    device = next(lpips.parameters()).device
    return torch.cat([_appearance(part.to(device), lpips) for part in torch.split(images, BATCH)])


def _appearance(images: Tensor, lpips: Lpips) -> Tensor:
    layers = lpips.features(large_enough(images.float().clamp(0, 1)))
    parts: list[Tensor] = []
    for layer in layers:
        variance, mean = torch.var_mean(layer, (2, 3), correction=0)
        parts += [mean, variance.sqrt()]
    return torch.cat(parts, 1)


def appearance_scale(features: Tensor) -> Tensor:
    """Root mean squares of `appearance` over images and channels, (1, 2304): divided by them, all layers
    count alike.
    """
    sizes = [size for size in CHANNELS for _ in range(2)]
    blocks = features.split_with_sizes(sizes, 1)
    return torch.cat(
        [block.square().mean().sqrt().clamp(min=1e-6).expand(1, block.shape[1]) for block in blocks], 1
    )


def kernel_distance(fakes: Tensor, real: Tensor) -> float:
    """Squared maximum mean discrepancy of features (N, F) and (M, F) with KID's cubic kernel.

    It is unbiased where there are two or more of each; one image is compared with itself.
    """
    within = [_mean_kernel(features) for features in (fakes.double(), real.double())]
    return float(sum(within) - 2 * cubic_kernel(fakes.double(), real.double()).mean())


def cubic_kernel(a: Tensor, b: Tensor) -> Tensor:
    """KID's kernel of features (N, F) and (M, F): (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def large_enough(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as large as LPIPS needs them."""
    short = images.shape[-1] < SMALLEST_SIDE
    return F.interpolate(images, (SMALLEST_SIDE, SMALLEST_SIDE), mode="bilinear") if short else images


def _mean_kernel(features: Tensor) -> Tensor:
    """Mean kernel of two different images."""
    values, count = cubic_kernel(features, features), len(features)
    return (values.sum() - values.trace()) / (count * (count - 1)) if count > 1 else values.mean()
