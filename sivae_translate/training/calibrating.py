"""Which training images the check of a model is calibrated on, and the calibration.

Components, neighbours and sizes are fitted to some images, and new images are ranked among others
(`sivae_translate.models.typicality`). Where there are many domains, those others are of other domains, since
new images may be, too; elsewhere they are the validation images and further training images.
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
MANY_DOMAINS = 20
"""Least number of domains of which half are left out of the fit."""
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


def choose(splits: Sequence[Split]) -> Choice:
    """Choose images, as many of each domain, always the same ones.

    Args:
        splits: the training and validation images of each domain.
    """
    domains = range(len(splits))
    if len(splits) >= MANY_DOMAINS:
        order = np.random.default_rng(0).permutation(len(splits)).tolist()
        fitted, ranked = order[: len(order) // 2], order[len(order) // 2 :]
        everything = [np.concatenate([split.train, split.validation]) for split in splits]
        return Choice(
            [(domain, everything[domain][: _each(FITTED, fitted)]) for domain in fitted],
            [(domain, everything[domain][: _each(RANKED, ranked)]) for domain in ranked],
        )
    counts = [
        min(_each(FITTED, domains), len(s.train), (len(s.train) + len(s.validation)) // 2) for s in splits
    ]
    return Choice(
        [(domain, splits[domain].train[: counts[domain]]) for domain in domains],
        [
            (
                domain,
                np.concatenate([splits[domain].validation, splits[domain].train[counts[domain] :]])[
                    : _each(RANKED, domains)
                ],
            )
            for domain in domains
        ],
    )


def calibrate(splits: Sequence[Split], read: Reader) -> NeighbourCalibration | None:
    """Calibrate the check.

    Args:
        splits: the training and validation images of each domain.
        read: reads images; it leaves out unreadable ones.

    Returns:
        None with fewer than two images to fit to or none to rank among.
    """
    chosen = choose(splits)
    training, others = (_looks(some, read) for some in (chosen.fitted, chosen.ranked))
    if len(training.bits) < 2 or not len(others.bits):
        return None
    return NeighbourCalibration.fit(training, others)


def _each(count: int, domains: Sequence[int]) -> int:
    """How many images of each domain make this many, or a few more."""
    return -(-count // len(domains))


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
