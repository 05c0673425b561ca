"""The display of a running training: a progress bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich.progress import Progress as ProgressBar
from rich.progress import TaskID

from sivae_translate.training.budget import Budget
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.report import health
from sivae_translate.utils.progress import console, progress_bar

SECONDS = 60.0
"""Minimum time between two lines in seconds."""


class Display:
    """Shows the progress of a training; see `shown`.

    Args:
        budget: budget of the run.
        bar: progress bar with a single task on a terminal; None elsewhere.
        silent: show nothing.
    """

    def __init__(self, budget: Budget, bar: ProgressBar | None, *, silent: bool) -> None:
        self.budget, self.bar, self.silent = budget, bar, silent
        self.task: TaskID | None = None
        self.last: float | None = None
        if bar is not None:
            self.task = bar.add_task(f"training ({budget.unit})", total=budget.total, rate="", health="")

    def show(self, progress: Progress, rate: float, metrics: Mapping[str, float]) -> None:
        """Update the display after a step.

        Args:
            progress: progress of the run.
            rate: steps per second.
            metrics: metrics of the step, or an empty dictionary.
        """
        if self.bar is not None and self.task is not None:
            spent = self.budget.spent(progress)
            self.bar.update(self.task, completed=spent, rate=f"{rate:.1f} steps/s")
            if metrics:
                self.bar.update(self.task, health=health(metrics))
        elif metrics and not self.silent:
            now, over = time.monotonic(), self.budget.share(progress) >= 1
            if self.last is None or over or now - self.last >= SECONDS:
                self.last = now
                console.print(line(self.budget, progress, rate, metrics), highlight=False)


def line(budget: Budget, progress: Progress, rate: float, metrics: Mapping[str, float]) -> str:
    """A line with step, losses, rate and time left."""
    spent, total = budget.spent(progress), budget.total
    if budget.steps is None:
        place, left = f"step {progress.step} ({spent / 60:.1f} of {total / 60:g} min)", total - spent
    else:
        place, left = f"step {progress.step} of {budget.steps}", (total - spent) / max(rate, 1e-9)
    remaining = timedelta(seconds=round(min(max(0.0, left), 1e9)))
    return f"{place}: {health(metrics)}  {rate:.1f} steps/s, {remaining} left"


@contextmanager
def shown(budget: Budget, *, silent: bool = False) -> Iterator[Display]:
    """The display of a training: a progress bar if standard error is a terminal.

    Otherwise it prints a line for the first and last metrics, and between them every ``log_every`` steps or
    every minute, whichever is less frequent.
    """
    if silent or not console.is_terminal:
        yield Display(budget, None, silent=silent)
        return
    with progress_bar("rate", "health") as bar:
        yield Display(budget, bar, silent=False)
