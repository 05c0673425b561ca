"""Operations and throughput of an engine's translations."""

from __future__ import annotations

import time

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sivae_translate.inference.engine import Engine

BATCHES = (1, 64)
SECONDS = 0.5
"""Seconds to measure a batch size for, at least one call."""


def measure_speed(engine: Engine) -> tuple[float, dict[int, float]]:
    """Measure translation, or reconstruction for a plain model, with noise of the model's size.

    Returns:
        Floating-point operations per image, and images per second by batch size.
    """
    with FlopCounterMode(display=False) as counter:
        _work(engine, _noise(engine, 1))
    return float(counter.get_total_flops()), {batch: _rate(engine, batch) for batch in BATCHES}


def _rate(engine: Engine, batch: int) -> float:
    """Images per second, the best of several calls."""
    images, best, began = _noise(engine, batch), float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - began < SECONDS:
        _wait(engine.device)
        start = time.perf_counter()
        _work(engine, images)
        _wait(engine.device)
        best = min(best, time.perf_counter() - start)
    return batch / best


def _noise(engine: Engine, batch: int) -> Tensor:
    return engine.place(torch.rand(batch, *engine.model.image_shape))


def _work(engine: Engine, images: Tensor) -> None:
    style = torch.zeros(1, engine.model.style_dim) if engine.model.translates else None
    engine.process(images, style)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
