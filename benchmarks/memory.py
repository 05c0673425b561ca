"""Memory that a training step keeps for backward passes, with and without the settings that save it.

    python -m benchmarks.memory
    python -m benchmarks.memory --model.size base --training.batch 64

The count is the peak of what autograd holds in a step with fakes, in float32, including weights; gradients,
Adam's moments and averaged weights come on top. Times are medians of steps on the CPU, run in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import read_options_and_settings
from benchmarks.measure import alternate
from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import make_stepper
from sivae_translate.utils.tables import markdown_table

CASES: dict[str, dict[str, Any]] = {
    "neither": {},
    "checkpoint_activations": {"training.checkpoint_activations": True},
    "accumulate 4": {"training.accumulate": 4},
    "both": {"training.checkpoint_activations": True, "training.accumulate": 4},
}
PROGRESS = 0.8
"""A time, as a fraction of the training, when fakes take part."""


@dataclass
class Meter:
    """Counts the bytes of tensors that are kept for backward passes, each storage once.

    Attributes:
        most: largest number of bytes so far.
    """

    most: int = 0

    def __post_init__(self) -> None:
        self.holders: dict[int, int] = {}
        self.now = 0

    def add(self, key: int, count: int, size: int) -> None:
        """Change the number of holders of a storage by ``count``."""
        before = self.holders.get(key, 0)
        self.holders[key] = before + count
        self.now += size * ((before + count > 0) - (before > 0))
        self.most = max(self.most, self.now)


class _Held:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: Tensor, meter: Meter) -> None:
        storage = tensor.untyped_storage()
        self.tensor, self.meter, self.key, self.size = tensor, meter, storage.data_ptr(), storage.nbytes()
        meter.add(self.key, 1, self.size)

    def __del__(self) -> None:
        self.meter.add(self.key, -1, self.size)


def peak_saved(work: Callable[[], object]) -> int:
    """Peak of the bytes that graphs hold during a computation."""
    meter = Meter()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: _Held(tensor, meter), lambda held: held.tensor
    ):
        work()
    return meter.most


def stepping(settings: Mapping[str, Any]) -> Callable[[], object]:
    """A function that runs a training step with these settings."""
    config = load_config(None, settings)
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = make_stepper(make_objective(config.objective, model), config.training)
    count = config.training.batch
    images = torch.rand(count, *model.image_shape).contiguous(memory_format=torch.channels_last)
    return partial(stepper.step, Batch(images, torch.arange(count) * 2 // count), PROGRESS, 1e-9, 1)


def table(settings: Mapping[str, Any], rounds: int) -> str:
    """A Markdown table of megabytes kept and milliseconds, with a row for each case."""
    steps = {name: stepping({**settings, **more}) for name, more in CASES.items()}
    kept = {name: peak_saved(step) for name, step in steps.items()}
    seconds = alternate(steps, rounds, torch.device("cpu"))
    rows = [[name, f"{kept[name] / 1e6:,.0f}", f"{1000 * seconds[name]:,.0f}"] for name in CASES]
    return "\n".join(markdown_table(["step", "MB kept", "ms"], rows))


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    rounds: int = 3


if __name__ == "__main__":
    options, settings = read_options_and_settings(Options, __doc__)
    print(table(settings, options.rounds))
