"""Runs with several processes, started by torchrun.

Gradients are averaged by DistributedDataParallel (`sivae_translate.training.step`). This module exchanges a
few other numbers: metrics are means over processes, and if one process has to stop, all stop after the same
step.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.progress import console


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: rank of this process; rank 0 writes files.
        size: number of processes.
        local: rank of this process on its machine, which is the index of its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def writes(self) -> bool:
        """Whether this process writes checkpoints, logs and pictures."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device for a setting; with several processes, each has its own GPU.

        Raises:
            ConfigError: see `pick_device`.
        """
        device = pick_device(name)
        return torch.device("cuda", self.local) if self.size > 1 and device.type == "cuda" else device

    def share(self, batch: int, parts: int = 1) -> int:
        """How many images of a batch this process gets.

        Args:
            batch: size of the whole batch.
            parts: number of parts that each process computes its images in.

        Raises:
            ConfigError: they cannot be divided evenly, or each process would get fewer than two.
        """
        pairs = 2 * parts * self.size
        if parts > 1 and batch % pairs:
            raise ConfigError(
                f"training.batch = {batch} cannot be computed in {parts} parts of pairs of images"
                + (f" by {self.size} processes" if self.size > 1 else ""),
                remedy=f"give a multiple of {pairs}, or a smaller training.accumulate",
            )
        if batch % self.size or batch < 2 * self.size:
            raise ConfigError(
                f"training.batch = {batch} cannot be divided among {self.size} processes",
                remedy=f"give a multiple of {self.size}, {2 * self.size} or more",
            )
        return batch // self.size

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line, from one process only."""
        if self.writes:
            console.print(text, style=style, highlight=False, soft_wrap=True)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier()

    def greatest(self, values: Sequence[float], device: torch.device) -> list[float]:
        """The maximum of each number over processes."""
        return self._reduced(values, device, dist.ReduceOp.MAX) if self.size > 1 else list(values)

    def mean(self, metrics: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Means of metrics over processes; all processes have the same names."""
        if self.size == 1 or not metrics:
            return dict(metrics)
        sums = self._reduced(list(metrics.values()), device, dist.ReduceOp.SUM)
        return {name: total / self.size for name, total in zip(metrics, sums, strict=True)}

    @staticmethod
    def _reduced(
        values: Sequence[float], device: torch.device, operation: dist.ReduceOp.RedOpType
    ) -> list[float]:
        shared: Tensor = torch.tensor(list(values), dtype=torch.float64, device=device)
        dist.all_reduce(shared, operation)
        return [float(value) for value in shared]


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun has started, or use only this one.

    Raises:
        ConfigError: the processes cannot connect to each other.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local)
    try:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"process {world.rank} of {size} did not find the others: {error}",
            remedy="start all of them with torchrun",
        ) from error
    try:
        yield world
        # Gloo's threads may still hold tensors of the last sums; freeing them while Python exits would abort
        # the process.
        world.wait()
    finally:
        gc.collect()
        dist.destroy_process_group()
