from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import Interval, bootstrap, bootstrap_gain, bootstrap_kid, gain
from sivae_translate.evaluation.metrics import diversity, l1, psnr, ssim
from sivae_translate.models import appearance
from sivae_translate.models.appearance import FeatureSet, kernel_distance
from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.errors import InputError

Pair: TypeAlias = tuple[Tensor, Tensor]
Metric: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(scope="module")
def pair() -> Pair:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 2, 20, 17, generator=generator)
    return a, (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


def numpy_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al.'s formula, window by window, in float64."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            x, y = (image[top : top + 11, left : left + 11] for image in (a, b))
            mx, my = (window * x).sum(), (window * y).sum()
            vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
            cov = (window * (x - mx) * (y - my)).sum()
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_l1_and_psnr_of_a_known_difference() -> None:
    a = torch.full((2, 1, 4, 4), 0.5)
    b = a.clone()
    b[0] += 0.1
    b[1, 0, 0, 0] -= 0.4
    assert l1(a, b).tolist() == pytest.approx([0.1, 0.4 / 16])
    assert psnr(a, b).tolist() == pytest.approx([20.0, -10 * math.log10(0.16 / 16)], abs=1e-4)


def test_l1_and_psnr_against_numpy(pair: Pair) -> None:
    a, b = (image.double().numpy() for image in pair)
    np.testing.assert_allclose(l1(*pair), np.abs(a - b).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(psnr(*pair), -10 * np.log10(((a - b) ** 2).mean((1, 2, 3))), rtol=1e-5)


def test_ssim_against_numpy_window_by_window(pair: Pair) -> None:
    a, b = (image.double().numpy() for image in pair)
    expected = [
        np.mean([numpy_ssim(x, y) for x, y in zip(i, j, strict=True)]) for i, j in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(ssim(*pair), expected, atol=2e-6)


def test_ssim_ignores_a_change_that_no_inner_window_sees_alone() -> None:
    a = torch.zeros(1, 1, 11, 11)
    b = a.clone()
    b[0, 0, 0, 0] = 1.0
    # One window: only the corner's weight counts, exp(-25 / 4.5) squared over the sum of weights squared.
    line = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
    weight = (line[0] / line.sum()) ** 2
    expected = 1e-4 / (weight**2 + 1e-4) * 9e-4 / (weight - weight**2 + 9e-4)
    assert ssim(a, b).item() == pytest.approx(expected, abs=1e-5)


def test_equal_images_score_best(pair: Pair) -> None:
    a = torch.cat([pair[0], torch.zeros_like(pair[0])])
    assert torch.equal(l1(a, a), torch.zeros(6))
    assert torch.equal(psnr(a, a), torch.full((6,), 100.0))
    torch.testing.assert_close(ssim(a, a), torch.ones(6))


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
def test_metrics_treat_every_image_alone(metric: Metric, pair: Pair) -> None:
    a, b = pair
    single = torch.cat([metric(x[None], y[None]) for x, y in zip(a, b, strict=True)])
    torch.testing.assert_close(metric(a, b), single)


@pytest.mark.parametrize("metric", [l1, psnr, ssim])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 1, 16, 16), torch.zeros(1, 1, 16, 16)),
        (torch.zeros(16, 16), torch.zeros(16, 16)),
        (torch.zeros(1, 1, 16, 16, dtype=torch.uint8), torch.zeros(1, 1, 16, 16, dtype=torch.uint8)),
    ],
    ids=["broadcast", "no batch", "bytes"],
)
def test_metrics_refuse_what_they_cannot_compare(metric: Metric, a: Tensor, b: Tensor) -> None:
    with pytest.raises(InputError):
        metric(a, b)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    with pytest.raises(InputError, match="10 x 30"):
        ssim(torch.zeros(1, 1, 10, 30), torch.zeros(1, 1, 10, 30))


@pytest.mark.parametrize(
    ("value", "expected"), [([1.0, 3.0], 0.0), ([0.0, 0.0], 1.0), ([1.0, 1.0], 0.5), ([4.0, 2.0], -0.5)]
)
def test_gain_over_copying(value: list[float], expected: float) -> None:
    assert gain(torch.tensor(value), torch.tensor([3.0, 1.0])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "copy"), [([1.0], [1.0, 2.0]), ([], []), ([1.0, 2.0], [0.0, 0.0]), ([[1.0]], [[1.0]])]
)
def test_gain_refuses(value: list[float], copy: list[float]) -> None:
    with pytest.raises(InputError):
        gain(torch.tensor(value), torch.tensor(copy))
    with pytest.raises(InputError):
        bootstrap_gain(torch.tensor(value), torch.tensor(copy))


def test_interval_of_a_mean_has_the_width_that_theory_gives() -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(0)).double()
    interval = bootstrap(values)
    half = 1.96 * values.std().item() / math.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean().item())
    assert interval.high - interval.mean == pytest.approx(half, rel=0.12)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.12)


def test_interval_of_groups_is_that_of_their_means() -> None:
    # 50 groups of 40 equal values: no more is known than 50 values say, so the interval is sqrt(40) times as
    # wide.
    means = torch.randn(50, generator=torch.Generator().manual_seed(1))
    values, groups = means.repeat(40), (7 * torch.arange(50) - 100).repeat(40)
    grouped = bootstrap(values, groups=groups)
    alone = bootstrap(values)
    few = bootstrap(means)
    assert grouped.mean == pytest.approx(few.mean)
    assert (grouped.low, grouped.high) == pytest.approx((few.low, few.high))
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(40), rel=0.15)


def test_groups_of_unequal_size_weigh_by_their_values() -> None:
    # Two groups, {0} and {1, 1, 1}: a resample is {0, 0}, {1 x 6} or both, with means 0, 1 and 3/4
    # in a quarter, a quarter and half of the resamples.
    values, groups = torch.tensor([0.0, 1.0, 1.0, 1.0]), torch.tensor([5, 2, 2, 2])
    assert bootstrap(values, groups=groups, level=0.4) == Interval(0.75, 0.75, 0.75)
    assert bootstrap(values, groups=groups, level=0.8) == Interval(0.75, 0.0, 1.0)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(2)
    intervals = [
        bootstrap(torch.randn(100, generator=generator), resamples=200, level=0.8, seed=i) for i in range(100)
    ]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert abs(covered - 80) <= 3 * math.sqrt(100 * 0.8 * 0.2)


def test_interval_of_another_statistic() -> None:
    values = torch.arange(101.0)
    interval = bootstrap(values, torch.median)
    assert interval.mean == 50
    assert 30 < interval.low < 50 < interval.high < 70


def test_the_seed_decides_the_interval() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1)
    assert bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_a_higher_level_gives_a_wider_interval() -> None:
    values = torch.rand(50, generator=torch.Generator().manual_seed(0))
    narrow, wide = bootstrap(values, level=0.5), bootstrap(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_gain_is_resampled_in_pairs() -> None:
    # Each translation halves its own source's distance, so whichever pairs are drawn, the gain is one half.
    copy = torch.rand(300, generator=torch.Generator().manual_seed(0)).double() + 0.01
    interval = bootstrap_gain(copy / 2, copy)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))


def test_gains_interval_knows_groups() -> None:
    generator = torch.Generator().manual_seed(0)
    copy = torch.rand(60, generator=generator) + 0.5
    value = copy * torch.rand(60, generator=generator)
    few = bootstrap_gain(value, copy)
    groups = torch.arange(60).repeat(10)
    grouped = bootstrap_gain(value.repeat(10), copy.repeat(10), groups)
    assert few.mean == pytest.approx(gain(value, copy))
    assert few.low < few.mean < few.high
    assert (grouped.mean, grouped.low, grouped.high) == pytest.approx((few.mean, few.low, few.high))
    alone = bootstrap_gain(value.repeat(10), copy.repeat(10))
    assert alone.high - alone.low < 0.6 * (grouped.high - grouped.low)


@pytest.mark.parametrize(
    "settings",
    [{"resamples": 0}, {"level": 1.0}, {"level": 0.0}, {"groups": torch.zeros(3, dtype=torch.long)}],
)
def test_bootstrap_refuses_settings_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        bootstrap(torch.rand(4), **settings)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [1.0, math.inf], [[1.0], [2.0]]])
def test_bootstrap_refuses_values_without_a_mean(values: list[float]) -> None:
    with pytest.raises(InputError):
        bootstrap(torch.tensor(values))


def test_one_value_has_an_interval_of_no_width() -> None:
    assert bootstrap(torch.tensor([0.25])) == Interval(0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return Lpips.load()


def test_diversity_is_the_mean_distance_between_styles(lpips: Lpips) -> None:
    images = torch.rand(3, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second, third = images
    expected = (lpips(first, second) + lpips(first, third) + lpips(second, third)) / 3
    torch.testing.assert_close(diversity(images, lpips), expected)


def test_styles_that_change_nothing_have_no_diversity(lpips: Lpips) -> None:
    images = torch.rand(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1, 1)
    assert torch.equal(diversity(images, lpips), torch.zeros(2))


@pytest.mark.parametrize("shape", [(1, 2, 3, 32, 32), (2, 3, 32, 32)])
def test_diversity_needs_two_styles(lpips: Lpips, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        diversity(torch.zeros(shape), lpips)


def test_kids_interval_is_that_of_resamples_drawn_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    fakes, real = torch.randn(30, 4, generator=generator) + 0.4, torch.randn(25, 4, generator=generator)
    sets = FeatureSet(fakes), FeatureSet(real)
    interval = bootstrap_kid(*sets, resamples=2000)
    assert interval.mean == pytest.approx(kernel_distance(*sets))
    rng, (a, b) = np.random.default_rng(0), (fakes.double().numpy(), real.double().numpy())

    def within(features: np.ndarray, drawn: np.ndarray) -> float:
        different = drawn[:, None] != drawn
        return float(((features[drawn] @ features[drawn].T / 4 + 1) ** 3)[different].mean())

    values = []
    for _ in range(2000):
        i, j = rng.integers(30, size=30), rng.integers(25, size=25)
        values.append(within(a, i) + within(b, j) - 2 * ((a[i] @ b[j].T / 4 + 1) ** 3).mean())
    low, high = np.quantile(values, [0.025, 0.975])
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.08 * (high - low))


def test_kids_interval_of_few_images_is_finite() -> None:
    two, one = torch.tensor([[0.0, 1.0], [1.0, 0.5]]), torch.tensor([[0.3, 0.2]])
    interval = bootstrap_kid(FeatureSet(two), FeatureSet(two + 0.1))
    assert all(map(math.isfinite, (interval.low, interval.mean, interval.high)))
    single = bootstrap_kid(FeatureSet(one), FeatureSet(two))
    assert single.low == single.mean == single.high
    with pytest.raises(InputError):
        bootstrap_kid(FeatureSet(one[:0]), FeatureSet(two))


def test_the_kernel_of_real_images_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, sizes = appearance.cubic_kernel, []

    def counted(a: Tensor, b: Tensor) -> Tensor:
        sizes.append((len(a), len(b)))
        return kernel(a, b)

    monkeypatch.setattr(appearance, "cubic_kernel", counted)
    generator = torch.Generator().manual_seed(0)
    real = FeatureSet(torch.randn(25, 4, generator=generator))
    for count in (30, 20):
        bootstrap_kid(FeatureSet(torch.randn(count, 4, generator=generator)), real, resamples=5)
    assert sizes.count((25, 25)) == 1
    assert sizes.count((30, 30)) == sizes.count((20, 20)) == 1
