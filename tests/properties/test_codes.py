"""Codes and Gaussians behave as batches: indexing and joining undo each other."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sivae_translate.models.codes import Codes, Gaussian, Posterior


@st.composite
def gaussians(draw: st.DrawFn) -> Gaussian:
    """Gaussians of some codes of four numbers."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    shape = (draw(st.integers(1, 6)), 4)
    return Gaussian(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator))


@given(st.lists(gaussians(), min_size=1, max_size=4))
def test_joined_gaussians_are_cut_into_the_same_parts(parts: list[Gaussian]) -> None:
    joined = Gaussian.join(parts)
    begin = 0
    for part in parts:
        end = begin + len(part.mean)
        assert torch.equal(joined[begin:end].mean, part.mean)
        assert torch.equal(joined[begin:end].logvar, part.logvar)
        begin = end
    assert begin == len(joined.mean)


@given(gaussians(), st.data())
def test_a_kl_belongs_to_its_code_whatever_the_order(gaussian: Gaussian, data: st.DataObject) -> None:
    order = torch.tensor(data.draw(st.permutations(range(len(gaussian.mean)))))
    assert gaussian[order].kl().tolist() == pytest.approx(gaussian.kl()[order].tolist(), rel=1e-5)
    assert (gaussian.kl() >= 0).all()


@given(gaussians())
def test_the_kl_to_itself_is_zero(gaussian: Gaussian) -> None:
    unit = Gaussian(gaussian.mean, torch.zeros_like(gaussian.mean))
    assert unit.kl(gaussian.mean).tolist() == [0.0] * len(gaussian.mean)


@given(gaussians())
def test_no_code_is_more_likely_than_the_mean(gaussian: Gaussian) -> None:
    assert (gaussian.log_prob(gaussian.mean) >= gaussian.log_prob(gaussian.mean + 0.5)).all()


@given(st.integers(1, 6), st.data())
def test_indexing_codes_indexes_content_and_style(count: int, data: st.DataObject) -> None:
    index = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5)))
    content, style = torch.randn(count, 2, 3, 3), torch.randn(count, 4)
    picked = Codes(content, style)[index]
    assert len(picked) == len(index)
    assert torch.equal(picked.content, content[index])
    assert torch.equal(picked.style, style[index])


@given(gaussians(), st.integers(0, 5))
def test_a_posterior_without_width_draws_its_mean(gaussian: Gaussian, seed: int) -> None:
    narrow = Gaussian(gaussian.mean, torch.full_like(gaussian.mean, -torch.inf))
    posterior = Posterior(narrow, narrow)
    drawn = posterior.sample(torch.Generator().manual_seed(seed))
    assert torch.equal(drawn.content, posterior.mean.content)
    assert torch.equal(drawn.style, posterior.mean.style)
