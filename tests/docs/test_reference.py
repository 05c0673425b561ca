"""What the site makes itself: settings, commands, and docstrings as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest

from assets.make_docs import EXAMPLE, LOADS, commands_text, describe, settings_text
from sivae_translate.cli.app import COMMANDS
from sivae_translate.config import field_names


def test_every_setting_is_listed_with_its_default_and_text() -> None:
    text = settings_text()
    for name, line in field_names():
        assert f"`{name}`{{ #{name} }}" in text
        description = line.rpartition(" (default ")[0]
        assert description in text
    assert "whole number; default `32`" in text


def test_every_command_is_listed_with_its_help() -> None:
    text = commands_text()
    for name in COMMANDS:
        assert f"### {name}\n" in text
        assert f"usage: sivae-translate {name}" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "whole number"),
        (float | None, "number, or none"),
        (Path | None, "path, or none"),
        (Annotated[bool, "why"], "true or false"),
        (Literal["a", "b"], "one of `a`, `b`"),
        (tuple[int, ...], "list"),
    ],
)
def test_types_are_described_in_words(kind: object, words: str) -> None:
    assert describe(kind) == words


def test_an_example_in_a_docstring_is_found_with_its_output() -> None:
    text = "Before.\n\n>>> a = [\n...     1,\n... ]\n>>> print(a)\n[1]\n\nAfter."
    (example,) = EXAMPLE.findall(text)
    assert example == ">>> a = [\n...     1,\n... ]\n>>> print(a)\n[1]\n"


def test_what_a_page_loads_is_told_from_what_it_links_to() -> None:
    page = '<a href="https://a.org">a</a> <link rel="x" href="style.css"> <script src="x.js"></script>'
    assert not LOADS.findall(page)
    assert LOADS.findall('<link rel="stylesheet" href="https://b.org/x.css">') == ["https://b.org/x.css"]
    assert LOADS.findall("<img alt=p src='https://c.org/p.png'>") == ["https://c.org/p.png"]
