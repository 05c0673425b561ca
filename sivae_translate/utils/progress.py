"""Progress bars, drawn by rich; short loops show none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from sivae_translate.utils.text import printable

T = TypeVar("T")


class PlainConsole(Console):
    """A console that shows text as it is.

    File names may contain brackets and control characters, so markup is off (use ``style=`` for colours) and
    nothing in a name commands the terminal.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, with control characters as escapes."""
        plain = (printable(one, keep="\n\t") if isinstance(one, str) else one for one in objects)
        super().print(*plain, **options)


console = PlainConsole(stderr=True, soft_wrap=not Console(stderr=True).is_terminal)
"""For notes and lists. They are wrapped on a terminal only: elsewhere a program reads them line by line."""


def progress_bar(*fields: str, transient: bool = False, silent: bool = False) -> Progress:
    """A bar with count, elapsed and remaining time.

    ``fields`` are shown after it; ``update(task, name=...)`` sets them.
    """
    extra = [TextColumn("{task.fields[" + name + "]}", markup=False) for name in fields]
    return Progress(
        TextColumn("{task.description}", style="bold", markup=False),
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
        task = bar.add_task(printable(description), total=len(items))
        for item in items:
            yield item
            bar.advance(task)
