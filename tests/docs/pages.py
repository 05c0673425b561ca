"""The pages of the documentation, as the tests read them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ITEM = re.compile(r"^(?: *[-*] | *\d+\. |:   )")


def name(page: Path) -> str:
    """For the names of tests: the path from the repository's root."""
    return page.relative_to(ROOT).as_posix()


def front_matter_and_body(page: Path) -> tuple[str, str]:
    """The YAML between two lines of dashes at the top, where there is any, and the rest."""
    text = page.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return "", text
    _, front, body = text.split("---\n", 2)
    return front, body


def blocks(page: Path, language: str) -> list[str]:
    """Fenced code in one language."""
    return [match[3] for match in FENCE.finditer(front_matter_and_body(page)[1]) if match[2] == language]


def prose(page: Path) -> str:
    """A page without code and front matter."""
    text = FENCE.sub("", front_matter_and_body(page)[1])
    return "\n".join(line for line in text.split("\n") if not line.startswith("    ") or ITEM.match(line))


def code_lines(page: Path) -> Iterator[str]:
    """Lines of fenced and indented code, continued lines joined, and code within sentences."""
    text = front_matter_and_body(page)[1]
    yield from re.sub(r" *\\\n *", " ", text).split("\n")
    # A sentence may break within its code.
    yield from (match[1] for match in INLINE.finditer(re.sub(r"(?<=\S)\n(?=\S)", " ", prose(page))))


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Arguments of every call of a program in a page's code."""
    for line in code_lines(page):
        start = line.strip().removeprefix("$ ")
        if start.startswith(f"{program} "):
            yield shlex.split(start, comments=True)[len(program.split()) :]
