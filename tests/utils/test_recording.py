"""What a recorder asks of CUDA, which is replaced here; graphs themselves are tested in test_cuda.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from sivae_translate.utils.recording import CudaRecorder, reason_of


class Cuda:
    """A stand-in for torch.cuda that notes what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def use(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in place of torch.cuda."""
        patch.setattr(torch.cuda, "Stream", lambda device: Stream(self, "side"))
        patch.setattr(torch.cuda, "current_stream", lambda device: Stream(self, "main"))
        patch.setattr(torch.cuda, "stream", self.noted("stream"))
        patch.setattr(torch.cuda, "device", lambda device: nullcontext())
        patch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        patch.setattr(torch.cuda, "graph", self.graph)
        patch.setattr(torch.cuda, "default_generators", (None, Generator(self)))
        patch.setattr(torch, "Generator", lambda device: Generator(self))

    def noted(self, name: str) -> Any:
        """A context that is noted."""

        @contextmanager
        def context(*_: object, **__: object) -> Iterator[None]:
            self.calls.append(f"{name} begins")
            yield
            self.calls.append(f"{name} ends")

        return context

    def graph(self, graph: object, stream: object, capture_error_mode: str) -> Any:
        """As torch.cuda.graph."""
        assert graph is self
        assert capture_error_mode == "thread_local"
        return self.noted("recording")()

    def replay(self) -> None:
        """As a graph's."""
        self.calls.append("replay")


class Stream:
    """A stream."""

    def __init__(self, cuda: Cuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: Stream) -> None:
        """Note it."""
        self.cuda.calls.append(f"{self.name} waits for {other.name}")


class Generator:
    """A generator."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda

    def initial_seed(self) -> int:
        """A seed."""
        return 42

    def graphsafe_get_state(self) -> str:
        """A state."""
        return "state"

    def graphsafe_set_state(self, state: str) -> None:
        """Note it."""
        self.cuda.calls.append(f"new {state}")

    def manual_seed(self, seed: int) -> None:
        """Note it."""
        self.cuda.calls.append(f"seed {seed}")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """CUDA, replaced."""
    stand_in = Cuda()
    stand_in.use(monkeypatch)
    return stand_in


def test_work_is_recorded_once_and_replayed(cuda: Cuda) -> None:
    recorder = CudaRecorder(torch.device("cuda", 1))
    cached: list[bool] = []

    def work() -> str:
        cached.append(torch.is_autocast_cache_enabled())
        return "result"

    assert recorder.warmed(work) == "result"
    assert cuda.calls == ["side waits for main", "stream begins", "stream ends", "main waits for side"]
    cuda.calls.clear()
    replay = recorder.recorded(work)
    assert replay() == replay() == "result"
    assert cuda.calls == ["recording begins", "recording ends", "replay", "replay"]
    assert cached == [True, False]  # a replay must not read casts of earlier weights
    assert torch.is_autocast_cache_enabled()


def test_random_numbers_go_on_after_a_failed_recording(cuda: Cuda) -> None:
    def work() -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    with pytest.raises(RuntimeError) as failure:
        CudaRecorder(torch.device("cuda", 1)).recorded(work)
    assert reason_of(failure.value) == "operation not permitted"
    assert cuda.calls == ["recording begins", "new state", "seed 42"]
    assert torch.is_autocast_cache_enabled()
