"""KID in AlexNet's features, against its formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sivae_translate.models.appearance import FeatureSet, appearance, appearance_scale, kernel_distance
from sivae_translate.models.lpips import Lpips


def test_kernel_distance_is_the_unbiased_estimate_written_out() -> None:
    rng = np.random.default_rng(0)
    fakes, real = rng.normal(size=(5, 3)), rng.normal(0.5, 1, (4, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within = [
        np.mean([kernel(some[i], some[j]) for i in range(len(some)) for j in range(len(some)) if i != j])
        for some in (fakes, real)
    ]
    between = np.mean([kernel(a, b) for a in fakes for b in real])
    expected = within[0] + within[1] - 2 * between
    assert kernel_distance(*(FeatureSet(torch.from_numpy(some)) for some in (fakes, real))) == pytest.approx(
        expected
    )


def test_kernel_distance_is_near_zero_for_one_distribution_and_grows_with_the_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, c = (FeatureSet(torch.randn(200, 6, generator=generator) + shift) for shift in (0, 0, 1))
    assert abs(kernel_distance(a, b)) < 0.05
    assert kernel_distance(a, c) > 0.5


def test_appearance_holds_mean_and_deviation_of_every_channel_layer_by_layer() -> None:
    lpips, generator = Lpips.load(), torch.Generator().manual_seed(0)
    images = torch.rand(40, 1, 48, 48, generator=generator)
    features = appearance(images, lpips)
    layers = [layer.numpy() for layer in lpips.features(images)]
    expected = np.concatenate(
        [part for layer in layers for part in (layer.mean((2, 3)), layer.std((2, 3)))], axis=1
    )
    np.testing.assert_allclose(features, expected, atol=1e-4)
    scaled = features / appearance_scale(features)
    parts = scaled.split_with_sizes([size for size in (64, 192, 384, 256, 256) for _ in range(2)], 1)
    assert [float(part.square().mean()) for part in parts] == pytest.approx([1] * 10, rel=1e-4)


def test_images_below_the_smallest_side_are_enlarged() -> None:
    assert appearance(torch.rand(2, 1, 28, 28), Lpips.load()).shape == (2, 2304)
