"""What a checkpoint holds comes back to the bit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sivae_translate.training import checkpoints
from sivae_translate.training.checkpoints import Progress


def trained(sizes: list[int], seed: int, steps: int) -> tuple[nn.Module, torch.optim.Adam]:
    """Layers of some widths after a few steps of Adam."""
    torch.manual_seed(seed)
    module = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(3, sizes[0])).square().sum().backward()
        optimizer.step()
    return module, optimizer


@settings(max_examples=10)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    seed=st.integers(0, 100),
    steps=st.integers(1, 3),
    progress=st.builds(
        Progress,
        step=st.integers(0, 10**9),
        seconds=st.floats(0, 1e9),
        best_score=st.none() | st.floats(-1e9, 1e9),
    ),
)
def test_a_checkpoint_comes_back(
    tmp_path: Path, sizes: list[int], seed: int, steps: int, progress: Progress
) -> None:
    module, optimizer = trained(sizes, seed, steps)
    checkpoints.save(tmp_path / "step", {"net": module}, {"adam": optimizer}, progress)
    other, fresh = trained(sizes, seed + 1, 1)
    assert checkpoints.load(tmp_path / "step", {"net": other}, {"adam": fresh}) == progress
    for name, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            assert torch.equal(fresh.state_dict()["state"][index][key], value)
