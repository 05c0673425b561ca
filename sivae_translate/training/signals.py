"""Handling of SIGINT and SIGTERM: training saves what it can and stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sivae_translate.utils.progress import console


class Interrupted(Exception):  # noqa: N818 - not an error: the user wants to stop
    """SIGINT or SIGTERM arrived.

    Args:
        signum: which.
        saved: whether a checkpoint was saved; there is nothing to save before the first step.
    """

    def __init__(self, signum: int, *, saved: bool = True) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signum).name}{'' if saved else ' before the first checkpoint'}"
        )
        self.signum, self.saved = signum, saved


@contextmanager
def collect_signals(*, silent: bool = False) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending; a second SIGINT interrupts. Main thread only.

    Args:
        silent: print nothing, since another process of the run does.
    """
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(signum)
        if not silent:
            console.print(f"{signal.Signals(signum).name}: stopping after this step", style="yellow")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
