"""Pages are readable as text, and their links lead somewhere."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml

import sivae_translate
from tests.docs.pages import DOCS, FENCE, PAGES, ROOT, blocks, front_matter_and_body, name, prose

LINE, CELL = 110, 60
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
each_page = pytest.mark.parametrize("page", PAGES, ids=name)


@each_page
def test_lines_are_short(page: Path) -> None:
    """Lines of code may be as long as a command is; rows of tables are as long as their cells."""
    front, _ = front_matter_and_body(page)
    lines = [line for line in f"{front}\n{prose(page)}".split("\n") if not line.startswith(("|", "!["))]
    assert not [line for line in lines if len(line) > LINE]


@each_page
def test_cells_are_short(page: Path) -> None:
    rows = [line for line in prose(page).split("\n") if line.startswith("|")]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)]
    shown = [LINK.sub(lambda link: link[0][1:].partition("](")[0], cell) for cell in cells]
    assert not [cell for cell in shown if len(cell) > CELL]


@cache
def anchors(page: Path) -> set[str]:
    """What the headings of a page, and its own marks, can be linked by."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?)(?: *\{ *#([\w.-]+) *\})?$", text, re.MULTILINE)
    return {given or slug(heading) for heading, given in headings}


def slug(heading: str) -> str:
    """As the site makes it: lower case, without punctuation, dashes between words."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    front, _ = front_matter_and_body(page)
    for target in LINK.findall(" ".join(f"{front}\n{prose(page)}".split("\n"))):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@each_page
def test_python_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_every_page_has_its_place_in_the_site() -> None:
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(navigation)))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert {path for path in pages if not re.match(r"experiments/\d", path)} == listed


def test_every_public_name_is_in_the_reference() -> None:
    pages = [page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md"))]
    shown = set(re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE))
    for public in sivae_translate.__all__:
        item = getattr(sivae_translate, public)
        home = item.__module__
        assert {home, f"{home}.{item.__qualname__}"} & shown, public


def test_code_names_pages_and_experiments_that_exist() -> None:
    sources = [
        *ROOT.glob("sivae_translate/**/*.py"),
        *ROOT.glob("configs/*.yaml"),
        *ROOT.glob("benchmarks/*.py"),
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    pages = set(re.findall(r"\bdocs/[\w/-]+\.md", text))
    assert "docs/method.md" in pages
    assert not {page for page in pages if not (ROOT / page).is_file()}
    numbers = set(re.findall(r"\bexperiment (\d+)", text))
    assert "51" in numbers
    assert not {number for number in numbers if not list(DOCS.glob(f"experiments/{int(number):03d}-*.md"))}
