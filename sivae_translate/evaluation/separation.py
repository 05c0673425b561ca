"""How well a score separates two kinds of images: AUROC, AUPR, FPR at 95 % TPR."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from sivae_translate.evaluation.intervals import Interval

DETECTED = 0.95
"""True positive rate at which the false positive rate is given."""


@dataclass(frozen=True)
class Separation:
    """How well a score separates foreign images from known ones, with 95 % bootstrap intervals.

    Attributes:
        auroc: probability that a foreign image scores higher than a known one; ties count half.
        aupr: average precision of detecting foreign images.
        fpr95: fraction of known images at or above the score that 95 % of the foreign ones reach.
    """

    auroc: Interval
    aupr: Interval
    fpr95: Interval


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Area under the ROC curve: P(outside > inside) + P(outside = inside) / 2.

    Args:
        inside: scores of known images, (N,).
        outside: scores of foreign images, (M,).
    """
    ranks = rankdata(np.concatenate([inside, outside]))[len(inside) :]
    return float((ranks.sum() - len(outside) * (len(outside) + 1) / 2) / (len(inside) * len(outside)))


def aupr(inside: np.ndarray, outside: np.ndarray) -> float:
    """Average precision of detecting foreign images: precision summed over the steps in recall.

    Equal scores form one step.
    """
    scores = np.concatenate([outside, inside])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(order < len(outside))
    last = np.append(np.diff(scores[order]) != 0, True)
    precision, recall = (hits / np.arange(1, len(scores) + 1))[last], (hits / len(outside))[last]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def fpr_at_tpr(inside: np.ndarray, outside: np.ndarray, detected: float = DETECTED) -> float:
    """Fraction of known images at or above the largest score that ``detected`` of the foreign ones reach."""
    threshold = np.sort(outside)[::-1][math.ceil(detected * len(outside)) - 1]
    return float(np.mean(inside >= threshold))


def separation(inside: np.ndarray, outside: np.ndarray, draws: int = 200, seed: int = 0) -> Separation:
    """AUROC, AUPR and FPR at 95 % TPR with bootstrap intervals over both sets.

    The copies of an image in a resample have equal scores and so form one step of the average precision,
    which raises it: by a tenth where a score ranks the wrong way. The resampled precisions are therefore
    shifted so that their median is the sample's own precision.
    """
    rng = np.random.default_rng(seed)
    measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "auroc": auroc,
        "aupr": aupr,
        "fpr95": fpr_at_tpr,
    }
    drawn = [(rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(draws)]
    intervals = {}
    for name, measure in measures.items():
        whole, values = measure(inside, outside), np.array([measure(a, b) for a, b in drawn])
        if measure is aupr:
            values = np.clip(values + whole - np.median(values), 0, 1)
        low, high = np.quantile(values, [0.025, 0.975])
        intervals[name] = Interval(whole, float(low), float(high))
    return Separation(**intervals)
