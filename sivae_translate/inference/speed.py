"""Operations and throughput of an engine's translations."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from sivae_translate.inference.engine import Engine
from sivae_translate.utils.measuring import count_flops, seconds

BATCHES = (1, 64)
SECONDS = 0.5
"""Seconds to measure a batch size for, at least one call."""


def measure_speed(engine: Engine) -> tuple[float, dict[int, float]]:
    """Measure translation, or reconstruction for a plain model, with noise of the model's size.

    Returns:
        Floating-point operations per image, and images per second by batch size.
    """
    flops = count_flops(lambda: _work(engine, _noise(engine, 1)))
    return flops, {batch: _rate(engine, batch) for batch in BATCHES}


def _rate(engine: Engine, batch: int) -> float:
    """Images per second, the best of several calls."""
    images, best, began = _noise(engine, batch), float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - began < SECONDS:
        best = min(best, seconds(lambda: _work(engine, images), engine.device))
    return batch / best


def _noise(engine: Engine, batch: int) -> Tensor:
    return engine.place(torch.rand(batch, *engine.model.image_shape))


def _work(engine: Engine, images: Tensor) -> None:
    style = torch.zeros(1, engine.model.style_dim) if engine.model.translates else None
    engine.process(images, style)
