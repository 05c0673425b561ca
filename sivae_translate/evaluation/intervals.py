"""Means and gains with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from sivae_translate.models.appearance import FeatureSet, kernel_distance, resampled_distances
from sivae_translate.utils.errors import InputError

GATHERED = 2_000_000
"""How many numbers the bootstrap holds in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        mean: the statistic (usually the mean) of the values themselves.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    mean: float
    low: float
    high: float


def gain(value: Tensor, copy: Tensor) -> float:
    """Gain over copying the source, 1 - mean(value) / mean(copy): 0 is doing nothing, 1 is perfect.

    Args:
        value: distances of translations to the truth, (N,).
        copy: distances of the unchanged sources to the truth, (N,).

    Raises:
        InputError: the shapes differ or are not (N,), N is 0, or copying has no error, so the gain is
            undefined.
    """
    if value.ndim != 1 or value.shape != copy.shape or not len(value):
        what = (
            f"a gain needs two equally long lists of distances, got shapes {tuple(value.shape)} "
            f"and {tuple(copy.shape)}"
        )
        raise InputError(
            what, remedy="pass one distance (N,) for each translation and one for each copied source"
        )
    if not copy.any():
        raise InputError(
            "the gain over copying is undefined: every source equals its truth",
            remedy="translate between domains",
        )
    return float(1 - value.double().mean() / copy.double().mean())


def _resample(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] | None,
    *,
    resamples: int,
    level: float,
    seed: int,
    groups: Tensor | None,
    of_means: Callable[[Tensor], Tensor] = lambda means: means[:, 0],
) -> Interval:
    """Percentile bootstrap of a statistic of ``values`` (N, K); groups are drawn as a whole.

    Without a ``statistic``, ``of_means`` of the column means (R, K) is computed for all resamples at once.
    """
    _check_bootstrap(values, resamples, level, groups)
    values = values.detach().double().cpu()
    ids = torch.arange(len(values)) if groups is None else torch.unique(groups.cpu(), return_inverse=True)[1]
    clusters = int(ids.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(clusters, (resamples, clusters), generator=generator)
    if statistic is None:
        whole = float(of_means(values.mean(0, keepdim=True)))
        results = of_means(_means_of_draws(values, ids, draws))
    else:
        repeats = (row.bincount(minlength=clusters)[ids] for row in draws)
        whole = float(statistic(values[:, 0]))
        results = torch.stack([statistic(values[:, 0].repeat_interleave(count)) for count in repeats])
    tail = (1 - level) / 2
    low, high = results.quantile(torch.tensor([tail, 1 - tail], dtype=results.dtype)).tolist()
    return Interval(whole, low, high)


def _check_bootstrap(values: Tensor, resamples: int, level: float, groups: Tensor | None) -> None:
    count = len(values)
    if groups is not None and groups.shape != (count,):
        raise InputError(
            f"{count} values came with groups of shape {tuple(groups.shape)}",
            remedy="pass one group ID for each value",
        )
    if not count or resamples < 1 or not 0 < level < 1:
        what = f"cannot bootstrap {count} values with {resamples} resamples at level {level}"
        raise InputError(what, remedy="pass at least one value and one resample, and a level between 0 and 1")
    if not values.isfinite().all():
        raise InputError(
            "cannot bootstrap values that are infinite or NaN", remedy="exclude them and report how many"
        )


def _means_of_draws(values: Tensor, ids: Tensor, draws: Tensor) -> Tensor:
    """Means (R, K) of values (N, K), over the groups that each resample has drawn (R, groups)."""
    clusters = draws.shape[1]
    sums = torch.zeros(clusters, values.shape[1], dtype=values.dtype).index_add_(0, ids, values)
    counts = ids.bincount(minlength=clusters).double()
    parts = torch.split(draws, max(1, GATHERED // clusters))
    return torch.cat([sums[part].sum(1) / counts[part].sum(1, keepdim=True) for part in parts])


def proportion(hits: int, count: int) -> Interval:
    """A proportion with Wilson's 95 % interval (1927)."""
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return Interval(hits / count, float(interval.low), float(interval.high))


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Tensor | None = None,
) -> Interval:
    """Percentile bootstrap interval of a statistic.

    Args:
        values: (N,) finite.
        statistic: maps (M,) float64 values, in any order, to one number; the mean by default.
        resamples: number of resamples, each of N values (or all groups) drawn with replacement.
        level: fraction of the resampled statistics that the interval covers.
        seed: seed of the draws; the same seed gives the same interval.
        groups: (N,) integer IDs. Values with the same ID are drawn together: values of a letter that appears
            in many pairs are not independent, and treating them as independent would give too narrow an
            interval.

    Raises:
        InputError: wrong shapes, no values, values that are not finite, or settings out of range.
    """
    if values.ndim != 1:
        raise InputError(
            f"cannot bootstrap values of shape {tuple(values.shape)}", remedy="pass one number each: (N,)"
        )
    return _resample(values[:, None], statistic, resamples=resamples, level=level, seed=seed, groups=groups)


def bootstrap_gain(
    values: Tensor,
    copy: Tensor,
    groups: Tensor | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `gain`; a translation and its copied source are drawn together.

    Args:
        values: distances of translations to the truth, (N,).
        copy: distances of the unchanged sources to the truth, (N,), in the same order.
        groups: as in `bootstrap`: the content that each pair shows.
        resamples: as in `bootstrap`.
        level: as in `bootstrap`.
        seed: as in `bootstrap`.

    Raises:
        InputError: as in `gain` and `bootstrap`.
    """
    gain(values, copy)  # for its checks
    pairs = torch.stack([values.cpu(), copy.cpu()], dim=1)
    return _resample(
        pairs,
        None,
        resamples=resamples,
        level=level,
        seed=seed,
        groups=groups,
        of_means=lambda means: 1 - means[:, 0] / means[:, 1],
    )


def bootstrap_kid(
    fakes: FeatureSet, real: FeatureSet, *, resamples: int = 200, level: float = 0.95, seed: int = 0
) -> Interval:
    """Percentile bootstrap interval of `kernel_distance`; fakes and real images are drawn independently.

    Two draws of the same image do not count as a pair, so the distance is unbiased in every resample.

    Args:
        fakes: features of N images, on the CPU.
        real: features of M images, on the CPU.
        resamples: as in `bootstrap`.
        level: as in `bootstrap`.
        seed: as in `bootstrap`.

    Raises:
        InputError: as in `bootstrap`.
    """
    for some in (fakes, real):
        _check_bootstrap(some.features, resamples, level, None)
    mean, generator = kernel_distance(fakes, real), torch.Generator().manual_seed(seed)
    if min(len(fakes), len(real)) < 2:
        return Interval(mean, mean, mean)
    drawn = [draw_counts(len(some), len(some), resamples, generator) for some in (fakes, real)]
    results = resampled_distances(fakes, real, *drawn)
    tail = (1 - level) / 2
    low, high = results.quantile(torch.tensor([tail, 1 - tail], dtype=results.dtype)).tolist()
    return Interval(mean, low, high)


def draw_counts(size: int, drawn: int, resamples: int, generator: torch.Generator) -> Tensor:
    """How often each of ``size`` images is in each resample of ``drawn`` images, (R, size).

    Every resample has at least two different images.
    """
    draws = torch.randint(size, (resamples, drawn), generator=generator)
    if drawn > 1:
        alone = (draws == draws[:, :1]).all(1)
        draws[:, 1] = torch.where(alone, (draws[:, 1] + 1) % size, draws[:, 1])
    counts = torch.zeros(resamples, size, dtype=torch.float64)
    return counts.scatter_add_(1, draws, torch.ones_like(draws, dtype=torch.float64))
