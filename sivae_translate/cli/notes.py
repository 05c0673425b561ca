"""Printing the library's warnings as short lines, without source locations, and only the first ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

SHOWN = 5
"""How many warnings a command prints."""


@contextmanager
def brief_warnings() -> Iterator[None]:
    """Print the first `SHOWN` of the library's own warnings as a line each; others are shown as usual."""
    count = 0
    with warnings.catch_warnings():
        show_others = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            nonlocal count
            if not category.__module__.startswith("sivae_translate."):
                show_others(message, category, filename, lineno, file, line)
                return
            count += 1
            if count <= SHOWN:
                _print(message)
            elif count == SHOWN + 1:
                _print("further warnings are not shown")

        warnings.showwarning = show
        yield


def _print(text: Any) -> None:
    from sivae_translate.utils.progress import console

    console.print(str(text), highlight=False, soft_wrap=True)
