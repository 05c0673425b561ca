"""Fused normalised activations and modulations against the same written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models import norms
from sivae_translate.models.blocks import ModulatedBlock, Modulations

LAYOUTS = [torch.channels_last, torch.contiguous_format]


def written_out(x: Tensor, scale: Any = 1.0, shift: Any = 0.0) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, correction=0)
    return F.leaky_relu((x - mean) / (variance + 1e-5).sqrt() * scale + shift, 0.2)


def tensors(layout: torch.memory_format, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 6, 5, 4), (3, 6, 1, 1), (3, 6, 1, 1))
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [x.to(dtype).contiguous(memory_format=layout).requires_grad_() for x in made]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("in_style", [False, True])
def test_values_and_gradients_are_those_of_the_formula(
    layout: torch.memory_format, dtype: torch.dtype, in_style: bool
) -> None:
    given = tensors(layout, dtype)[: 3 if in_style else 1]
    fused: Any = norms.activated_in_style if in_style else norms.activated
    exact = [x.detach().double().requires_grad_() for x in given]
    found, expected = fused(*given), written_out(*exact)
    assert found.dtype == dtype
    near = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.06}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=near, atol=near)
    with torch.no_grad():
        torch.testing.assert_close(fused(*given).double(), expected, rtol=near, atol=near)
    weights = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).reshape(found.shape)
    gradients = torch.autograd.grad((found * weights.to(dtype)).sum(), given)
    for one, other in zip(gradients, torch.autograd.grad((expected * weights).sum(), exact), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=near, atol=4 * near)


def test_without_the_shorter_way_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    (x, *_) = tensors(torch.channels_last, torch.float32)
    results = []
    for short in (True, False):
        monkeypatch.setattr(norms, "_group_norm_takes_pixels", lambda short=short: short)
        out = norms.activated(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    assert norms._lies_by_pixels(x)
    torch.testing.assert_close(*results)


def test_modulations_are_those_of_every_block_alone() -> None:
    torch.manual_seed(0)
    blocks = [ModulatedBlock(channels, 8) for channels in (6, 4)]
    style = torch.randn(3, 8)
    for block, found in zip(blocks, Modulations(blocks)(style), strict=True):
        scale1, shift1, scale2, shift2 = block.modulation(style)[:, :, None, None].chunk(4, 1)
        torch.testing.assert_close(list(found), [1 + scale1, shift1, 1 + scale2, shift2])
