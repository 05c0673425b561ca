from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from sivae_translate.evaluation.probes import (
    FEATURES,
    ProbeFeatures,
    ProbeKind,
    ProbeResult,
    all_probes,
    features_of,
    probe_accuracy,
    strongest,
)
from sivae_translate.models.codes import Gaussian
from sivae_translate.utils.errors import InputError


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sharp(means: Tensor, deviation: float = 0.1) -> Gaussian:
    """Posteriors with these means and one standard deviation."""
    return Gaussian(means, torch.full_like(means, 2 * math.log(deviation)))


def cluster_means(seed: int, labels: Tensor) -> Tensor:
    """Means (N, 5) around one corner a label, far apart against their spread of 0.1."""
    return 0.1 * noise(seed, len(labels), 5) + torch.eye(5)[labels]


def clusters(seed: int, labels: Tensor) -> Gaussian:
    """Posteriors with `cluster_means`."""
    return sharp(cluster_means(seed, labels))


LABELS = torch.arange(200) % 4


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_separable_codes_are_read_without_a_mistake(kind: ProbeKind, features: ProbeFeatures) -> None:
    parts = clusters(0, LABELS), LABELS, clusters(1, LABELS), LABELS
    result = probe_accuracy(*parts, kind=kind, features=features)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.25, 4.0)
    # Wilson's interval of n out of n is 1 / (1 + z^2 / n) to 1, and draws do not make it narrower
    assert (result.low, result.high) == pytest.approx((1 / (1 + 1.959964**2 / 200), 1.0))


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_independent_codes_are_read_at_chance(kind: ProbeKind, features: ProbeFeatures) -> None:
    labels = torch.arange(2000) % 4
    parts = sharp(noise(0, 2000, 6)), labels, sharp(noise(1, 2000, 6)), labels
    result = probe_accuracy(*parts, kind=kind, features=features, steps=100)
    assert abs(result.accuracy - 0.25) < 3 * math.sqrt(0.25 * 0.75 / 2000)


def test_only_the_mlp_reads_what_no_plane_separates() -> None:
    codes = noise(0, 1200, 2)
    labels = (codes[:, 0] * codes[:, 1] > 0).long()
    parts = sharp(codes[:800]), labels[:800], sharp(codes[800:]), labels[800:]
    assert probe_accuracy(*parts, kind="linear").accuracy < 0.65
    assert probe_accuracy(*parts, kind="mlp").accuracy > 0.9


def test_a_collapsed_number_is_not_scaled_up() -> None:
    # Means of 0.01 and -0.01 tell the label, but the posterior's deviation is 1.
    labels = torch.arange(200) % 2
    told = sharp(0.02 * (labels[:, None] - 0.5) + torch.zeros(200, 3), deviation=1.0)
    fitted, read = features_of(told, told, "means")
    torch.testing.assert_close(fitted[0], told.mean)
    torch.testing.assert_close(read, fitted)
    result = probe_accuracy(told, labels, told, labels, features="draws")
    assert result.accuracy < 0.6


def test_draws_read_as_well_as_the_noise_allows() -> None:
    # Two classes at -1 and 1 with noise of deviation 1 in one number: the best accuracy is Phi(1).
    labels = torch.arange(2000) % 2
    codes = sharp(2.0 * labels[:, None] - 1, deviation=1.0)
    result = probe_accuracy(codes, labels, codes, labels, features="draws")
    assert result.accuracy == pytest.approx(0.8413, abs=0.01)
    assert probe_accuracy(codes, labels, codes, labels, features="means").accuracy == 1


def test_draws_leave_out_numbers_that_carry_nothing() -> None:
    means = torch.cat([cluster_means(0, LABELS), torch.zeros(200, 7)], 1)
    fitted, read = features_of(sharp(means), sharp(means), "draws")
    assert fitted.shape == read.shape == (12, 200, 5)
    assert torch.allclose(fitted.std((0, 1), correction=0), torch.ones(5), atol=1e-4)


def test_the_strongest_probe_counts() -> None:
    probes = all_probes(
        "label from code", (clusters(0, LABELS), LABELS), (clusters(1, LABELS), LABELS), seed=0
    )
    assert set(probes) == {
        f"label from code, {kind}, {features}"
        for kind in ("linear", "mlp")
        for features in ("means", "draws")
    }
    probes["label from code, mlp, draws"] = ProbeResult(2.0, 0.25, 8.0)
    assert strongest(probes) == {"label from code": ("mlp, draws", ProbeResult(2.0, 0.25, 8.0))}


def test_codes_can_be_changed_before_they_are_read() -> None:
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, LABELS), LABELS, change=lambda x: 0 * x)
    assert result.accuracy == 0.25


def test_chance_is_the_share_of_the_tests_most_common_label() -> None:
    test_labels = torch.tensor([0] * 30 + [1] * 10)
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, test_labels), test_labels)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.75, 1 / 0.75)


def test_on_a_circle_one_step_off_is_right_also_across_its_seam() -> None:
    viewpoints = torch.tensor([0, 1, 2, 3, 4, 5] * 20)
    shifted = (viewpoints + 1) % 6
    codes, labels = sharp(0.1 * noise(0, 120, 6) + 3 * torch.eye(6)[viewpoints]), viewpoints
    off_by_one = sharp(0.1 * noise(1, 120, 6) + 3 * torch.eye(6)[shifted])
    assert probe_accuracy(codes, labels, off_by_one, viewpoints).accuracy == 0.0
    result = probe_accuracy(codes, labels, off_by_one, viewpoints, period=6)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.5, 2.0)
    two_off = sharp(0.1 * noise(1, 120, 6) + 3 * torch.eye(6)[(viewpoints + 2) % 6])
    assert probe_accuracy(codes, labels, two_off, viewpoints, period=6).accuracy == 0.0


def test_labels_may_be_any_integers() -> None:
    names = torch.tensor([1041, -3, 97, 8364])
    result = probe_accuracy(clusters(0, LABELS), names[LABELS], clusters(1, LABELS), names[LABELS])
    assert result.accuracy == 1.0


def test_a_label_never_trained_on_counts_as_a_mistake() -> None:
    test_labels = torch.arange(100) % 5
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, test_labels), test_labels)
    assert result.accuracy == pytest.approx(0.8)


@pytest.mark.parametrize("features", FEATURES)
def test_spatial_codes_of_any_scale_and_offset_are_read(features: ProbeFeatures) -> None:
    codes = [1000 + 1e-2 * cluster_means(seed, LABELS).double() for seed in (0, 1)]
    spatial = [torch.cat([code, torch.full((200, 3), 5.0)], dim=1).view(200, 2, 2, 2) for code in codes]
    parts = sharp(spatial[0], 1e-3), LABELS, sharp(spatial[1], 1e-3), LABELS
    assert probe_accuracy(*parts, features=features).accuracy == 1.0


def test_same_seed_same_result_and_callers_generator_untouched() -> None:
    parts = sharp(noise(0, 200, 6)), LABELS, sharp(noise(1, 200, 6)), LABELS
    before = torch.get_rng_state()
    first = probe_accuracy(*parts, kind="mlp", seed=5, steps=20)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert probe_accuracy(*parts, kind="mlp", seed=5, steps=20) == first
    assert any(probe_accuracy(*parts, kind="mlp", seed=seed, steps=20) != first for seed in (6, 7, 8))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_codes_of_a_frozen_encoder_can_be_probed(context: Callable[[], AbstractContextManager[None]]) -> None:
    with context():
        codes = clusters(0, LABELS)
    with torch.no_grad():
        assert probe_accuracy(codes, LABELS, clusters(1, LABELS), LABELS).accuracy == 1.0


def test_probing_sends_no_gradient_to_the_codes() -> None:
    means = cluster_means(0, LABELS).requires_grad_()
    probe_accuracy(sharp(means), LABELS, clusters(1, LABELS), LABELS, steps=2)
    assert means.grad is None


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": LABELS[:10]},
        {"test": sharp(torch.zeros(200, 4))},
        {"train": sharp(torch.zeros(200))},
        {"test_labels": LABELS.float()},
        {"train": sharp(torch.full((200, 5), math.nan))},
        {"test": Gaussian(torch.zeros(200, 5), torch.zeros(200, 4))},
        {"test": sharp(torch.zeros(0, 5)), "test_labels": LABELS[:0]},
        {"kind": "forest"},
        {"features": "shapes"},
        {"steps": 0},
    ],
    ids=[
        "few labels",
        "other codes",
        "no codes",
        "float labels",
        "nan",
        "other deviations",
        "no tests",
        "kind",
        "features",
        "steps",
    ],
)
def test_bad_input_is_refused(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "train": clusters(0, LABELS),
        "train_labels": LABELS,
        "test": clusters(1, LABELS),
        "test_labels": LABELS,
    }
    with pytest.raises(InputError):
        probe_accuracy(**(good | changes))
