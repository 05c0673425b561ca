"""Distances between images, one number an image, and bootstrap intervals for their means and for gains over
copying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from scipy.stats import binomtest
from torch import Tensor

from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.errors import InputError

SSIM_WINDOW = 11
PSNR_CEILING = 100.0
"""dB. Equal images would have an infinite PSNR, and one of them would make every mean infinite."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        mean: the statistic (for most uses a mean) of the values themselves.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    mean: float
    low: float
    high: float


def _check_pair(a: Tensor, b: Tensor) -> None:
    if a.ndim != 4 or a.shape != b.shape:
        what = f"cannot compare images of shape {tuple(a.shape)} with {tuple(b.shape)}"
        raise InputError(what, remedy="pass two batches (B, C, H, W) of the same shape")
    if not (a.is_floating_point() and b.is_floating_point()):
        raise InputError(
            f"cannot compare images of {a.dtype} and {b.dtype}",
            remedy="pass floats in [0, 1]: divide bytes by 255",
        )


def l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: the same.

    Returns:
        (B,) float32 in [0, 1].

    Raises:
        InputError: the shapes differ, or the images are not floats.
    """
    _check_pair(a, b)
    return (a.float() - b.float()).abs().flatten(1).mean(1)


def psnr(a: Tensor, b: Tensor) -> Tensor:
    r"""Peak signal-to-noise ratio, :math:`-10 \log_{10}` of the mean squared difference, at most
    `PSNR_CEILING`.

    Args:
        a: (B, C, H, W) in [0, 1].
        b: the same.

    Returns:
        (B,) float32 in dB.

    Raises:
        InputError: the shapes differ, or the images are not floats.
    """
    _check_pair(a, b)
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return -10 * error.clamp_min(10 ** (-PSNR_CEILING / 10)).log10()


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004): Gaussian window of 11 pixels and sigma 1.5, mean over pixels
    and channels.

    Only windows that lie wholly inside the image count, so the outer 5 pixels have no window of their own and
    nothing is padded.

    Args:
        a: (B, C, H, W) in [0, 1], sides of 11 or more.
        b: the same.

    Returns:
        (B,) float32, at most 1; 1 for equal images.

    Raises:
        InputError: the shapes differ, the images are not floats, or they are smaller than the window.
    """
    import kornia.metrics

    _check_pair(a, b)
    if min(a.shape[2:]) < SSIM_WINDOW:
        what = f"SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {a.shape[2]} x {a.shape[3]}"
        raise InputError(what, remedy="resize the images")
    # kornia's sigma is 1.5 for every window; its eps would keep equal black images below 1.
    similarity = kornia.metrics.ssim(a.float(), b.float(), SSIM_WINDOW, max_val=1.0, eps=0.0, padding="valid")
    return similarity.flatten(1).mean(1)


def gain(value: Tensor, copy: Tensor) -> float:
    """How much better than copying the source: 1 - mean(value) / mean(copy); 0 is doing nothing, 1 is
    perfect.

    Args:
        value: distances of translations to the truth, (N,).
        copy: distances of the untouched sources to the truth, (N,).

    Raises:
        InputError: the shapes differ or are not (N,), N is 0, or copying has no error, so that there is
            nothing to gain.
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
    statistic: Callable[[Tensor], Tensor],
    *,
    resamples: int,
    level: float,
    seed: int,
    groups: Tensor | None,
) -> Interval:
    """Percentile bootstrap of a statistic of ``values`` (N, ...), whole groups drawn with replacement."""
    count = len(values)
    if groups is not None and groups.shape != (count,):
        raise InputError(
            f"{count} values came with groups of shape {tuple(groups.shape)}",
            remedy="pass one group id for each value",
        )
    if not count or resamples < 1 or not 0 < level < 1:
        what = f"cannot bootstrap {count} values with {resamples} resamples at level {level}"
        raise InputError(what, remedy="pass at least one value and one resample, and a level between 0 and 1")
    if not values.isfinite().all():
        raise InputError(
            "cannot bootstrap values that are infinite or not a number", remedy="leave them out, and say so"
        )
    values = values.detach().double().cpu()
    ids = torch.arange(count) if groups is None else torch.unique(groups.cpu(), return_inverse=True)[1]
    clusters = int(ids.max()) + 1
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(clusters, (resamples, clusters), generator=generator)
    results = torch.stack(
        [statistic(values.repeat_interleave(row.bincount(minlength=clusters)[ids], dim=0)) for row in draws]
    )
    tail = (1 - level) / 2
    low, high = results.quantile(torch.tensor([tail, 1 - tail], dtype=results.dtype)).tolist()
    return Interval(float(statistic(values)), low, high)


def proportion(hits: int, count: int) -> Interval:
    """A share of ``count`` cases with Wilson's 95 % interval (1927)."""
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return Interval(hits / count, float(interval.low), float(interval.high))


def bootstrap(
    values: Tensor,
    statistic: Callable[[Tensor], Tensor] = torch.mean,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    groups: Tensor | None = None,
) -> Interval:
    """Percentile bootstrap interval of a statistic.

    Args:
        values: (N,) finite.
        statistic: maps (M,) float64 values to one number; it must not depend on their order.
        resamples: how often to draw N values (or all groups) with replacement.
        level: share of the resampled statistics that the interval covers.
        seed: of the draws; the same seed gives the same interval.
        groups: (N,) integer ids. Values with the same id are drawn together: when the same letter appears in
            many pairs, its values are not independent, and an interval that took them to be so would be too
            narrow.

    Raises:
        InputError: wrong shapes, no values, values that are not finite, or settings out of range.
    """
    if values.ndim != 1:
        raise InputError(
            f"cannot bootstrap values of shape {tuple(values.shape)}", remedy="pass one number each: (N,)"
        )
    return _resample(values, statistic, resamples=resamples, level=level, seed=seed, groups=groups)


def bootstrap_gain(
    values: Tensor,
    copy: Tensor,
    groups: Tensor | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of `gain`; each resample draws a translation and its copied source
    together.

    Args:
        values: distances of translations to the truth, (N,).
        copy: distances of the untouched sources to the truth, (N,), in the same order.
        groups: as in `bootstrap`: the content that each pair shows.
        resamples: as in `bootstrap`.
        level: as in `bootstrap`.
        seed: as in `bootstrap`.

    Raises:
        InputError: as in `gain` and `bootstrap`.
    """
    gain(values, copy)  # only for its checks
    pairs = torch.stack([values.cpu(), copy.cpu()], dim=1)
    return _resample(pairs, _gain_of_pairs, resamples=resamples, level=level, seed=seed, groups=groups)


def _gain_of_pairs(pairs: Tensor) -> Tensor:
    """Gain of (N, 2) distances: those of translations, those of copied sources."""
    means = pairs.mean(0)
    return 1 - means[0] / means[1]


def diversity(images: Tensor, lpips: Lpips) -> Tensor:
    """Mean LPIPS between the images that different styles make of one content; 0 when the style changes
    nothing.

    Args:
        images: (K, B, C, H, W) in [0, 1]: K styles of each of B contents.
        lpips: the distance.

    Returns:
        (B,) float32.

    Raises:
        InputError: fewer than two styles, or images that LPIPS does not take.
    """
    if images.ndim != 5 or len(images) < 2:
        what = f"cannot measure the diversity of images of shape {tuple(images.shape)}"
        raise InputError(what, remedy="pass (K, B, C, H, W) with at least two styles K")
    return torch.stack([lpips.distances(a, b) for a, b in combinations(images, 2)]).mean(0)
