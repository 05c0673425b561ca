"""Where push meets pull: against gradients of the objective, and the automatic balance."""

from __future__ import annotations

import math

import pytest
import torch

from sivae_translate.lab.equilibrium import equilibrium_kl, settled_kl
from sivae_translate.objectives.schedule import BALANCE, balanced_beta_neg
from sivae_translate.objectives.terms import exp_elbo


def gradient(k: float, beta_neg: float, beta_kl: float, scale: float) -> float:
    """Derivative of the encoders' loss by a KL that real images and both kinds of fakes share."""
    kl = torch.tensor([k], dtype=torch.float64, requires_grad=True)
    loss = scale * beta_kl * kl.sum() + 0.5 * exp_elbo(beta_neg * kl, scale)  # a quarter for each kind
    (slope,) = torch.autograd.grad(loss, kl)
    return float(slope)


@pytest.mark.parametrize(
    ("beta_neg", "beta_kl", "scale"), [(256, 1, 1 / 784), (1024, 0.5, 1 / 196608), (0.9, 0.3, 0.5)]
)
def test_the_encoders_loss_is_flat_there_and_lower_nowhere_near(
    beta_neg: float, beta_kl: float, scale: float
) -> None:
    k = equilibrium_kl(beta_neg, beta_kl, scale)
    assert gradient(k, beta_neg, beta_kl, scale) == pytest.approx(0, abs=1e-12)
    assert gradient(0.9 * k, beta_neg, beta_kl, scale) < 0 < gradient(1.1 * k, beta_neg, beta_kl, scale)


def test_a_push_that_is_weaker_than_the_pull_meets_it_nowhere() -> None:
    assert equilibrium_kl(0.5, 1.0, 1 / 100) < 0
    assert gradient(0.0, 0.5, 1.0, 1 / 100) > 0


@pytest.mark.parametrize("kl", [30.0, 60.0])
def test_the_automatic_beta_neg_is_where_push_meets_pull(kl: float) -> None:
    beta_kl, scale = 2.0, 1 / 1024
    beta_neg = balanced_beta_neg(kl, beta_kl * kl, scale, 64)
    assert equilibrium_kl(beta_neg, beta_kl, scale) == pytest.approx(BALANCE * kl)
    # Below the KL without fakes: the push is nearly spent, and the KL hardly rises.
    assert kl < settled_kl(beta_neg, beta_kl, scale, kl, 16) < 1.1 * kl


def test_reconstruction_of_gaussian_numbers_takes_part_in_the_pull() -> None:
    # n numbers of variance 1, each rebuilt with the error exp(-2 k / n): minimise, by a fine grid,
    # beta_rec n exp(-2 k / n) + beta_kl k over the KL k, without fakes and with them.
    beta_rec, beta_kl, beta_neg, scale, n = 3.0, 0.4, 2.0, 0.5, 2
    k = torch.linspace(0.01, 12, 200_001, dtype=torch.float64)
    cost = scale * (beta_rec * n * torch.exp(-2 * k / n) + beta_kl * k)
    without = float(k[cost.argmin()])
    assert without == pytest.approx(0.5 * n * math.log(2 * beta_rec / beta_kl), abs=1e-3)
    game = float(k[(cost + 0.5 * torch.exp(-2 * scale * beta_neg * k)).argmin()])
    assert settled_kl(beta_neg, beta_kl, scale, without, n) == pytest.approx(game, abs=1e-3)
    assert without < game


def test_far_above_the_vae_it_is_where_push_meets_pull() -> None:
    assert settled_kl(8, 1, 1 / 784, 5, 4) == pytest.approx(equilibrium_kl(8, 1, 1 / 784), rel=1e-3)
    assert settled_kl(4000, 1, 1 / 784, 30, 4) == pytest.approx(30, abs=1e-3)
