"""Counts the operators that a training step of the default model dispatches, by operator and phase.

    python -m benchmarks.operators
    python -m benchmarks.operators --side 256 --precision float32

On a GPU the cost of a small model's step is dominated by launching operators, and on any device the count
shows where time is lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.common import read_options
from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training.averaging import average_of, update_average
from sivae_translate.training.step import Stepper
from sivae_translate.utils.devices import autocast
from sivae_translate.utils.tables import markdown_table

PHASES = {"ELBO": 0.1, "back-translation": 0.45, "introspection": 0.8}
"""Fractions of the training at which the default objective is in its three phases."""
BATCH = 4


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operators that are dispatched while it is active.

    Attributes:
        count: by name.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, then run."""
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def count_operators(side: int = 64, dtype: torch.dtype = torch.bfloat16) -> dict[str, Counter[str]]:
    """Operators of a steady step in every phase, including the averaging of weights.

    Args:
        side: side of the images.
        dtype: precision of matrix products, on the CPU.
    """
    config = load_config(None, {"data.image_size": side})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = average_of(model)
    stepper = Stepper(make_objective(config.objective, model), config.training.clip_norm)
    images = torch.rand(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
    batch = Batch(images, torch.arange(BATCH) * 2 // BATCH)
    counts, number = {}, 0
    for phase, progress in PHASES.items():
        for _ in range(2):  # the first step of a phase may do extra work
            number += 1
            with Operators() as operators:
                stepper.step(batch, progress, 1e-3, number, _passes_in(dtype))
                update_average(average, model, 0.9, number)
        counts[phase] = operators.count
    return counts


def _passes_in(dtype: torch.dtype) -> Callable[[], AbstractContextManager[object]]:
    """The context in which the trainer runs passes."""
    return nullcontext if dtype == torch.float32 else lambda: autocast(torch.device("cpu"), dtype)


def table(counts: dict[str, Counter[str]]) -> str:
    """A Markdown table with one row per operator, most frequent of the last phase first, after the sums."""
    order = sorted(
        {name for count in counts.values() for name in count}, key=lambda name: (_key(counts, name), name)
    )
    sums = ["all", *(str(count.total()) for count in counts.values())]
    lines = [[name, *(str(count[name]) for count in counts.values())] for name in order]
    return "\n".join(markdown_table(["operator", *counts], [sums, *lines]))


def _key(counts: dict[str, Counter[str]], name: str) -> tuple[int, ...]:
    return tuple(-count[name] for count in reversed(counts.values()))


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    side: Literal[32, 64, 128, 256] = 64
    precision: Literal["bfloat16", "float32"] = "bfloat16"


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    print(table(count_operators(given.side, getattr(torch, given.precision))))
