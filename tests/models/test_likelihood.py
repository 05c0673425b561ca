"""The importance-weighted likelihood, on a linear Gaussian model whose likelihood is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel, bits_per_dimension
from sivae_translate.models.networks import StylePrior
from sivae_translate.models.priors import StandardPrior
from sivae_translate.utils.errors import InputError

VARIANCE = 0.09
DOMAINS = 3


class Linear(nn.Module):
    """x = 0.5 + W c + V s; the columns of (W, V) are orthogonal, so the exact posterior has no
    correlations."""

    def __init__(self, weight: Tensor, content: int) -> None:
        super().__init__()
        self.weight, self.content = weight, content

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        return (0.5 + torch.cat([content, style], 1) @ self.weight.T).reshape(-1, 1, 2, 3)


class Head(nn.Module):
    """The exact posterior of one of the two codes under N(0, I) priors, its standard deviation stretched by
    ``spread``."""

    def __init__(self, weight: Tensor, spread: float) -> None:
        super().__init__()
        self.weight, self.spread = weight, spread

    def forward(self, images: Tensor) -> Gaussian:
        precision = 1 + self.weight.square().sum(0) / VARIANCE
        mean = (images.flatten(1) - 0.5) @ self.weight / VARIANCE / precision
        logvar = -precision.log() + 2 * math.log(self.spread)
        return Gaussian(mean, logvar.expand_as(mean))


class LinearGaussian(LatentModel):
    """Content and style of two dimensions each, six pixels."""

    def __init__(self, domains: int = 0, spread: float = 1.0) -> None:
        super().__init__((1, 2, 3))
        torch.manual_seed(0)
        weight = torch.linalg.qr(torch.randn(6, 4, dtype=torch.float64))[0] * torch.tensor(
            [1.0, 0.5, 0.8, 0.3]
        )
        self.weight = weight
        self.content_shape, self.style_dim = (2,), 2
        self.domains, self.translates = domains, True
        self.content_encoder, self.style_encoder = Head(weight[:, :2], spread), Head(weight[:, 2:], spread)
        self.content_prior, self.style_prior = StandardPrior((2,)), StylePrior(domains, 2).double()
        self.decoder = Linear(weight, 2)
        self.variance.fill_(VARIANCE)

    def observed(self, logits: Tensor) -> Tensor:
        return logits

    def exact(self, images: Tensor, style_mean: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + VARIANCE * torch.eye(6, dtype=torch.float64)
        mean = 0.5 + self.weight[:, 2:] @ style_mean
        density: Distribution = MultivariateNormal(mean, covariance)
        return density.log_prob(images.flatten(1))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_draw_gives_the_likelihood(images: Tensor, samples: int) -> None:
    model = LinearGaussian()
    exact = model.exact(images, torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(model.log_likelihood(images, samples), exact, rtol=1e-6, atol=1e-6)


def test_with_a_wrong_posterior_more_samples_come_closer_from_below(images: Tensor) -> None:
    model = LinearGaussian(spread=1.7)
    exact = model.exact(images, torch.zeros(2, dtype=torch.float64))
    torch.manual_seed(0)
    gaps = [
        (exact - torch.stack([model.log_likelihood(images, samples) for _ in range(200)]).mean(0))
        for samples in (1, 10, 100)
    ]
    assert (gaps[0] > gaps[1]).all()
    assert (gaps[1] > gaps[2]).all()
    assert (gaps[0] > 0.1).all()
    torch.testing.assert_close(gaps[2], torch.zeros(5, dtype=torch.float64), atol=0.04, rtol=0)


def test_domains_shift_the_style_and_unknown_ones_are_mixed(images: Tensor) -> None:
    model = LinearGaussian(DOMAINS, spread=1.3)
    each = torch.stack([model.exact(images, mean) for mean in model.style_prior.means.detach()])
    torch.manual_seed(0)
    domain = torch.tensor([2, 0, 1, 1, 2])
    known = model.log_likelihood(images, 20_000, domain)
    torch.testing.assert_close(known, each[domain, torch.arange(5)], atol=0.05, rtol=0)
    torch.testing.assert_close(
        model.log_likelihood(images, 20_000), torch.logsumexp(each, 0) - math.log(DOMAINS), atol=0.05, rtol=0
    )


def test_the_fitted_variance_is_the_mean_squared_error_of_draws() -> None:
    model = LinearGaussian()
    images = 0.5 + 0.2 * torch.randn(20_000, 1, 2, 3, dtype=torch.float64)
    model.fit_variance(images)
    # E |x - W z|^2 over z ~ q(z | x): |x - W E z|^2 + trace(W cov W^T)
    gain = model.weight.square().sum(0) / VARIANCE / (1 + model.weight.square().sum(0) / VARIANCE)
    posterior = model.weight.square().sum(0) / (1 + model.weight.square().sum(0) / VARIANCE)
    expected = (0.04 * (2 + (1 - gain).square().sum()) + posterior.sum()) / 6
    assert model.variance.item() == pytest.approx(expected.item(), rel=0.02)


def test_bits_per_dimension_of_a_uniform_density_are_those_of_the_grey_levels() -> None:
    assert bits_per_dimension(torch.zeros(1), 12).item() == 8
    assert bits_per_dimension(torch.tensor([12 * math.log(2)]), 12).item() == pytest.approx(7)


def test_wrong_calls_say_what_to_do(images: Tensor) -> None:
    model = LinearGaussian()
    with pytest.raises(InputError, match="1 or more"):
        model.log_likelihood(images, 0)
    model.variance.zero_()
    with pytest.raises(InputError, match="fit_variance"):
        model.log_likelihood(images)
    with pytest.raises(InputError, match="shape"):
        LinearGaussian().log_likelihood(images[:, :, :1])


def test_a_plain_model_has_a_likelihood_too() -> None:
    from sivae_translate.config import DataConfig, ModelConfig

    torch.manual_seed(0)
    config = ModelConfig(kind="plain", widths=(8, 8, 8), latent_dim=4, style_features=8)
    model = make_model(config, DataConfig(image_size=32, channels=1), 1)
    images = torch.rand(3, 1, 32, 32)
    model.fit_variance(images)
    bound = model.log_likelihood(images, 4)
    assert bound.shape == (3,)
    assert torch.isfinite(bound).all()
