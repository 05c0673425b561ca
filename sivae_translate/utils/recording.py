"""Recording work on a GPU as a CUDA graph, which is launched at once instead of one operator after another.

A replay repeats the recorded operators on the same memory and runs no Python. Whatever changes between
replays has to lie in tensors that keep their place, and the host may read nothing while work is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
WARM_UP = 3
"""How often a step runs before it is recorded, so that memory and libraries are ready."""


class Recorder(Protocol):
    """Records work on a device."""

    def warmed(self, work: Callable[[], T]) -> T:
        """Run work as it will be recorded."""

    def recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        """Record work without running it.

        Returns:
            a replay, whose result lies in the same memory each time.

        Raises:
            RuntimeError: the work cannot be recorded; nothing has changed.
        """


class CudaRecorder:
    """Records CUDA graphs.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Libraries keep handles for each stream: they are made in the warm-up, not during the recording.
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warmed(self, work: Callable[[], T]) -> T:
        """Run work on the stream that will record it."""
        present = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(present)
        with torch.cuda.stream(self.stream):
            result = work()
        present.wait_stream(self.stream)
        return result

    def recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        """Record a graph; see `Recorder.recorded`."""
        graph, generator = torch.cuda.CUDAGraph(), self._generator()
        seed = generator.initial_seed()
        # Other threads, such as the one that pins batches in memory, go on during the recording.
        recording = torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local")
        try:
            with torch.cuda.device(self.device), _uncached_autocast(), recording:
                result = work()
        except BaseException:
            # After a failed recording, the generator may wait for its end for ever: its state is replaced.
            generator.graphsafe_set_state(torch.Generator(self.device).graphsafe_get_state())
            generator.manual_seed(seed)
            raise

        def replay() -> T:
            graph.replay()
            return result

        return replay

    def _generator(self) -> torch.Generator:
        """The default generator of the device."""
        index = self.device.index
        return torch.cuda.default_generators[torch.cuda.current_device() if index is None else index]


@contextmanager
def _uncached_autocast() -> Iterator[None]:
    """Autocast keeps no casts of weights: a replay would read casts of the weights when it was recorded."""
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def reason_of(error: RuntimeError) -> str:
    """The first line of an error, for a line that says why work is not recorded."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
