"""A step of the default model stays within its number of operators."""

from __future__ import annotations

import pytest
import torch

from benchmarks import operators

CEILING = {"ELBO": 550, "back-translation": 800, "introspection": 1200}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_of_every_phase_stays_below_its_ceiling(dtype: torch.dtype) -> None:
    counts = operators.count_operators(dtype=dtype)
    assert {phase: count.total() for phase, count in counts.items() if count.total() > CEILING[phase]} == {}
    assert counts["introspection"]["convolution"] > counts["ELBO"]["convolution"] > 30
    head, _, sums, first, *_ = operators.table(counts).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["operator", *CEILING]
    assert str(counts["introspection"].total()) in sums
    assert str(counts["introspection"].most_common(1)[0][1]) in first
