"""Which training images the check of a model is calibrated on, and the calibration.

Components, neighbours and sizes are fitted to some images, and new images are ranked among others
(`sivae_translate.models.typicality`). Images come in series that resemble each other: those of a domain or,
if its folder has sub-folders, of one of these. Where there are many series, those others are of other series,
since new images may be, too; elsewhere they are the validation images and further training images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.splits import Split
from sivae_translate.models.typicality import Look, NeighbourCalibration, look

FITTED, RANKED = 1024, 1024
"""Most images that the calibration is fitted to, and that new ones are ranked among."""
MANY = 20
"""Least number of series of which half are left out of the fit."""
BATCH = 64

Positions = list[tuple[int, np.ndarray]]
"""Domains, and positions of some of their images."""
Reader = Callable[[int, np.ndarray], Tensor]
"""Images of a domain at the given positions: (B, C, H, W)."""


@dataclass(frozen=True)
class Choice:
    """Images for a calibration.

    Attributes:
        fitted: images that it is fitted to.
        ranked: images that new ones are ranked among.
    """

    fitted: Positions
    ranked: Positions


def choose(splits: Sequence[Split], names: Sequence[Sequence[str]]) -> Choice:
    """Choose images, as many of each domain or series, always the same ones.

    Args:
        splits: the training and validation images of each domain.
        names: of all images of each domain; those below one folder are a series.
    """
    series = _series(splits, names)
    if len(series) >= MANY:
        order = np.random.default_rng(0).permutation(len(series)).tolist()
        fitted, ranked = ([series[place] for place in half] for half in np.split(order, [len(order) // 2]))
        return Choice(
            [(domain, some[: _each(FITTED, len(fitted))]) for domain, some in fitted],
            [(domain, some[: _each(RANKED, len(ranked))]) for domain, some in ranked],
        )
    chosen = Choice([], [])
    for domain, (train, validation) in enumerate((split.train, split.validation) for split in splits):
        count = min(_each(FITTED, len(splits)), len(train), (len(train) + len(validation)) // 2)
        others = np.concatenate([validation, train[count:]])
        chosen.fitted.append((domain, train[:count]))
        chosen.ranked.append((domain, others[: _each(RANKED, len(splits))]))
    return chosen


def _series(splits: Sequence[Split], names: Sequence[Sequence[str]]) -> Positions:
    """The images of each domain, or of each of its sub-folders: they may resemble each other."""
    series: dict[tuple[int, str], list[int]] = {}
    for domain, split in enumerate(splits):
        for place in np.concatenate([split.train, split.validation]).tolist():
            series.setdefault((domain, names[domain][place].rpartition("/")[0]), []).append(place)
    return [(domain, np.array(places)) for (domain, _), places in series.items()]


def calibrate(
    splits: Sequence[Split], names: Sequence[Sequence[str]], read: Reader
) -> NeighbourCalibration | None:
    """Calibrate the check.

    Args:
        splits: see `choose`.
        names: see `choose`.
        read: reads images; it leaves out unreadable ones.

    Returns:
        None with fewer than two images to fit to or none to rank among.
    """
    chosen = choose(splits, names)
    training, others = (_looks(some, read) for some in (chosen.fitted, chosen.ranked))
    if len(training.bits) < 2 or not len(others.bits):
        return None
    return NeighbourCalibration.fit(training, others)


def _each(count: int, parts: int) -> int:
    """How many images of each part make this many, or a few more."""
    return -(-count // parts)


def _looks(positions: Positions, read: Reader) -> Look:
    """What is measured of images."""
    parts = [look(images) for images in _batches(positions, read) if len(images)]
    if not parts:
        return Look(torch.empty(0, 0), torch.empty(0))
    return Look(*(torch.cat(some) for some in zip(*parts, strict=True)))


def _batches(positions: Positions, read: Reader) -> Iterator[Tensor]:
    """Images at the given positions, some at a time."""
    for domain, some in positions:
        for start in range(0, len(some), BATCH):
            yield read(domain, some[start : start + BATCH])
