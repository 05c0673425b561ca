"""Progress bars, drawn by rich; short loops show none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
console = Console(stderr=True, soft_wrap=not Console(stderr=True).is_terminal, markup=False)
"""For notes and lists. They are wrapped on a terminal only: elsewhere a program reads them line by line.
File names may contain brackets, so markup is off; use ``style=`` for colours."""


def progress_bar(*fields: str, transient: bool = False, silent: bool = False) -> Progress:
    """A bar with count, elapsed and remaining time.

    ``fields`` are shown after it; ``update(task, name=...)`` sets them.
    """
    extra = [TextColumn("{task.fields[" + name + "]}") for name in fields]
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("<"),
        TimeRemainingColumn(),
        *extra,
        console=console,
        transient=transient,
        disable=silent,
        refresh_per_second=4,
    )


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """Iterate with a bar that disappears at the end; short sequences show none."""
    if len(items) < 50 or not console.is_terminal:
        yield from items
        return
    with progress_bar(transient=True) as bar:
        task = bar.add_task(escape(description), total=len(items))
        for item in items:
            yield item
            bar.advance(task)
