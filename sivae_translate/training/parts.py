"""Gradients of a batch that is computed in parts, one after another, in a fraction of the memory.

The decoder's half needs the passes that both halves share, as they were before the encoders were updated.
Storing them would take the memory that the parts save, so they are run again, with the earlier weights and
the same random draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from sivae_translate.objectives.base import Objective

T = TypeVar("T")


def draw_seeds(count: int) -> tuple[list[int], list[int]]:
    """Seeds of the random draws of every part: in the shared passes, and in the decoder's half."""
    first, second = torch.randint(2**62, (2, count)).tolist()
    return first, second


class EarlierEncoders:
    """The present weights of the encoders, to return to after they are updated.

    Args:
        objective: the objective; a repeated pass does not change its running averages.
        encoders: parameters that the encoders' half updates.
    """

    def __init__(self, objective: Objective, encoders: Sequence[nn.Parameter]) -> None:
        self._encoders = [parameter.detach() for parameter in encoders]
        self._values = _copies(self._encoders)
        modules = (objective.model, *objective.companions().values())
        # Without version counters: BatchNorm saves its averages for the backward pass, but does not read them
        # there in training.
        self._averages = [buffer.data for module in modules for buffer in module.buffers()]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Within this context the encoders have their earlier weights."""
        written = [*self._encoders, *self._averages]
        now = _copies(written)
        try:
            torch._foreach_copy_(self._encoders, self._values)
            yield
        finally:
            torch._foreach_copy_(written, now)


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.clone() for tensor in tensors]


def detached(state: T) -> T:
    """The same numbers without their graph, so that its memory can be freed."""
    if isinstance(state, Tensor):
        return state.detach()  # type: ignore[return-value]
    if isinstance(state, dict):
        return {name: detached(value) for name, value in state.items()}  # type: ignore[return-value]
    if is_dataclass(state) and not isinstance(state, type):
        return type(state)(**{one.name: detached(getattr(state, one.name)) for one in fields(state)})
    return state
