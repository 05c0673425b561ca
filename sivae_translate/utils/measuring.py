"""Seconds and operations of a computation."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of one call."""
    synchronise(device)
    began = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - began


def count_flops(work: Callable[[], object]) -> float:
    """Floating-point operations of the matrix products and convolutions in a call, with backward passes.

    A multiplication and an addition count as 2.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())
