from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor

from sivae_translate.evaluation.probes import ProbeKind, probe_accuracy
from sivae_translate.utils.errors import InputError


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clusters(seed: int, labels: Tensor) -> Tensor:
    """Codes (N, 5) around one corner a label, far apart against their spread of 0.1."""
    return 0.1 * noise(seed, len(labels), 5) + torch.eye(5)[labels]


LABELS = torch.arange(200) % 4


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_separable_codes_are_read_without_a_mistake(kind: ProbeKind) -> None:
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, LABELS), LABELS, kind=kind)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.25, 4.0)
    # Wilson's interval of n out of n is 1 / (1 + z^2 / n) to 1
    assert (result.low, result.high) == pytest.approx((1 / (1 + 1.959964**2 / 200), 1.0))


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_independent_codes_are_read_at_chance(kind: ProbeKind) -> None:
    labels = torch.arange(2000) % 4
    result = probe_accuracy(noise(0, 2000, 6), labels, noise(1, 2000, 6), labels, kind=kind, steps=100)
    assert abs(result.accuracy - 0.25) < 3 * math.sqrt(0.25 * 0.75 / 2000)


def test_only_the_mlp_reads_what_no_plane_separates() -> None:
    codes = noise(0, 1200, 2)
    labels = (codes[:, 0] * codes[:, 1] > 0).long()
    parts = codes[:800], labels[:800], codes[800:], labels[800:]
    assert probe_accuracy(*parts, kind="linear").accuracy < 0.65
    assert probe_accuracy(*parts, kind="mlp").accuracy > 0.9


def test_chance_is_the_share_of_the_tests_most_common_label() -> None:
    test_labels = torch.tensor([0] * 30 + [1] * 10)
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, test_labels), test_labels)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.75, 1 / 0.75)


def test_on_a_circle_one_step_off_is_right_also_across_its_seam() -> None:
    viewpoints = torch.tensor([0, 1, 2, 3, 4, 5] * 20)
    shifted = (viewpoints + 1) % 6
    codes, labels = 0.1 * noise(0, 120, 6) + 3 * torch.eye(6)[viewpoints], viewpoints
    off_by_one = 0.1 * noise(1, 120, 6) + 3 * torch.eye(6)[shifted]
    assert probe_accuracy(codes, labels, off_by_one, viewpoints).accuracy == 0.0
    result = probe_accuracy(codes, labels, off_by_one, viewpoints, period=6)
    assert (result.accuracy, result.chance, result.ratio) == (1.0, 0.5, 2.0)
    two_off = 0.1 * noise(1, 120, 6) + 3 * torch.eye(6)[(viewpoints + 2) % 6]
    assert probe_accuracy(codes, labels, two_off, viewpoints, period=6).accuracy == 0.0


def test_labels_may_be_any_integers() -> None:
    names = torch.tensor([1041, -3, 97, 8364])
    result = probe_accuracy(clusters(0, LABELS), names[LABELS], clusters(1, LABELS), names[LABELS])
    assert result.accuracy == 1.0


def test_a_label_never_trained_on_counts_as_a_mistake() -> None:
    test_labels = torch.arange(100) % 5
    result = probe_accuracy(clusters(0, LABELS), LABELS, clusters(1, test_labels), test_labels)
    assert result.accuracy == pytest.approx(0.8)


def test_spatial_codes_of_any_scale_and_offset_are_read() -> None:
    codes = [1000 + 1e-2 * clusters(seed, LABELS).double() for seed in (0, 1)]
    spatial = [torch.cat([code, torch.full((200, 3), 5.0)], dim=1).view(200, 2, 2, 2) for code in codes]
    assert probe_accuracy(spatial[0], LABELS, spatial[1], LABELS).accuracy == 1.0


def test_a_feature_constant_in_training_is_ignored() -> None:
    train = torch.cat([clusters(0, LABELS), torch.full((200, 1), 0.1)], dim=1)
    test = torch.cat([clusters(1, LABELS), 1e6 * noise(2, 200, 1)], dim=1)
    assert probe_accuracy(train, LABELS, test, LABELS).accuracy == 1.0


def test_same_seed_same_result_and_callers_generator_untouched() -> None:
    parts = noise(0, 200, 6), LABELS, noise(1, 200, 6), LABELS
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
    codes = clusters(0, LABELS).requires_grad_()
    probe_accuracy(codes, LABELS, clusters(1, LABELS), LABELS, steps=2)
    assert codes.grad is None


@pytest.mark.parametrize(
    "changes",
    [
        {"train_labels": LABELS[:10]},
        {"test_codes": torch.zeros(200, 4)},
        {"train_codes": torch.zeros(200)},
        {"test_labels": LABELS.float()},
        {"train_codes": torch.full((200, 5), math.nan)},
        {"test_codes": torch.zeros(0, 5), "test_labels": LABELS[:0]},
        {"kind": "forest"},
        {"steps": 0},
    ],
    ids=["few labels", "other features", "no features", "float labels", "nan", "no tests", "kind", "steps"],
)
def test_bad_input_is_refused(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "train_codes": clusters(0, LABELS),
        "train_labels": LABELS,
        "test_codes": clusters(1, LABELS),
        "test_labels": LABELS,
    }
    with pytest.raises(InputError):
        probe_accuracy(**(good | changes))
