"""Typicality: how an image compares with training images, stored with the weights.

Two numbers are computed for an image: its distance from training images in the features of AlexNet
(`sivae_translate.models.neighbours`) and its size as a PNG. Each is expressed as the distance from its
median, in deviations of its tails (`UPPER`); the size counts on either side, since an image may be far
simpler or far richer than the training images. The larger of the two is the image's score and gives the
reason. Neither depends on the model, so images that it was trained on serve as well as others.

The score is ranked among those of other images, which have no part in components, neighbours or sizes. With n
of N of them below it, the image's percentile is 100 n / (N + 1). Among N + 1 exchangeable images each is
equally likely to be the least typical, so an in-distribution image reaches the percentile 100 - a with a
probability of at most a % (conformal prediction). Images of one domain or series resemble each
other. If new images come from new ones, as in Cars3D, they are exchangeable with images of domains that have
no part in components and neighbours (`sivae_translate.training.calibrating`).

Files of earlier versions have a calibration of another kind (`sivae_translate.models.code_typicality`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.tensors import to_uint8
from sivae_translate.models.alexnet import FEATURES, shipped_alexnet
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.neighbours import Neighbours
from sivae_translate.utils.pictures import png_bits

TYPICALITY = "typicality."
"""Prefix of a calibration's tensors in model files."""
WORDS = {
    "appearance": "it looks unlike the training images",
    "simplicity": "it is far simpler than the training images",
    "detail": "it is far richer in detail than the training images",
    "reconstruction": "it cannot be reconstructed well",
    "content": "its content is unlike that of the training images",
    "style": "its style fits none of the domains",
    "complexity": "it is far simpler than it seems to the model",
}
"""What each reason means."""
PNG_LEVEL = 6
"""Compression level for the size as a PNG: three times as fast as the highest, for 1 % more bytes. At lower
levels, implementations of zlib differ by tens of per cent, so calibrations would not carry over between
machines."""
UPPER, DEVIATIONS = 0.99, 2.326
"""Standard deviations between the median and the 99 % quantile of a normal distribution. The unit is that of
the tail, since the tail of errors is far longer than a normal one and would otherwise dominate."""


@dataclass(frozen=True)
class Verdict:
    """How unusual an image is.

    Attributes:
        percentile: 0 to 100 N / (N + 1), see the module's docstring.
        reason: the most unusual number, a key of `WORDS`.
        score: its distance from the median in deviations.
    """

    percentile: float
    reason: str
    score: float

    def __str__(self) -> str:
        return (
            f"percentile {self.percentile:.1f} of images like the training data, score {self.score:.1f}: "
            f"{WORDS[self.reason]}"
        )


class Calibration(ABC):
    """Statistics of typical images.

    Attributes:
        levels: (N,) sorted scores of the images that new ones are ranked among.
    """

    levels: np.ndarray

    @property
    def highest(self) -> float:
        """The highest possible percentile, that of an image beyond all images it is ranked among."""
        return 100 * len(self.levels) / (len(self.levels) + 1)

    def highest_whole(self, most: float) -> float:
        """The highest possible whole percentile, but at most ``most``."""
        return float(min(most, math.floor(self.highest)))

    def ranked(self, scores: np.ndarray, reasons: Sequence[str]) -> list[Verdict]:
        """Verdicts for scores (B,) and their reasons."""
        below = np.searchsorted(self.levels, scores, side="left")
        shares = 100 * below / (len(self.levels) + 1)
        return [Verdict(float(s), r, float(v)) for s, r, v in zip(shares, reasons, scores, strict=True)]

    @abstractmethod
    def examine(self, model: LatentModel, images: Tensor) -> list[Verdict]:
        """A verdict for each image, (B, C, H, W) in [0, 1], on the device of the model."""

    @abstractmethod
    def as_json(self) -> dict[str, Any] | None:
        """What a model file has about it in its metadata: nested lists of numbers, or nothing."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What a model file has about it among its tensors."""


class Look(NamedTuple):
    """What is measured of images.

    Attributes:
        features: means of AlexNet's channels, (B, F), float32.
        bits: size of each as a PNG, (B,), float64.
    """

    features: Tensor
    bits: Tensor


@torch.no_grad()
def look(images: Tensor) -> Look:
    """Measure images, (B, C, H, W) in [0, 1], on their device; the results are on the CPU."""
    features = shipped_alexnet(images.device).channel_means(images).cpu()
    return Look(features, torch.from_numpy(png_bits(to_uint8(images), PNG_LEVEL)))


@dataclass(frozen=True)
class NeighbourCalibration(Calibration):
    """Typicality by neighbours and size.

    Attributes:
        neighbours: some training images.
        units: (2, 3): median, deviation above it and deviation below it, of the distance and of the size.
        levels: see `Calibration`.
    """

    neighbours: Neighbours
    units: np.ndarray
    levels: np.ndarray

    @classmethod
    def fit(cls, training: Look, others: Look) -> NeighbourCalibration:
        """Fit components, neighbours and sizes to training images, and the levels to others.

        Args:
            training: of two or more images.
            others: of one or more images, none of them among ``training``. Units of distances are theirs,
                too: training images are nearer to each other than new ones are to them.
        """
        neighbours = Neighbours.fit(training.features, others.features)
        values = (neighbours.distances(others.features).double().numpy(), training.bits.numpy())
        scaled = cls(neighbours, np.stack([_units(some) for some in values]), np.empty(0))
        return cls(neighbours, scaled.units, np.sort(scaled.scores(others).max(1)))

    def scores(self, looks: Look) -> np.ndarray:
        """How far the distance is above its median, and the size above and below, in deviations: (B, 3)."""
        distance = self.neighbours.distances(looks.features).double().numpy()
        (near, far, _), (middle, richer, simpler) = self.units
        bits = looks.bits.numpy() - middle
        return np.stack([(distance - near) / far, -bits / simpler, bits / richer], 1)

    def verdicts(self, looks: Look) -> list[Verdict]:
        """A verdict for each image."""
        scores = self.scores(looks)
        names = ("appearance", "simplicity", "detail")
        return self.ranked(scores.max(1), [names[index] for index in scores.argmax(1)])

    def examine(self, model: LatentModel, images: Tensor) -> list[Verdict]:
        """See `Calibration`; the model has no part in it."""
        del model
        return self.verdicts(look(images))

    def as_json(self) -> None:
        """See `Calibration`: all is in `tensors`."""

    def tensors(self) -> dict[str, Tensor]:
        """See `Calibration`."""
        numbers = {"units": torch.from_numpy(self.units), "levels": torch.from_numpy(self.levels)}
        return self.neighbours.tensors() | numbers

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> NeighbourCalibration:
        """The inverse of `tensors`.

        Raises:
            ValueError: a tensor is missing, the shapes do not fit, or a number is out of range.
        """
        others = {name: some for name, some in tensors.items() if name not in ("units", "levels")}
        neighbours = Neighbours.of(others, FEATURES)
        units, levels = (tensors.get(name, torch.empty(0)).double().numpy() for name in ("units", "levels"))
        if units.shape != (2, 3) or levels.ndim != 1 or not len(levels):
            raise ValueError("its tensors do not fit each other")
        if not (np.isfinite(units).all() and np.isfinite(levels).all() and (units[:, 1:] > 0).all()):
            raise ValueError("it has values that are not finite or not positive")
        if (np.diff(levels) < 0).any():
            raise ValueError("its levels are not sorted")
        return cls(neighbours, units, levels)


def _units(values: np.ndarray) -> tuple[float, float, float]:
    """Median of values (N,), and the deviations of the tails above and below it."""
    low, median, high = np.quantile(values, (1 - UPPER, 0.5, UPPER))
    floor = 1e-3 * abs(median) + 1e-6  # if all images agree
    return median, max((high - median) / DEVIATIONS, floor), max((median - low) / DEVIATIONS, floor)
