"""Which of a domain's images are trained on, and which are for validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sivae_translate.data.domains import DomainData, ImageSource

VALIDATION_IMAGES, VALIDATION_EACH = 256, 64
"""Validation takes no more images of a domain than the second, or than its part of the first where that is
more."""
FEWEST = 10
"""Images of a domain from which on validation takes at least one, where it takes any."""


SHOWN = 6
"""Domains that `summary` describes, unless one more is all that is left."""


@dataclass(frozen=True)
class Split:
    """A domain's images by their positions, in a pseudo-random order: files lie sorted by what they show.

    Attributes:
        train: those that are trained on.
        validation: those that are for validation and calibration alone.
    """

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class NamedSplit:
    """The same by the images' names, which stay when other images come or go.

    Attributes:
        train: those that are trained on, in the order of `Split.train`.
        validation: those that are for validation and calibration alone.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]

    @classmethod
    def of(cls, split: Split, names: Sequence[str]) -> NamedSplit:
        """The names of a split's images, given those of all images of the domain."""
        return cls(tuple(names[i] for i in split.train), tuple(names[i] for i in split.validation))

    def find(self, names: Sequence[str]) -> Split:
        """Where a domain's images are now, given all their names: those that are gone are left out, and new
        ones are trained on.
        """
        position = {name: index for index, name in enumerate(names)}
        known = {*self.train, *self.validation}
        new = [index for index, name in enumerate(names) if name not in known]
        train, validation = (
            [position[name] for name in some if name in position] for some in (self.train, self.validation)
        )
        return Split(np.array(train + new, np.int64), np.array(validation, np.int64))


def split_training(sources: Sequence[ImageSource], share: float) -> tuple[Split, ...]:
    """The training and the validation images of each domain; the same for every seed.

    Args:
        sources: one a domain.
        share: for validation, 0 to 1. Unless it is 0, a domain of `FEWEST` images or more gives at least one.
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
    """What a run trains on and measures, in one line: the images of each domain, and the set's notes."""
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
