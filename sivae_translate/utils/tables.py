"""Tables of results: Markdown for reports, rich for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from sivae_translate.utils.text import markdown_text, printable


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table.

    >>> print(*markdown_table(["method", "gain"], [["copying", "0.000"]]), sep=chr(10))
    | method | gain |
    | --- | --- |
    | copying | 0.000 |
    """
    lines = [_markdown_row(header), "|" + " --- |" * len(header)]
    return lines + [_markdown_row(row) for row in rows]


def _markdown_row(cells: Sequence[str]) -> str:
    """One row; what Markdown would understand in a name is escaped."""
    return "| " + " | ".join(map(markdown_text, cells)) + " |"


NAME_WIDTH = 16
"""How many characters a name keeps in a table that is wider than the terminal."""


def terminal_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table for a terminal; the first column is text, the others are numbers.

    If it is too wide, its header is wrapped first, then long names; numbers are never wrapped.
    """
    # No markup: names may contain brackets
    cells = [[Text(printable(cell)) for cell in row] for row in rows]
    table = Table(title=Text(printable(title)))
    for index, name in enumerate(header):
        longest = max((row[index].cell_len for row in cells), default=0)
        width = longest if index else min(longest, NAME_WIDTH)
        table.add_column(Text(name), justify="right" if index else "left", min_width=width)
    for row in cells:
        table.add_row(*row)
    return table


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with ``digits`` decimals; None becomes an empty string."""
    return "" if value is None else f"{value:.{digits}f}"
