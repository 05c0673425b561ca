"""Typicality: how an image's scores compare with those of validation images, stored with the weights.

Four numbers are computed for an image: the squared error of its reconstruction, the KL of its content, the KL
of its style to the prior of the domain that fits best, and its complexity: the bits that the model needs
(from those three, with a Gaussian density for the error) minus the bits of the image as a PNG (arXiv
1909.11480). Without the last, any simple image would seem typical, since its reconstruction error is small.

Each number is expressed as the distance from its median over training images of that domain (or of all
domains, if the domain has few images), in deviations of the upper tail (`UPPER`). The largest of the four is
the image's score and gives the reason. With n of N validation images below it, the image's percentile is 100
n / (N + 1). Among N + 1 exchangeable images each is equally likely to be the least typical, so an
in-distribution image reaches the percentile 100 - a with a probability of at most a % (conformal prediction).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.tensors import to_uint8
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.utils.pictures import png_bits

REASONS = ("reconstruction", "content", "style", "complexity")
WORDS = {
    "reconstruction": "it cannot be reconstructed well",
    "content": "its content is unlike that of the training images",
    "style": "its style fits none of the domains",
    "complexity": "it is far simpler than it seems to the model",
}
PNG_LEVEL = 6
"""Compression level for the size as a PNG: three times as fast as the highest, for 1 % more bytes. At lower
levels, implementations of zlib differ by tens of per cent, so calibrations would not carry over between
machines."""
FEWEST = 16
"""Minimum number of training images for a domain to have its own median and deviation, which are unreliable
for few images."""
UPPER, DEVIATIONS = 0.99, 2.326
"""Standard deviations between the median and the 99 % quantile of a normal distribution. The unit is that of
the upper tail, since the tail of errors is far longer than a normal one and would otherwise dominate."""


@dataclass(frozen=True)
class Verdict:
    """How unusual an image is.

    Attributes:
        percentile: 0 to 100 N / (N + 1), see the module's docstring.
        reason: the most unusual number, one of `REASONS`.
        score: its distance from the median in deviations.
    """

    percentile: float
    reason: str
    score: float

    def __str__(self) -> str:
        return (
            f"percentile {self.percentile:.1f} of validation images, score {self.score:.1f}: "
            f"{WORDS[self.reason]}"
        )


@dataclass(frozen=True)
class Calibration:
    """Statistics of typical images.

    Attributes:
        medians: (D, 4), by domain and reason; one domain without labels. (D, 3) in older files, which have no
            complexity.
        deviations: deviations of the upper tail, in the same shape.
        levels: (N,) sorted scores of the validation images.
    """

    medians: np.ndarray
    deviations: np.ndarray
    levels: np.ndarray

    @property
    def highest(self) -> float:
        """The highest possible percentile, that of an image beyond all validation images."""
        return 100 * len(self.levels) / (len(self.levels) + 1)

    def highest_whole(self, most: float) -> float:
        """The highest possible whole percentile, but at most ``most``."""
        return float(min(most, math.floor(self.highest)))

    @classmethod
    def fit(
        cls, training: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor], count: int
    ) -> Calibration:
        """Fit medians and deviations to training images, and levels to validation images.

        With the same images for both, they would seem slightly more typical than new images.

        Args:
            training: result of `measure`: (M, 4) and (M,).
            validation: result of `measure`: (N, 4) and (N,).
            count: number of domains D. A domain that fits fewer than `FEWEST` of the training images uses
                the statistics of all.
        """
        values, index = training[0].cpu().double().numpy(), training[1].cpu().numpy()
        groups = [
            values[index == domain] if (index == domain).sum() >= FEWEST else values
            for domain in range(count)
        ]
        medians = np.stack([np.median(group, axis=0) for group in groups])
        spreads = (
            np.stack([np.quantile(g, UPPER, axis=0) - m for g, m in zip(groups, medians, strict=True)])
            / DEVIATIONS
        )
        floor = 1e-3 * np.abs(medians) + 1e-6  # if all images agree, as for the style KL of a plain model
        scale = cls(medians, np.maximum(spreads, floor), np.empty(0))
        return cls(scale.medians, scale.deviations, np.sort(scale.scores(*validation).max(1)))

    def scores(self, numbers: Tensor, domains: Tensor) -> np.ndarray:
        """Distances from the median in deviations, (N, 4), or (N, 3) for older files."""
        values, index = numbers.cpu().double().numpy()[:, : self.medians.shape[1]], domains.cpu().numpy()
        return np.asarray((values - self.medians[index]) / self.deviations[index])

    def verdicts(self, numbers: Tensor, domains: Tensor) -> list[Verdict]:
        """A verdict for each image, from the result of `measure`."""
        scores = self.scores(numbers, domains)
        below = np.searchsorted(self.levels, scores.max(1), side="left")
        shares = 100 * below / (len(self.levels) + 1)
        parts = zip(shares, scores.argmax(1), scores.max(1), strict=True)
        return [Verdict(float(share), REASONS[reason], float(score)) for share, reason, score in parts]

    def as_json(self) -> dict[str, Any]:
        """Nested lists of numbers."""
        return {
            name: np.round(getattr(self, name), 6).tolist() for name in ("medians", "deviations", "levels")
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `as_json`."""
        return cls(
            *(np.asarray(values[name], dtype=np.float64) for name in ("medians", "deviations", "levels"))
        )


@torch.no_grad()
def measure(model: LatentModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the four numbers of each image, (B, 4), and the domain that fits its style best, (B,).

    Args:
        model: a model in evaluation mode with fitted pixel variance.
        images: (B, C, H, W) in [0, 1].
    """
    posterior = model.encode(images)
    error = (model.decode(posterior.mean).float() - images).square().flatten(1).sum(1)
    content = posterior.content.kl()
    style, domain = closest_domain(model, posterior.style)
    code_length = (
        error / (2 * model.variance.clamp(min=1e-12)) + content + style
    )  # less what is the same for all images
    bits = torch.from_numpy(png_bits(to_uint8(images), PNG_LEVEL)).to(code_length)
    return torch.stack([error, content, style, code_length / math.log(2) - bits], 1), domain


def closest_domain(model: LatentModel, style: Gaussian) -> tuple[Tensor, Tensor]:
    """The domain whose prior fits each style best.

    Args:
        model: a model with or without domains.
        style: style posteriors with parameters (B, S).

    Returns:
        KL to that domain's prior in nats, (B,), and its index, (B,); without domains, KL to N(0, I) and 0.
    """
    if not model.domains:
        kl = style.kl()
        return kl, torch.zeros(len(kl), dtype=torch.long, device=kl.device)
    kl, domain = torch.stack([style.kl(mean) for mean in model.style_prior.means]).min(0)
    return kl, domain
