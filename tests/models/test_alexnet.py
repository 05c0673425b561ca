"""AlexNet without the lpips package: the same features as inside it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sivae_translate.models.alexnet import FEATURES, shipped_alexnet
from sivae_translate.models.lpips import Lpips

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(3, 3, 64, 64), (2, 1, 32, 32), (1, 3, 45, 70)])
def test_the_features_are_those_of_lpips(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = shipped_alexnet(CPU)(images), Lpips.load().features(images)
    assert len(ours) == len(theirs) == 5
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4)
    means = torch.cat([layer.mean((2, 3)) for layer in theirs], 1)
    assert means.shape[1] == FEATURES
    torch.testing.assert_close(shipped_alexnet(CPU).channel_means(images), means, rtol=1e-4, atol=1e-4)


def test_small_images_are_enlarged_and_colours_out_of_range_are_clamped() -> None:
    images = 3 * torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)) - 1
    large = functional.interpolate(images.clamp(0, 1), (32, 32), mode="bilinear")
    network = shipped_alexnet(CPU)
    torch.testing.assert_close(network.channel_means(images), network.channel_means(large))


def test_lower_precision_around_it_changes_nothing_and_no_image_has_no_features() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    network = shipped_alexnet(CPU)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = network.channel_means(images)
    assert torch.equal(lowered, network.channel_means(images))
    assert network.channel_means(images[:0]).shape == (0, FEATURES)
