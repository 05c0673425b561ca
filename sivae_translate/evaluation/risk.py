"""Whether images that the check calls unusual are translated worse: the risk-coverage curve.

Images are kept in the order of how typical they are. The risk at a coverage is the mean error of the
translations of that share of them (selective prediction, arXiv 1705.08500). A score that says nothing about
the error gives the same risk at every coverage; the error itself, as a score, gives the lowest risk possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import Interval
from sivae_translate.inference.translator import Translator

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
KEPT = 0.8
"""Coverage at which the change of the risk is reported."""
RESAMPLES = 300
BATCH = 64


class Translated(Protocol):
    """A translation, as in `sivae_translate.evaluation.results.Case`."""

    @property
    def lpips(self) -> float:
        """See there."""

    @property
    def source(self) -> Tensor:
        """See there."""

    @property
    def truth(self) -> Tensor | None:
        """See there."""

    @property
    def content(self) -> str:
        """See there."""


@dataclass(frozen=True)
class RiskCoverage:
    """Mean LPIPS to the truth of the most typical images.

    Attributes:
        coverages: shares of the images that are kept.
        risks: mean LPIPS of their translations.
        lowest: the lowest mean that any choice of as many images has.
        change: risk at the coverage `KEPT`, relative to that of all images, less 1, with a 95 % bootstrap
            interval over contents; 0 if the score says nothing.
    """

    coverages: tuple[float, ...]
    risks: tuple[float, ...]
    lowest: tuple[float, ...]
    change: Interval

    def __str__(self) -> str:
        place = self.coverages.index(KEPT)
        best = self.lowest[place] / self.lowest[0] - 1
        return (
            f"LPIPS of the most typical {KEPT:.0%} is {self.change.mean:+.1%} ({self.change.low:+.1%} to "
            f"{self.change.high:+.1%}) of all; of the best {KEPT:.0%} {best:+.1%}"
        )


def risks_at(errors: np.ndarray, scores: np.ndarray, coverages: Sequence[float] = COVERAGES) -> np.ndarray:
    """Mean error of the share of images with the lowest scores, at each coverage: (K,).

    Args:
        errors: (N,), one or more.
        scores: (N,); larger is more unusual. Of equal scores, which images are kept is left open: they count
            by their mean error.
        coverages: shares above 0 to at most 1; the number of images is rounded, and at least 1.
    """
    order = np.argsort(scores, kind="stable")
    _, index, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    means = np.bincount(index, errors[order]) / counts
    running = np.cumsum(means[index])
    kept = np.maximum(1, np.round(np.asarray(coverages) * len(errors)).astype(int))
    return np.asarray(running[kept - 1] / kept)


def risk_coverage(
    errors: np.ndarray, scores: np.ndarray, groups: Sequence[str], seed: int = 0
) -> RiskCoverage:
    """The curve of translations with these errors, (N,), of sources with these scores, (N,).

    Args:
        errors: LPIPS to the truth.
        scores: larger is more unusual.
        groups: N names of contents, which are resampled as a whole.
        seed: seed of the bootstrap.
    """

    def change(some: np.ndarray) -> float:
        whole, kept = risks_at(errors[some], scores[some], (1.0, KEPT))
        return float(kept / whole - 1) if whole else 0.0

    _, index = np.unique(np.asarray(groups), return_inverse=True)
    members = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
    rng = np.random.default_rng(seed)
    draws = [rng.integers(len(members), size=len(members)) for _ in range(RESAMPLES)]
    drawn = [change(np.concatenate([members[place] for place in draw])) for draw in draws]
    low, high = np.quantile(drawn, [0.025, 0.975])
    interval = Interval(change(np.arange(len(errors))), float(low), float(high))
    risks, lowest = (tuple(risks_at(errors, by).tolist()) for by in (scores, errors))
    return RiskCoverage(COVERAGES, risks, lowest, interval)


def measure_risk(
    translator: Translator | None, cases: Sequence[Translated], seed: int
) -> RiskCoverage | None:
    """The curve of translations whose truth is known.

    Args:
        translator: the model, whose check scores the sources.
        cases: its translations.
        seed: seed of the bootstrap.

    Returns:
        None for a baseline, for a model without a calibration, and without truths.
    """
    cases = [case for case in cases if case.truth is not None]
    if translator is None or translator.calibration is None or not cases:
        return None
    keys = [case.source.cpu().numpy().tobytes() for case in cases]
    sources = dict(zip(keys, (case.source for case in cases), strict=True))
    images = torch.split(torch.stack(list(sources.values())), BATCH)
    verdicts = [verdict for part in images for verdict in translator.engine.typicality(part)]
    scores = dict(zip(sources, (verdict.score for verdict in verdicts), strict=True))
    errors = np.array([case.lpips for case in cases])
    return risk_coverage(errors, np.array([scores[key] for key in keys]), [c.content for c in cases], seed)
