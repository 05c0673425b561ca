"""Gaussians against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from sivae_translate.models.codes import Codes, Gaussian, Posterior


def gaussian(*shape: int, seed: int = 0) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    mean, logvar = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return Gaussian(mean, logvar)


def reference(g: Gaussian) -> Distribution:
    return Independent(Normal(g.mean, (0.5 * g.logvar).exp()), g.mean.ndim - 1)


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 2, 2)])
def test_kl_to_the_standard_normal_equals_torch_distributions(shape: tuple[int, ...]) -> None:
    g = gaussian(*shape)
    prior = Independent(Normal(torch.zeros_like(g.mean), 1.0), g.mean.ndim - 1)
    torch.testing.assert_close(g.kl(), kl_divergence(reference(g), prior))


def test_kl_to_a_shifted_prior_equals_torch_distributions() -> None:
    g, mean = gaussian(5, 7), torch.randn(5, 7, dtype=torch.float64)
    prior = Independent(Normal(mean, 1.0), 1)
    torch.testing.assert_close(g.kl(mean), kl_divergence(reference(g), prior))


def test_kl_vanishes_only_at_the_prior() -> None:
    zeros = torch.zeros(2, 3)
    assert Gaussian(zeros, zeros).kl().tolist() == [0.0, 0.0]
    assert (Gaussian(zeros + 0.1, zeros).kl() > 0).all()


def test_log_prob_equals_torch_distributions() -> None:
    g, value = gaussian(5, 7), torch.randn(5, 7, dtype=torch.float64)
    torch.testing.assert_close(g.log_prob(value), reference(g).log_prob(value))


def test_samples_have_the_mean_and_the_variance() -> None:
    g = Gaussian(torch.full((40000, 2), 3.0), torch.full((40000, 2), -2.0))
    drawn = g.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), torch.full((2,), 3.0), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.var(0).log(), torch.full((2,), -2.0), atol=0.05, rtol=0)


def test_sampling_lets_gradients_through_to_mean_and_logvar() -> None:
    mean, logvar = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2, requires_grad=True)
    drawn = Gaussian(mean, logvar).sample(torch.Generator().manual_seed(1))
    of_mean, of_logvar = torch.autograd.grad(drawn.sum(), [mean, logvar])
    assert of_mean.tolist() == [[1.0, 1.0]]
    assert of_logvar.count_nonzero() == 2


def test_posterior_indexes_detaches_and_gives_means() -> None:
    posterior = Posterior(gaussian(4, 2, 3, 3), gaussian(4, 5))
    assert posterior[:2].content.mean.shape == (2, 2, 3, 3)
    assert posterior.mean.style is posterior.style.mean
    codes = Codes(posterior.content.mean.requires_grad_(), posterior.style.mean)
    assert len(codes) == 4
    assert not codes.detach().content.requires_grad
