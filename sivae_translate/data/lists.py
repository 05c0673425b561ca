"""Data sets that a list names: CSV, TSV or JSON Lines with a path, domain, split and pair for each image."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sivae_translate.data.layouts import UNLABELLED, Domains, Layout
from sivae_translate.data.split_names import Part, parse
from sivae_translate.utils.errors import DataError

SUFFIXES = {".csv": ",", ".tsv": "\t", ".jsonl": None}
"""Extensions of lists, and what separates their columns."""
COLUMNS = ("path", "domain", "split", "pair")
"""What a list may say of an image; only the path is needed."""

_Domains = dict[str, dict[str, Path]]


def is_list(path: Path) -> bool:
    """Whether a path is that of a list."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_list(path: Path) -> Layout:
    """Read a list of images.

    Paths are relative to the list's folder. Images without a split are for training; those for validation
    are for testing if no image is. A pair's name is shared by images that show the same content.

    Raises:
        DataError: the list cannot be read, a line has no path, some lines have a domain and others do not, a
            split is unknown, or an image of a domain is listed twice.
    """
    parts: dict[Part, _Domains] = {"train": {}, "test": {}, "val": {}}
    labelled: bool | None = None
    has_splits = False
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        place, domain, split, pair = (_text(row, name, where) for name in COLUMNS)
        if not place:
            raise DataError(f"{where} has no path", remedy=f"give each line {', '.join(COLUMNS[:2])}")
        if labelled not in (None, bool(domain)):
            raise DataError(
                f"{where} has {'a' if domain else 'no'} domain, unlike the lines before it",
                remedy="give every line a domain, or none for training without labels",
            )
        labelled, has_splits = bool(domain), has_splits or bool(split)
        files = parts[_part(split, where)].setdefault(domain or UNLABELLED, {})
        name = f"{pair}{Path(place).suffix}" if pair else place
        if name in files:
            raise DataError(f"{where} repeats {name} of domain '{domain}'", remedy="remove one of the lines")
        files[name] = path.parent / place
    train, test, val = (_sorted(parts[part]) for part in ("train", "test", "val"))
    notes = ("validation images are not used",) if test and val else ()
    return Layout(train, test or val, notes, has_splits)


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines of a list with their numbers.

    Raises:
        DataError: the list cannot be read, or has other columns.
    """
    separator = SUFFIXES[path.suffix.lower()]
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if separator is None:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        yield number, _parsed(line, f"{path}, line {number}")
                return
            reader = csv.DictReader(stream, delimiter=separator)
            if "path" not in (reader.fieldnames or ()):
                raise DataError(
                    f"the first line of {path} does not name a column path",
                    remedy=f"begin it with {separator.join(COLUMNS)}",
                )
            yield from ((reader.line_num, row) for row in reader)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {error}", remedy="save it as UTF-8 text") from error


def _parsed(line: str, where: str) -> Mapping[str, Any]:
    """A line of JSON Lines.

    Raises:
        DataError: it is something else.
    """
    with suppress(ValueError, RecursionError):
        row = json.loads(line)
        if isinstance(row, dict):
            return row
    raise DataError(f"{where} is no JSON object", remedy=f"write lines like {_example()}")


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    """A value of a line without blanks around it; empty if there is none.

    Raises:
        DataError: it is neither a text nor a number.
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise DataError(f"{where}: {name} is not a text", remedy=f"write lines like {_example()}")
    return str(value).strip()


def _example() -> str:
    return json.dumps({"path": "images/1.jpg", "domain": "day", "split": "train"})


def _part(split: str, where: str) -> Part:
    """The split that a text means.

    Raises:
        DataError: there is no such split.
    """
    parsed = parse(split) if split else None
    if split and (parsed is None or parsed.label):
        raise DataError(f"{where}: there is no split '{split}'", remedy="choose train, test or val")
    return parsed.part if parsed else "train"


def _sorted(domains: _Domains) -> Domains:
    """Domains and their files in the order of their names."""
    return {domain: dict(sorted(files.items())) for domain, files in sorted(domains.items())}
