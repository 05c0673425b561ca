"""Replayed translations are translations; a tape of operators stands in for a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from sivae_translate.inference.engine import Engine
from sivae_translate.inference.replays import KEPT, Replays
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.recording import WARM_UP
from tests.training.tape import TapeRecorder

T = TypeVar("T")


def inputs(engine: Engine, count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 32, 32, generator=generator), engine.prior_mean(seed % 3)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_replayed_translations_are_translations(dtype: Precision) -> None:
    engine = Translator.from_pretrained("glyphs", device="cpu", dtype=dtype).engine
    recorder = TapeRecorder()
    plain: list[Tensor] = []
    calls = [(count, seed) for seed in range(WARM_UP + 3) for count in (1, 3)]
    plain = [engine.translate(*inputs(engine, *call)) for call in calls]
    engine._replays = Replays(engine._translate, recorder)
    found = [engine.translate(*inputs(engine, *call)) for call in calls]
    for one, other in zip(found, plain, strict=True):  # none was overwritten by a later one
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert len(recorder.tapes) == KEPT == 2


def test_sizes_that_come_no_longer_are_forgotten() -> None:
    recorder, weight = TapeRecorder(), torch.tensor(2.0)
    replays = Replays(lambda images, codes: images.sum((1, 2, 3)) * weight + codes.sum(1), recorder)

    def call(count: int) -> None:
        images, codes = torch.rand(count, 1, 4, 4), torch.rand(count, 2)
        expected = images.sum((1, 2, 3)) * weight + codes.sum(1)
        torch.testing.assert_close(replays(images, codes), expected)

    for count in (1, 1, 1, 1, 8, 8, 8, 8, 5, 1):  # 5 takes the place of 1
        call(count)
    assert len(recorder.tapes) == 2
    weight.fill_(3.0)  # weights may change in place
    for _ in range(WARM_UP):
        call(1)
    assert len(recorder.tapes) == 3
    call(5)


class Broken(TapeRecorder):
    """A recorder on a device that cannot record."""

    def recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        """Fail as CUDA does."""
        self.tapes.append(None)  # type: ignore[arg-type]
        raise RuntimeError("CUDA error: out of memory")


def test_what_cannot_be_recorded_is_called() -> None:
    recorder = Broken()
    replays = Replays(lambda images, codes: images.sum((1, 2, 3)) + codes.sum(1), recorder)
    for seed in range(2 * WARM_UP):
        images, codes = torch.full((2, 1, 2, 2), float(seed)), torch.ones(2, 3)
        assert replays(images, codes).tolist() == [4 * seed + 3] * 2
    assert len(recorder.tapes) == 1  # it was tried once
