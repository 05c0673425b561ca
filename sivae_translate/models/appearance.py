"""KID (arXiv 1801.01401) in the features of the shipped AlexNet.

It is fast and needs no download, so training chooses checkpoints by it and every evaluation reports it. Its
values are not comparable with KID in Inception's features (`evaluation.fidelity`).
"""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips

CHANNELS = (64, 192, 384, 256, 256)
"""Channels of AlexNet's layers."""
BATCH = 32


def appearance(images: Tensor, lpips: Lpips) -> Tensor:
    """Mean and deviation over each image of AlexNet's channels.

    Args:
        images: (N, 1 or 3, H, W) in [0, 1]; images smaller than 32 px are enlarged.
        lpips: LPIPS with AlexNet.

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
    """Root mean squares of `appearance` by layer, (1, 2304); divided by them, all layers count equally."""
    sizes = [size for size in CHANNELS for _ in range(2)]
    blocks = features.split_with_sizes(sizes, 1)
    return torch.cat(
        [block.square().mean().sqrt().clamp(min=1e-6).expand(1, block.shape[1]) for block in blocks], 1
    )


class FeatureSet:
    """Features of a set of images, whose kernel is computed once for all comparisons.

    Args:
        features: (N, F).
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features.double()

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def kernel(self) -> Tensor:
        """KID's kernel between all images, (N, N)."""
        return cubic_kernel(self.features, self.features)

    def mean_kernel(self, counts: Tensor) -> Tensor:
        """Mean kernel between two different images of each resample, (R,).

        Args:
            counts: how often each image is in each resample, (R, N). A resample of one image is compared
                with itself.
        """
        squares = counts.square()
        same, pairs = squares @ self.kernel.diagonal(), counts.sum(1).square() - squares.sum(1)
        total = ((counts @ self.kernel) * counts).sum(1)
        return torch.where(pairs > 0, (total - same) / pairs.clamp(min=1), same / squares.sum(1))


def kernel_distance(fakes: FeatureSet, real: FeatureSet) -> float:
    """Squared maximum mean discrepancy with KID's cubic kernel.

    It is unbiased if both sets have two or more images.
    """
    counts = [some.features.new_ones(1, len(some)) for some in (fakes, real)]
    return float(resampled_distances(fakes, real, *counts))


def resampled_distances(
    fakes: FeatureSet, real: FeatureSet, fake_counts: Tensor, real_counts: Tensor
) -> Tensor:
    """`kernel_distance` of resamples of two sets, (R,).

    Args:
        fakes: features of N images.
        real: features of M images.
        fake_counts: how often each fake is in each resample, (R, N).
        real_counts: how often each real image is in each resample, (R, M).
    """
    across = ((fake_counts @ cubic_kernel(fakes.features, real.features)) * real_counts).sum(1)
    across = across / (fake_counts.sum(1) * real_counts.sum(1))
    return fakes.mean_kernel(fake_counts) + real.mean_kernel(real_counts) - 2 * across


def cubic_kernel(a: Tensor, b: Tensor) -> Tensor:
    """KID's kernel of features (N, F) and (M, F): (N, M)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def large_enough(images: Tensor) -> Tensor:
    """Enlarge images (N, C, H, W) to the size that LPIPS needs."""
    short = images.shape[-1] < SMALLEST_SIDE
    return F.interpolate(images, (SMALLEST_SIDE, SMALLEST_SIDE), mode="bilinear") if short else images
