"""How much memory the graphs of a computation hold at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Meter:
    """Counts the bytes of tensors that are kept for backward passes, each storage once.

    Attributes:
        most: the most bytes so far.
    """

    most: int = 0

    def __post_init__(self) -> None:
        self.holders: dict[int, int] = {}
        self.now = 0

    def add(self, key: int, count: int, size: int) -> None:
        """Note that a storage has so many holders more, or less."""
        before = self.holders.get(key, 0)
        self.holders[key] = before + count
        self.now += size * ((before + count > 0) - (before > 0))
        self.most = max(self.most, self.now)


class _Held:
    """A tensor that a graph keeps."""

    def __init__(self, tensor: Tensor, meter: Meter) -> None:
        storage = tensor.untyped_storage()
        self.tensor, self.meter, self.key, self.size = tensor, meter, storage.data_ptr(), storage.nbytes()
        meter.add(self.key, 1, self.size)

    def __del__(self) -> None:
        self.meter.add(self.key, -1, self.size)


def peak_saved(work: Callable[[], object]) -> int:
    """The most bytes that graphs hold at a time while something is computed."""
    meter = Meter()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: _Held(tensor, meter), lambda held: held.tensor
    ):
        work()
    return meter.most
