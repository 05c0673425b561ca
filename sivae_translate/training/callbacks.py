"""Callbacks: what other code does at the events of a training.

They run in the process that writes. What one of them raises never costs training: it is printed, and the run
goes on without that callback. Only at the start, when there is nothing to lose, an error ends the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sivae_translate.config import Config
from sivae_translate.training.signals import Interrupted
from sivae_translate.utils.progress import console

Outcome = Literal["finished", "stopped", "interrupted", "failed"]


class StopTraining(Exception):  # noqa: N818 - not an error: a callback wants to stop
    """Raised by a callback to end the run as if its budget were spent: model and report are written.

    >>> class Enough(Callback):
    ...     def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
    ...         if metrics["reconstruction"] < 5:
    ...             raise StopTraining("good enough")
    """


@dataclass(frozen=True)
class RunInfo:
    """The run that begins or goes on.

    Attributes:
        folder: the run folder.
        config: its settings.
        domains: names of the domains.
        step: steps done before; 0 for a new run.
    """

    folder: Path
    config: Config
    domains: tuple[str, ...]
    step: int


class Callback:
    """Base of callbacks for `train`: override the events that matter. Steps may repeat after a rollback."""

    def on_start(self, run: RunInfo) -> None:
        """Training begins or is resumed. What this raises ends the run."""

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of a step, every ``training.log_every`` steps, as in metrics.jsonl."""

    def on_picture(self, step: int, path: Path) -> None:
        """A picture grid was written: every ``training.picture_every`` steps, and grid.png at the end."""

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """A checkpoint was saved."""

    def on_end(self, outcome: Outcome) -> None:
        """Training is over: budget spent, stopped by a callback, interrupted by a signal, or failed."""


class Callbacks:
    """The callbacks of a run.

    Args:
        callbacks: in the order in which they are called.

    Attributes:
        stopped: why a callback has stopped the run; None as long as none has.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.active, self.stopped = list(callbacks), ""

    @contextmanager
    def running(self, run: RunInfo) -> Iterator[None]:
        """Around the training: the start, and the end with its outcome."""
        outcome: Outcome = "failed"
        try:
            for callback in self.active:
                self._run(callback.on_start, run)
            yield
            outcome = "stopped" if self.stopped else "finished"
        except Interrupted:
            outcome = "interrupted"
            raise
        finally:
            self.call("on_end", outcome)

    def call(self, event: str, *arguments: Any) -> None:
        """Call a method of every callback; one that fails is left out from then on."""
        for callback in [*self.active]:
            try:
                self._run(getattr(callback, event), *arguments)
            except Exception as error:  # whatever it is, training matters more
                self.active.remove(callback)
                name = type(callback).__name__
                console.print(
                    f"{name}.{event} failed, training goes on without it: {type(error).__name__}: {error}",
                    style="yellow",
                )

    def _run(self, method: Any, *arguments: Any) -> None:
        try:
            method(*arguments)
        except StopTraining as stop:
            if not self.stopped:
                self.stopped = str(stop) or type(method.__self__).__name__
                console.print(f"stopped: {self.stopped}", highlight=False)
