"""Self-contained pages of results: pictures with numbers, to sort and to filter in a browser."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from PIL import Image

from sivae_translate.utils.files import write_text
from sivae_translate.utils.resources import asset_path
from sivae_translate.utils.text import printable

PER_PAGE = 200
SIDE = 128
"""Longest side of a picture on a page, in pixels; smaller pictures keep their pixels."""
GENERATOR = b'<meta name="generator" content="sivae-translate">'
"""What our own pages have in their head."""
TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Entry:
    """A row of a page.

    Attributes:
        name: what it is; any text.
        pictures: by the name of their column.
        values: numbers by the name of their column.
        verdict: whether its source is like the training data; empty if nobody has looked.
        score: what verdicts are sorted by; None sorts them as text.
        unusual: whether its source is unlike the training data.
    """

    name: str
    pictures: Mapping[str, Image.Image]
    values: Mapping[str, float] = field(default_factory=dict)
    verdict: str = ""
    score: float | None = None
    unusual: bool = False


def write_pages(
    path: Path, title: str, entries: Iterable[Entry], count: int, summary: Sequence[str] = ()
) -> list[Path]:
    """Write a page, or several that link to each other, without anything outside them.

    Args:
        path: the first page; the others are ``NAME-2.html`` and so on.
        title: heading of the pages.
        entries: the rows; those of one page at a time are in memory.
        count: how many rows there are.
        summary: lines below the heading.

    Raises:
        OutputError: the folder cannot be written to.
    """
    pages = max(1, -(-count // PER_PAGE))
    names = [path, *(path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(2, pages + 1))]
    rows = iter(entries)
    for number, place in enumerate(names, 1):
        some = list(islice(rows, PER_PAGE))
        write_text(place, _page(title, some, summary, number, [one.name for one in names]))
    _remove_more(path, pages)
    return names


def _page(title: str, entries: list[Entry], summary: Sequence[str], number: int, pages: list[str]) -> str:
    """One page as HTML; every text is escaped."""
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(asset_path(TEMPLATE).read_text(encoding="utf-8"))
    return template.render(
        title=printable(title),
        summary=[printable(line) for line in summary],
        entries=[_shown(entry) for entry in entries],
        pictures=list(dict.fromkeys(_names(entry.pictures for entry in entries))),
        values=list(dict.fromkeys(_names(entry.values for entry in entries))),
        verdicts=any(entry.verdict for entry in entries),
        number=number,
        pages=pages,
        side=SIDE,
    )


def _names(columns: Iterable[Mapping[str, object]]) -> Iterator[str]:
    return (name for one in columns for name in one)


def _shown(entry: Entry) -> dict[str, object]:
    """An entry as the template takes it."""
    return {
        "name": printable(entry.name),
        "pictures": {name: _inline(picture) for name, picture in entry.pictures.items()},
        "numbers": entry.values,
        "verdict": printable(entry.verdict),
        "score": entry.score,
        "unusual": entry.unusual,
        "small": all(max(picture.size) <= SIDE // 2 for picture in entry.pictures.values()),
    }


def _inline(picture: Image.Image) -> str:
    """A picture as a data URL: small ones without loss, large ones reduced."""
    shown = picture if picture.mode in ("L", "RGB", "RGBA") else picture.convert("RGB")
    lossless = max(shown.size) <= SIDE
    if not lossless:
        shown = shown.copy()
        shown.thumbnail((2 * SIDE, 2 * SIDE))  # sharp on screens with more pixels
    file = io.BytesIO()
    shown.save(file, "WEBP", lossless=lossless, quality=90)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _remove_more(path: Path, pages: int) -> None:
    """Remove later pages of an earlier call, which had more of them."""
    number = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    for other in path.parent.iterdir():
        match = number.fullmatch(other.name)
        if match and int(match[1]) > pages and GENERATOR in other.read_bytes()[:1000]:
            other.unlink()
