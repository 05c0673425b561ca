"""The split of a domain's training images into training and validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivae_translate.data.domains import DomainData, ImageSource

VALIDATION_IMAGES, VALIDATION_EACH = 256, 64
"""Validation takes at most 64 images of a domain, or 256 divided by the number of domains if that is more."""
FEWEST = 10
"""Domains with at least this many images give at least one to validation, unless its share is 0."""


SHOWN = 6
"""How many domains `summary` lists, or one more if only one is left."""


@dataclass(frozen=True)
class Split:
    """Positions of a domain's images, in a pseudo-random order, since files are often sorted by content.

    Attributes:
        train: images for training.
        validation: images for validation and calibration only.
    """

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class NamedSplit:
    """A split by image names, which do not change when images are added or removed.

    Attributes:
        train: images for training, in the order of `Split.train`.
        validation: images for validation and calibration only.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]

    @classmethod
    def of(cls, split: Split, names: Sequence[str]) -> NamedSplit:
        """Build it from a split and the names of all images of the domain."""
        return cls(tuple(names[i] for i in split.train), tuple(names[i] for i in split.validation))

    def find(self, names: Sequence[str]) -> Split:
        """Find the images among the current names: missing ones are dropped, new ones are trained on."""
        position = {name: index for index, name in enumerate(names)}
        known = {*self.train, *self.validation}
        new = [index for index, name in enumerate(names) if name not in known]
        train, validation = (
            [position[name] for name in some if name in position] for some in (self.train, self.validation)
        )
        return Split(np.array(train + new, np.int64), np.array(validation, np.int64))


def split_training(sources: Sequence[ImageSource], share: float) -> tuple[Split, ...]:
    """Split each domain's images into training and validation; the same for every seed.

    Args:
        sources: the images of each domain.
        share: fraction for validation, 0 to 1. Unless it is 0, domains with `FEWEST` images or more give at
            least one.
    """
    most = max(VALIDATION_EACH, math.ceil(VALIDATION_IMAGES / len(sources)))
    splits = []
    for index, source in enumerate(sources):
        count = min(most, int(len(source) * share))
        if share and len(source) >= FEWEST:
            count = max(1, count)
        order = np.random.default_rng((VALIDATION_IMAGES, index)).permutation(len(source))
        splits.append(Split(order[count:], order[:count]))
    return tuple(splits)


def summary(data: DomainData, splits: Sequence[Split]) -> str:
    """One line on the images of each domain, with the data set's notes."""
    tested = dict(zip(data.test_domains, map(len, data.test), strict=True))
    counts = {
        domain: (len(split.train), len(split.validation), tested.pop(domain, 0))
        for domain, split in zip(data.domains, splits, strict=True)
    }
    parts = [f"{domain or 'images'}: {_counted(*numbers)}" for domain, numbers in counts.items()]
    if len(parts) > SHOWN + 1:
        totals = [sum(column) for column in zip(*counts.values(), strict=True)]
        parts[SHOWN:] = [f"and {len(parts) - SHOWN} more domains", f"all {len(parts)}: {_counted(*totals)}"]
    if tested:
        parts.append(f"{len(tested)} new domains: {sum(tested.values())} test")
    return "; ".join([*parts, *data.notes])


def _counted(train: int, validation: int, test: int) -> str:
    return f"{train} training, {validation} validation, {test} test"
