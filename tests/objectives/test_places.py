"""The critic of places: its KL, where its push and pull meet, and which half moves what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.objectives.places import PlaceCritic
from sivae_translate.objectives.soft_intro import SoftIntroVAE
from sivae_translate.training.step import Stepper


def objective(**more: Any) -> tuple[Introspective, Batch]:
    settings = {
        "data.image_size": 32,
        "model.widths": (8, 8, 8),
        "model.style_widths": (8, 8, 8),
        "objective.places": 0.5,
        "objective.introspection_from": 0.0,
        **{f"objective.{name}": value for name, value in more.items()},
    }
    config = load_config(None, settings)
    torch.manual_seed(0)
    batch = Batch(torch.rand(4, 3, 32, 32), torch.tensor([0, 0, 1, 1]))
    return SoftIntroVAE(config.objective, make_model(config.model, config.data, 2)), batch


def critic_of(one: Introspective) -> PlaceCritic:
    assert one.critic is not None
    return one.critic


def test_the_kl_of_a_place_is_that_of_its_gaussian_under_the_domains_prior() -> None:
    one, batch = objective()
    critic = critic_of(one)
    posterior = critic.encoder(batch.images)
    prior = critic.encoder.means[batch.domain][:, :, None, None].expand_as(posterior.mean)
    q, p = Normal(posterior.mean, (0.5 * posterior.logvar).exp()), Normal(prior, 1.0)
    expected = kl_divergence(Independent(q, 0), Independent(p, 0)).sum(1)
    assert expected.shape[1:] == (8, 8)
    torch.testing.assert_close(critic.kl(batch.images, batch.domain), expected)


@pytest.mark.parametrize("place_kl", [3.0, 6.0, 12.0])
def test_push_and_pull_meet_at_the_kl_that_is_set(place_kl: float) -> None:
    critic = critic_of(objective(place_kl=place_kl)[0])
    slopes = []
    for kl in (place_kl - 1, place_kl, place_kl + 1):
        both = torch.tensor(kl, requires_grad=True)
        critic.encoder_loss(both, both).backward()  # type: ignore[no-untyped-call]
        assert both.grad is not None
        slopes.append(both.grad.item())
    assert slopes[0] < -1e-5  # pushed up below
    assert slopes[1] == pytest.approx(0, abs=1e-8)
    assert slopes[2] > 1e-5  # pulled down above


def test_a_step_moves_the_critic_with_the_encoders_and_its_metrics_tell_both_sides() -> None:
    one, batch = objective()
    critic = critic_of(one)
    before = [parameter.clone() for parameter in critic.parameters()]
    result = Stepper(one, 1.0).step(batch, 1.0, 1e-3, 1)
    assert any(not torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
    assert isinstance(result.states[0], GameState)
    assert result.states[0].places is not None
    metrics = result.metrics()
    assert metrics["kl_places_real"] == pytest.approx(result.states[0].places.real.mean().item())
    assert metrics["kl_places_fake"] == pytest.approx(result.states[0].places.fake.mean().item())


def test_the_decoder_is_pulled_by_the_weight_that_is_set() -> None:
    one, batch = objective()
    weights = one.weights(1.0)
    state = one.forward(batch, weights)
    assert isinstance(state, GameState)
    with_critic = one.decoder_loss(state, weights)
    kl = critic_of(one).kl(state.fakes.images, state.fakes.claimed_domain).mean()
    one.critic = None
    torch.testing.assert_close(with_critic - one.decoder_loss(state, weights), 0.5 * kl)


def test_the_critic_is_part_of_a_checkpoint() -> None:
    assert "critic" in objective()[0].companions()
    assert "critic" not in objective(places=0.0)[0].companions()
