"""Comparing translations, as a set, with real test images of their domain.

The measures are KID, texture, and how much two images differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import Interval, bootstrap, bootstrap_kid
from sivae_translate.evaluation.texture import Texture, band_powers, compare_textures
from sivae_translate.models.appearance import FeatureSet, appearance, appearance_scale
from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.selection import spread

COMPARED = 500
"""Most images to compute KID of, evenly spread: more take long and hardly change it."""
PAIRS = 128
"""Most pairs of real images to compute the real diversity of."""


class RealImages:
    """Real images of a domain, measured once for all translations into it.

    Args:
        images: (N, C, H, W) in [0, 1].
        lpips: LPIPS with AlexNet, whose features KID is computed in.
        seed: seed of the pairs and of the bootstrap.

    Attributes:
        looks: `looks_of` these images.
        diversity: LPIPS between two of the images, each in two random pairs; None for a single image.
    """

    def __init__(self, images: Tensor, lpips: Lpips, seed: int = 0) -> None:
        self._lpips, self._seed = lpips, seed
        self.looks = looks_of(images, lpips)
        self._scale = appearance_scale(self.looks)
        self._features = FeatureSet((self.looks / self._scale).cpu())
        self._powers = band_powers(images)
        self.diversity = self._diversity(images)

    def kid(self, looks: Tensor) -> Interval:
        """KID between images, given by their `looks_of`, and the real ones."""
        fakes = FeatureSet((looks / self._scale).cpu())
        return bootstrap_kid(fakes, self._features, seed=self._seed)

    def texture(self, images: Tensor) -> Texture:
        """Power of images (N, C, H, W) relative to the real ones."""
        return compare_textures(band_powers(images), self._powers)

    def _diversity(self, images: Tensor) -> Interval | None:
        if len(images) < 2:
            return None
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self._seed))
        first, second = images[order][:PAIRS], images[order.roll(1)][:PAIRS]
        return bootstrap(self._lpips.distances(first, second), seed=self._seed)


def looks_of(images: Tensor, lpips: Lpips) -> Tensor:
    """`appearance` of at most `COMPARED` evenly spread images of (N, C, H, W)."""
    return appearance(images[spread(len(images), COMPARED)], lpips)
