"""What a call does on a GPU: how long its kernels run, how many there are, how often the host launches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from benchmarks.measure import Figures
from sivae_translate.utils.measuring import synchronise

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
"""How names of calls that start work begin; a graph is one, however many kernels it has."""


def profile(work: Callable[[], object], device: torch.device) -> Figures:
    """Profile one call; it should have been called before."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    synchronise(device)
    with torch.profiler.profile(activities=activities) as profiler:
        work()
        synchronise(device)
    return count_events(profiler.events())


def count_events(events: Iterable[Any]) -> Figures:
    """Kernels, their time and the host's launches among a profiler's events."""
    time = kernels = launches = 0.0
    for event in events:
        if event.device_type.name == "CUDA":
            time += event.time_range.elapsed_us() / 1000
            kernels += 1
        elif event.name.startswith(LAUNCHES):
            launches += 1
    return {"kernel ms": time, "kernels": kernels, "launches": launches}
