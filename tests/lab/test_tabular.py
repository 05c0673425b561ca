"""The idealised game against the theorem's claim, which is computed without the game."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sivae_translate.lab.tabular import (
    Instance,
    assumption_holds,
    elbo,
    encoder_value,
    minimise_target,
    play,
    target_value,
)

VALUES, LATENTS = 5, 6


@pytest.fixture(scope="module")
def instances() -> Instance:
    return Instance.random(8, VALUES, LATENTS, seed=1)


def minimisers(instances: Instance, gamma: float) -> Tensor:
    return torch.stack([minimise_target(data, gamma) for data in instances.data])


def test_the_elbo_is_the_log_marginal_less_the_kl_to_the_posterior(instances: Instance) -> None:
    generator = torch.Generator().manual_seed(0)
    log_decoder = torch.randn(8, LATENTS, VALUES, generator=generator, dtype=torch.float64).log_softmax(-1)
    log_encoder = torch.randn(8, VALUES, LATENTS, generator=generator, dtype=torch.float64).log_softmax(-1)
    w, _ = elbo(log_decoder, log_encoder, instances.prior.log())
    joint = log_decoder.exp() * instances.prior[..., None]
    marginal = joint.sum(1)
    posterior = (joint / marginal[:, None]).mT
    gap = (log_encoder.exp() * (log_encoder - posterior.log())).sum(-1)
    torch.testing.assert_close(w, marginal.log() - gap)


@pytest.mark.parametrize("gamma", [0.2, 0.5])
def test_the_game_ends_at_the_minimiser_of_kl_plus_entropy_with_the_true_posterior(
    instances: Instance, gamma: float
) -> None:
    best = minimisers(instances, gamma)
    assert assumption_holds(best, instances.data, 2.0).all()
    outcome = play(instances, gamma=gamma, iterations=3000)
    torch.testing.assert_close(outcome.marginal, best, rtol=0, atol=1e-6)
    assert outcome.posterior_gap.max() < 1e-8


def test_the_minimiser_beats_nearby_distributions_and_sharpens_with_gamma(instances: Instance) -> None:
    generator = torch.Generator().manual_seed(0)
    entropies = []
    for gamma in (0.0, 0.2, 0.5):
        best = minimisers(instances, gamma)
        for _ in range(20):
            other = best * torch.exp(0.05 * torch.randn(best.shape, generator=generator, dtype=torch.float64))
            other = other / other.sum(-1, keepdim=True)
            assert (
                target_value(other, instances.data, gamma)
                >= target_value(best, instances.data, gamma) - 1e-12
            ).all()
        entropies.append(-(best * best.log()).sum(-1))
    torch.testing.assert_close(
        minimisers(instances, 0.0), instances.data, rtol=0, atol=1e-6
    )  # gamma = 0: maximum likelihood
    assert (entropies[0] > entropies[1]).all()
    assert (entropies[1] > entropies[2]).all()


def test_with_alpha_2_and_gamma_1_the_assumption_fails_and_so_does_the_claim(instances: Instance) -> None:
    best = minimisers(instances, 1.0)
    assert not assumption_holds(best, instances.data, 2.0).any()
    outcome = play(instances, gamma=1.0, alpha=2.0, iterations=3000)
    assert (outcome.posterior_gap > 1e-4).all()
    assert ((outcome.marginal - best).abs().amax(-1) > 1e-3).all()


def test_a_larger_alpha_brings_the_posterior_back(instances: Instance) -> None:
    best = minimisers(instances, 1.0)
    assert assumption_holds(best, instances.data, 8.0).all()
    outcome = play(instances, gamma=1.0, alpha=8.0, iterations=3000)
    assert outcome.posterior_gap.max() < 1e-8
    for marginal, data in zip(outcome.marginal, instances.data, strict=True):
        # gamma = 1 has several local minima; each rest is one of them, so descending from it leads nowhere.
        nearby = minimise_target(data, 1.0, starts=marginal[None])
        torch.testing.assert_close(nearby, marginal, rtol=0, atol=1e-5)


def test_with_the_hinge_the_encoder_need_not_be_the_posterior(instances: Instance) -> None:
    best = minimisers(instances, 0.2)
    assert assumption_holds(
        best, instances.data, 2.0
    ).all()  # the expELBO ends at the posterior here, see above
    outcome = play(instances, gamma=0.2, rule="introvae", margin=4.0, iterations=3000)
    assert (outcome.posterior_gap > 0.1).sum() >= 4


def test_the_hinge_does_not_push_fakes_beyond_its_margin() -> None:
    w, data, marginal = torch.zeros(1, 2), torch.tensor([[0.5, 0.5]]), torch.tensor([[0.25, 0.75]])
    inside = encoder_value(w, torch.tensor([[1.0, 3.0]]), data, marginal, "introvae", 2.0, margin=2.0)
    assert inside.item() == pytest.approx(-0.25 * (2 - 1))
