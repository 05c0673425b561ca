"""The leak against values that are known, or integrated numerically."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from sivae_translate.evaluation.leak import Leak, log_densities, measure_leak, moment_kl
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.priors import MixturePrior, StandardPrior

PRIOR = StandardPrior((2,))


def grid(deviation: float, domain_gap: float, content_gap: float, repeats: int = 1) -> Gaussian:
    """Posteriors of 2 domains x 2 contents: the first number tells the domain, the second the content."""
    means = [[domain_gap * d, content_gap * y] for d in (-1, 1) for y in (-1, 1)] * repeats
    mean = torch.tensor(means, dtype=torch.float32)
    return Gaussian(mean, torch.full_like(mean, 2 * math.log(deviation)))


DOMAINS, CONTENTS = torch.tensor([0, 0, 1, 1]), torch.tensor([5, 9, 5, 9])


def test_codes_of_nothing_leak_nothing() -> None:
    codes = Gaussian(torch.zeros(4, 2), torch.zeros(4, 2))
    leak = measure_leak(codes, DOMAINS, CONTENTS, PRIOR)
    found = (leak.kl, leak.content, leak.shared, leak.certificate, leak.measured)
    assert found == pytest.approx((0, 0, 0, 0, 0), abs=1e-6)
    assert leak.entropy == pytest.approx(math.log(2))


def test_codes_far_apart_tell_domain_and_content_in_full() -> None:
    leak = measure_leak(grid(0.01, 1, 1), DOMAINS, CONTENTS, PRIOR)
    assert leak.content == pytest.approx(math.log(2))
    assert leak.measured == pytest.approx(math.log(2))
    kl = 2 * (0.5 * (1 + 1e-4 - 1) - math.log(0.01))
    assert leak.kl == pytest.approx(kl)
    # The codes as a whole have a mean of 0 and, in both numbers, a variance of 1 + 1e-4.
    assert leak.mismatch == pytest.approx(0, abs=1e-6)
    assert leak.certificate == pytest.approx(kl - math.log(2))


def test_overlapping_codes_tell_what_an_integral_says() -> None:
    gap, deviation = 0.8, 0.9

    def integrand(c: float) -> float:
        own, other = norm.pdf(c, gap, deviation), norm.pdf(c, -gap, deviation)
        return float(own * math.log(2 * own / (own + other)))

    exact = quad(integrand, -8, 8)[0]
    repeats = 500  # for more draws
    codes = grid(deviation, 0.0, gap, repeats)
    leak = measure_leak(codes, DOMAINS.repeat(repeats), CONTENTS.repeat(repeats), PRIOR)
    assert leak.content == pytest.approx(exact, abs=0.02)
    assert leak.measured == pytest.approx(0, abs=0.02)
    assert leak.certificate >= leak.measured


def test_contents_that_only_one_domain_shows_are_shared() -> None:
    leak = measure_leak(grid(0.01, 1, 1), DOMAINS, DOMAINS, PRIOR)
    assert leak.shared == pytest.approx(math.log(2))
    assert leak.certificate == pytest.approx(
        leak.kl
    )  # the content tells the domain, so nothing is subtracted


def test_the_certificate_holds_for_codes_of_any_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    for strength in (0.1, 0.5, 2.0):
        mean = strength * torch.randn(40, 3, 2, generator=generator)
        codes = Gaussian(mean, -torch.rand(40, 3, 2, generator=generator))
        domains, contents = torch.arange(40) % 4, torch.arange(40) // 4
        leak = measure_leak(codes, domains, contents, StandardPrior((3, 2)))
        assert leak.measured <= min(leak.certificate, leak.entropy + 1e-9)
        unknown = measure_leak(codes, domains, None, StandardPrior((3, 2)))
        assert unknown.content is None and unknown.certificate == unknown.kl - unknown.mismatch


def test_what_the_codes_as_a_whole_differ_from_the_prior_is_subtracted() -> None:
    # Every image has the same code, N((3, 0), diag(4, 1)): all of the KL is mismatch.
    codes = Gaussian(torch.tensor([[3.0, 0.0]] * 4), torch.tensor([[math.log(4), 0.0]] * 4))
    leak = measure_leak(codes, DOMAINS, None, PRIOR)
    assert leak.kl == pytest.approx(0.5 * (9 + 4 - math.log(4) - 1))
    assert leak.mismatch == pytest.approx(leak.kl)
    assert leak.certificate == pytest.approx(0, abs=1e-6)


def test_the_moments_are_those_of_draws() -> None:
    torch.manual_seed(0)
    codes = Gaussian(2 * torch.randn(30, 3) + 1, torch.randn(30, 3))
    draws = torch.cat([codes.sample() for _ in range(20_000)]).double()
    fitted = torch.distributions.MultivariateNormal(draws.mean(0), draws.T.cov())
    prior = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    )
    expected = float(torch.distributions.kl_divergence(fitted, prior))
    assert moment_kl(codes) == pytest.approx(expected, rel=0.01)


def test_densities_are_those_of_the_gaussians() -> None:
    codes = Gaussian(torch.randn(5, 2, 3), torch.randn(5, 2, 3))
    draws = torch.randn(4, 2, 3)
    expected = torch.stack([codes.log_prob(draw[None]) for draw in draws])
    constant = 0.5 * 6 * math.log(2 * math.pi)
    torch.testing.assert_close(log_densities(draws, codes).float(), expected + constant)


def test_a_learned_prior_is_the_prior_and_the_callers_generator_is_untouched() -> None:
    prior = MixturePrior((2,), 3)
    before = torch.get_rng_state()
    leaks = [measure_leak(grid(0.3, 1, 1, 50), DOMAINS.repeat(50), None, prior) for _ in range(2)]
    assert leaks[0] == leaks[1] and leaks[0].kl != measure_leak(grid(0.3, 1, 1), DOMAINS, None, PRIOR).kl
    assert torch.equal(torch.get_rng_state(), before)


def test_in_words() -> None:
    words = str(Leak(kl=5.0, mismatch=0.25, content=3.65, shared=0.0, entropy=1.5, measured=0.7))
    assert words == (
        "a draw of the content tells at most 1.10 nats about the domain (KL 5.00, less 0.25 of mismatch with "
        "the prior, less 3.65 about the content), whose entropy is 1.50; among these images it tells 0.70"
    )
    assert "which excludes nothing" in str(Leak(9.0, 0.0, None, 0.0, 1.5, 0.7))
    assert "and 0.20 that content and domain share" in str(Leak(5.0, 0.0, 3.0, 0.2, 1.5, 0.7))
