"""Formulas with gradients of their own against the same written out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models import fused

CODE = (3, 2, 4, 4)


def tied(shape: tuple[int, ...]) -> Tensor:
    """Numbers with some that are the greatest more than once."""
    return torch.randn(shape, dtype=torch.float64).clamp(max=0.3)


CASES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "kl": (
        fused.kl_to_unit,
        lambda m, v, p: 0.5 * ((m - p) ** 2 + v.exp() - v - 1).flatten(1).sum(1),
        [CODE, CODE, CODE],
    ),
    "kl of a standard prior": (
        lambda m, v: fused.kl_to_unit(m, v, None),
        lambda m, v: 0.5 * (m**2 + v.exp() - v - 1).flatten(1).sum(1),
        [CODE, CODE],
    ),
    "a draw": (
        lambda m, v: fused.drawn(m, v, torch.ones(CODE, dtype=m.dtype) * 1.7),
        lambda m, v: m + 1.7 * (v / 2).exp(),
        [CODE, CODE],
    ),
    "squared error": (
        fused.squared_error,
        lambda x, t: (x.sigmoid() - t).square().flatten(1).sum(1),
        [CODE, CODE],
    ),
    "squashed": (lambda x: fused.squashed(x, 8.0), lambda x: 8 * (x / 8).tanh(), [CODE]),
    "pooled": (fused.pooled, lambda x: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1), [CODE]),
    "joint linear": (
        lambda x, a, b, c, d: fused.joint_linear(x, [a, b], [c, d]),
        lambda x, a, b, c, d: torch.cat([F.linear(x, a, c), F.linear(x, b, d)], 1),
        [(3, 5), (4, 5), (2, 5), (4,), (2,)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_formula(name: str) -> None:
    short, formula, shapes = CASES[name]
    torch.manual_seed(0)
    given: Any = [tied(shape).requires_grad_() for shape in shapes]
    found, expected = short(*given), formula(*given)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        torch.testing.assert_close(short(*given), expected)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).reshape(found.shape)
    gradients = (torch.autograd.grad((value * weights).sum(), given) for value in (found, expected))
    torch.testing.assert_close(*gradients)
