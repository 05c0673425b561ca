"""Erasure against the properties that LEACE is defined by, computed without it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sivae_translate.evaluation.erasure import Eraser
from sivae_translate.evaluation.probes import probe_accuracy
from sivae_translate.models.codes import Gaussian
from sivae_translate.utils.errors import InputError

LABELS = torch.arange(600) % 3
SURE = -60.0
"""A log variance whose noise is nothing."""


def told(logvar: float = SURE) -> Gaussian:
    """Correlated codes (600, 2, 3) of which most directions tell the label."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    codes = torch.randn(600, 6, generator=generator, dtype=torch.float64) @ mixing
    codes += torch.randn(3, 6, generator=generator, dtype=torch.float64)[LABELS]
    return Gaussian(codes.view(600, 2, 3), torch.full((600, 2, 3), logvar, dtype=torch.float64))


def least_squares_eraser(codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """A and b of the affine map closest to the identity, on average, of maps that leave no covariance.

    Each row a of A minimises (a - e)^T Sigma (a - e) with a^T Cov(x, Z) = 0: the linear equations of its
    Lagrangian.
    """
    centred = codes - codes.mean(0)
    sigma = centred.T @ centred / len(codes)
    onehot = torch.eye(int(labels.max()) + 1, dtype=codes.dtype)[labels]
    cross = (centred.T @ (onehot - onehot.mean(0)) / len(codes))[
        :, :-1
    ]  # the last column follows from the rest
    size, classes = cross.shape
    system = torch.zeros(size + classes, size + classes, dtype=codes.dtype)
    system[:size, :size], system[:size, size:], system[size:, :size] = sigma, cross, cross.T
    right = torch.cat([sigma, torch.zeros(classes, size, dtype=codes.dtype)])
    matrix = torch.linalg.solve(system, right)[:size].T
    return matrix, codes.mean(0) - matrix @ codes.mean(0)


def test_it_is_the_least_squares_change_that_leaves_no_covariance() -> None:
    codes = told()
    matrix, offset = least_squares_eraser(codes.mean.flatten(1), LABELS)
    expected = (codes.mean.flatten(1) @ matrix.T + offset).view(600, 2, 3)
    torch.testing.assert_close(Eraser.fit(codes, LABELS)(codes.mean), expected)


def test_afterwards_classes_have_one_mean_and_no_linear_classifier_beats_the_prior() -> None:
    codes = told()
    assert probe_accuracy(codes, LABELS, codes, LABELS).accuracy > 0.45
    erased = Eraser.fit(codes, LABELS)(codes.mean)
    means = torch.stack([erased[label == LABELS].mean(0) for label in range(3)])
    torch.testing.assert_close(means, codes.mean.mean(0).expand(3, 2, 3))
    # The convex loss of logistic regression has its minimum, ln 3, at weights of 0.
    features = torch.cat([erased.flatten(1), torch.ones(600, 1, dtype=torch.float64)], 1)
    weights = torch.zeros(7, 3, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(features @ weights, LABELS)
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert loss.item() == pytest.approx(math.log(3))
    assert weights.grad.abs().max() < 1e-12


def test_noise_of_draws_counts_where_the_change_is_chosen() -> None:
    codes = told(logvar=0.0)
    eraser = Eraser.fit(codes, LABELS)
    draws = torch.cat([codes.sample(torch.Generator().manual_seed(seed)) for seed in range(200)])
    other = Eraser.fit(Gaussian(draws, torch.full_like(draws, SURE)), LABELS.repeat(200))
    torch.testing.assert_close(eraser.projection, other.projection, atol=0.02, rtol=0)
    assert torch.linalg.matrix_rank(eraser.projection) == 2  # one less than there are labels


def test_erasing_twice_changes_nothing_more_and_labels_may_be_any_integers() -> None:
    codes = told()
    eraser = Eraser.fit(codes, torch.tensor([7, -1, 900])[LABELS])
    once = eraser(codes.mean)
    torch.testing.assert_close(eraser(once), once)
    assert eraser(codes.mean.float()).dtype == torch.float32


def test_numbers_that_never_change_are_kept() -> None:
    codes = told().mean.flatten(1)
    codes = torch.cat([codes, torch.full((600, 1), 3.0, dtype=torch.float64), codes[:, :1]], 1)
    erased = Eraser.fit(Gaussian(codes, torch.full_like(codes, SURE)), LABELS)(codes)
    assert torch.equal(erased[:, 6], codes[:, 6])
    means = torch.stack([erased[label == LABELS].mean(0) for label in range(3)])
    torch.testing.assert_close(means, means[:1].expand(3, 8))


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="600 codes came with labels"):
        Eraser.fit(told(), LABELS[:10])
