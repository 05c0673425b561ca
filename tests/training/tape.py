"""A stand-in for a CUDA graph on the CPU: a tape of operators, replayed without any Python of the step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")
UNDECLARED = ("running_mean", "running_var")
"""Arguments that operators write to without saying so."""
HOST_READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal")
HOST_COPIES = ("lift_fresh",)
"""What torch.tensor calls, whose numbers a device has to copy from the host."""


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operators with the very tensors they read and write.

    As in a graph, numbers that Python passed are fixed, tensors keep their places, random numbers come from
    the default generator, and the host must neither read nor send anything.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operator and run it."""
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in (*HOST_READS, *HOST_COPIES):
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        for argument, value in zip(func._schema.arguments, args, strict=False):
            declared = argument.alias_info is not None and argument.alias_info.is_write
            if declared or argument.name in UNDECLARED:
                self._keep(value)
        out = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, out))
        given = {_place(one) for one in _tensors((args, kwargs))}
        self.made |= {_place(one) for one in _tensors(out)} - given
        return out

    def _keep(self, written: Any) -> None:
        """Keep what a tensor from before the recording contains."""
        for one in _tensors(written):
            if _place(one) not in self.made and _place(one) not in self.before:
                self.before[_place(one)] = one, one.clone()

    @torch.no_grad()
    def undo(self) -> None:
        """Restore what was there before the recording, which does not run what it records."""
        for present, before in self.before.values():
            present.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        """Repeat all operators on the same tensors."""
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(out), _tensors(again), strict=True):
                if old is not new and _place(old) != _place(new):
                    old.copy_(new)


class TapeRecorder:
    """Records tapes.

    Attributes:
        tapes: those recorded.
        warm: how many updates ran without being recorded.
    """

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.warm = 0

    def warmed(self, work: Callable[[], T]) -> T:
        """Run work."""
        self.warm += 1
        return work()

    def recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        """Record work and undo it."""
        random = torch.get_rng_state()
        with Tape() as tape:
            result = work()
        tape.undo()
        torch.set_rng_state(random)
        self.tapes.append(tape)

        def replay() -> T:
            tape.replay()
            return result

        return replay


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in tree_leaves(values) if isinstance(one, Tensor)]
