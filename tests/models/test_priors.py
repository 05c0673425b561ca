"""Priors of the content code: densities, draws, KLs."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from sivae_translate.config import DataConfig, ModelConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.priors import LEAST_LOGVAR, MixturePrior, StandardPrior
from sivae_translate.objectives import make_objective


@pytest.fixture
def mixture() -> MixturePrior:
    torch.manual_seed(0)
    prior = MixturePrior((2, 3), 4).double()
    with torch.no_grad():
        prior.logvars.uniform_(-1, 1)
    return prior


def as_distribution(prior: MixturePrior) -> Distribution:
    return MixtureSameFamily(
        Categorical(torch.ones(4, dtype=torch.float64)),
        Independent(Normal(prior.means, (prior.logvars / 2).exp()), 1),
    )


def test_the_mixtures_density_is_that_of_torch_distributions(mixture: MixturePrior) -> None:
    codes = torch.randn(5, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(codes), as_distribution(mixture).log_prob(codes.flatten(1)))


def test_draws_have_the_mixtures_mean_and_variance(mixture: MixturePrior) -> None:
    draws = mixture.sample(20000, torch.device("cpu"), torch.Generator().manual_seed(0))
    expected = as_distribution(mixture)
    assert draws.shape == (20000, 2, 3)
    torch.testing.assert_close(draws.flatten(1).mean(0), expected.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(draws.flatten(1).var(0), expected.variance, atol=0.15, rtol=0)


def test_the_kl_estimate_is_unbiased() -> None:
    torch.manual_seed(0)
    one = MixturePrior((3,), 1).double()  # a mixture of one has a closed KL
    posterior = Gaussian(torch.randn(1, 3, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64))
    many = Gaussian(posterior.mean.expand(20000, 3), posterior.logvar.expand(20000, 3))
    assert one.kl(many).mean().item() == pytest.approx(posterior.kl(one.means).item(), abs=0.05)


def test_components_cannot_become_spikes(mixture: MixturePrior) -> None:
    with torch.no_grad():
        mixture.logvars.fill_(-50)
    assert mixture.log_prob(mixture.means.view(4, 2, 3)).max() < -0.5 * 6 * LEAST_LOGVAR


def test_the_standard_prior_is_exact() -> None:
    posterior = Gaussian(torch.ones(2, 4), torch.zeros(2, 4))
    torch.testing.assert_close(StandardPrior((4,)).kl(posterior), torch.full((2,), 2.0))


def test_a_learned_prior_belongs_to_the_decoders_half_and_learns() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        kind="plain",
        latent_dim=4,
        prior_components=3,
        widths=(4, 6, 8),
        style_widths=(4, 4, 6),
        style_features=8,
    )
    model = make_model(config, DataConfig(image_size=32, channels=1), 1)
    assert {id(p) for p in model.content_prior.parameters()} <= {id(p) for p in model.decoder_parameters()}
    objective = make_objective(ObjectiveConfig(introspection_from=0, content_open_at=0), model)
    batch, weights = Batch(torch.rand(6, 1, 32, 32), torch.zeros(6, dtype=torch.long)), objective.weights(1.0)
    shared = objective.forward(batch, weights)
    gradients = torch.autograd.grad(
        objective.decoder_loss(shared, weights), list(model.content_prior.parameters())
    )
    assert all(gradient.abs().max() > 0 for gradient in gradients)
