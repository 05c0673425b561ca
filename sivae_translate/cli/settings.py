"""``sivae-translate settings``."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """List every setting of a configuration with its default."""


def run(_: Settings) -> int:
    """``sivae-translate settings``."""
    print("\n".join(listing(min(shutil.get_terminal_size().columns, 110))))  # noqa: T201 - the command's result
    return 0


def listing(width: int) -> Iterator[str]:
    """The lines of the listing: first the settings that most people change, then those of each section.

    Args:
        width: width in characters.
    """
    from sivae_translate.cli.parser import FIRST
    from sivae_translate.config import Config, field_names

    yield "Use --section.name VALUE, or name: value below its section in a file."
    texts = dict(field_names())
    yield from _group("The settings that most people change", ((name, texts[name]) for name in FIRST), width)
    for section, info in Config.model_fields.items():
        about = " ".join((info.annotation.__doc__ or "").split())
        names = ((name, text) for name, text in texts.items() if name.startswith(f"{section}."))
        yield from _group(f"{section}: {about.partition('. ')[0].rstrip('.')}", names, width)


def _group(title: str, settings: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    yield ""
    yield from textwrap.wrap(title, width)
    for name, text in settings:
        yield f"  {name}"
        yield from textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
