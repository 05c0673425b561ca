"""What translations should be like as a set, whatever each of them shows: real test images of their domain.

Compared are how they look (KID), their texture, and how much two of them differ.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import Interval, bootstrap, bootstrap_kid
from sivae_translate.evaluation.texture import Texture, band_powers, compare_textures
from sivae_translate.models.appearance import appearance, appearance_scale
from sivae_translate.models.lpips import Lpips

COMPARED = 500
"""Images at most whose looks are compared, spread evenly: the kernels of more take long, and say little
more."""
PAIRS = 128
"""Pairs of real images at most that the real diversity is the mean of."""


class RealImages:
    """Real images of a domain, measured once for all translations into it.

    Args:
        images: (N, C, H, W) in [0, 1].
        lpips: with AlexNet, whose features say how images look.
        seed: of the pairs and of the bootstrap.

    Attributes:
        looks: `looks_of` these images.
        diversity: LPIPS between two of the images, each in two random pairs; None where there is but one.
    """

    def __init__(self, images: Tensor, lpips: Lpips, seed: int = 0) -> None:
        self._lpips, self._seed = lpips, seed
        self.looks = looks_of(images, lpips)
        self._scale = appearance_scale(self.looks)
        self._powers = band_powers(images)
        self.diversity = self._diversity(images)

    def kid(self, looks: Tensor) -> Interval:
        """KID of images, of which `looks_of` is given, to the real ones in AlexNet's features."""
        return bootstrap_kid(looks / self._scale, self.looks / self._scale, seed=self._seed)

    def texture(self, images: Tensor) -> Texture:
        """Power of images (N, C, H, W) over that of the real ones."""
        return compare_textures(band_powers(images), self._powers)

    def _diversity(self, images: Tensor) -> Interval | None:
        if len(images) < 2:
            return None
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self._seed))
        first, second = images[order][:PAIRS], images[order.roll(1)][:PAIRS]
        return bootstrap(self._lpips.distances(first, second), seed=self._seed)


def looks_of(images: Tensor, lpips: Lpips) -> Tensor:
    """`appearance` of at most `COMPARED` of some images (N, C, H, W), spread evenly."""
    count = len(images)
    chosen = torch.linspace(0, count - 1, min(count, COMPARED)).round().long()
    return appearance(images[chosen], lpips)
