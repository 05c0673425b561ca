"""Data sets that a list names: CSV, TSV or JSON Lines with a path, domain, split and pair for each image."""

from __future__ import annotations

import csv
import json
import os
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

_MEANT = {
    "domain": {"class", "classes", "label", "labels", "category", "domains"},
    "split": {"splits", "subset", "set", "fold"},
    "pair": {"pairs"},
}
"""What else people call the columns; training without them would be another one than is meant."""

_Domains = dict[str, dict[str, Path]]


def is_list(path: Path) -> bool:
    """Whether a path is that of a list."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_list(path: Path) -> Layout:
    """Read a list of images.

    Paths are relative to the list's folder. Images without a split are for training; those for validation
    are for testing if no image is. A pair's name is shared by images that show the same content.

    Raises:
        DataError: the list cannot be read or is empty, a line has no path, some lines have a domain and
            others do not, a split is unknown, or an image of a domain is listed twice.
    """
    listed: set[tuple[str, str]] = set()
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
        file = (domain, os.path.normpath(place))  # also once for training and once for testing
        if name in files or file in listed:
            raise DataError(f"{where} repeats {name} of domain '{domain}'", remedy="remove one of the lines")
        listed.add(file)
        files[name] = path.parent / place
    if not listed:
        raise DataError(f"{path} lists no images", remedy="give it a line for each image")
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
                        where = f"{path}, line {number}"
                        yield number, _known(_parsed(line, where), where)
                return
            reader = csv.DictReader(stream, delimiter=separator, strict=True)  # also sees a lonely quote
            if "path" not in _known(dict.fromkeys(reader.fieldnames or ()), f"{path}, line 1"):
                raise DataError(
                    f"the first line of {path} does not name a column path",
                    remedy=f"begin it with {separator.join(COLUMNS)}",
                )
            yield from ((reader.line_num, _known(row, "")) for row in reader)
    except csv.Error as error:
        raise DataError(f"cannot read {path}: {error}", remedy="check its quotes and columns") from error
    except (OSError, ValueError) as error:
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


def _known(row: Mapping[Any, Any], where: str) -> Mapping[str, Any]:
    """A line with the names of its columns in small letters and without blanks.

    Raises:
        DataError: a column is missing while another one seems to be meant for it.
    """
    named = {name.strip().lower(): value for name, value in row.items() if isinstance(name, str)}
    for column, others in _MEANT.items():
        if column not in named and (other := min(others & named.keys(), default="")):
            raise DataError(
                f"{where} names a column {other}, and none {column}",
                remedy=f"call it {column}, or, if it is something else, {other}_",
            )
    return named


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
