"""The documentation: commands parse, links lead somewhere, what is generated is current, examples run."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import sivae_translate
from docs import hooks
from sivae_translate.cli.app import parse
from sivae_translate.config import field_names, load_config

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXPERIMENTS = sorted((ROOT / "docs" / "experiments").glob("[0-9]*.md"))
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
LINE = 110


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands_in(text: str) -> Iterator[str]:
    """Every call of ``sivae-translate`` in code blocks and code spans, without comments."""
    blocks = [line.strip() for line in text.splitlines() if line.startswith("    ") or "$ " in line]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
    for code in [*blocks, *spans]:
        for part in re.split(r" && |; ", code.partition("  #")[0]):
            words = part.strip().removeprefix("$ ")
            if words.startswith("sivae-translate ") and "..." not in words:
                yield words


COMMANDS = sorted(
    {(name_of(page), command) for page in PAGES for command in commands_in(page.read_text("utf-8"))}
)


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) > 60


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_commands_parse(page: str, command: str) -> None:
    arguments = shlex.split(command)[1:]
    if len(arguments) == 1 or arguments[-1] in ("--help", "--version"):
        assert arguments[0].startswith("--") or arguments[0] in sivae_translate.cli.app.COMMANDS  # type: ignore[attr-defined]
        return
    parse(arguments)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in (first or second for first, second in LINK.findall(page.read_text(encoding="utf-8"))):
        place, _, anchor = link.partition("#")
        if link.startswith(("http", "mailto:")):
            continue
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{name_of(page)} links to {link}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_fits_the_line(page: Path) -> None:
    long = [
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if len(line) > LINE and not line.startswith(("|", "    ", "!", "- [")) and "](" not in line
    ]
    assert not long


def test_every_page_has_its_place_on_the_site() -> None:
    class Loader(yaml.SafeLoader):
        """Takes material's own tags as text."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: "")
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)

    def places(entry: object) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            yield from (place for value in entry.values() for place in places(value))
        elif isinstance(entry, list):
            yield from (place for value in entry for place in places(value))

    listed = set(places(site["nav"]))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:]}
    assert listed == {page for page in pages if not page.startswith("experiments/")} | {
        "experiments/index.md"
    }


# ---- experiments


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_says_how_it_was_made(path: Path) -> None:
    record = hooks.read_experiment(path)
    assert set(record) == {"number", "title", *hooks.FIELDS}
    assert path.name.startswith(f"{record['number']:03d}-")
    assert all(str(value).strip() for value in record.values())
    assert len(record["title"]) <= 80


def test_experiments_are_numbered_without_a_gap() -> None:
    numbers = [hooks.read_experiment(path)["number"] for path in EXPERIMENTS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_index_of_experiments_is_current() -> None:
    index = (ROOT / "docs" / "experiments" / "index.md").read_text(encoding="utf-8")
    assert index == hooks.experiment_index(), "python docs/hooks.py writes it"


def test_an_experiments_page_shows_its_record() -> None:
    record = hooks.read_experiment(EXPERIMENTS[6])
    page = hooks.experiment_page(record)
    assert page.startswith("# 7. Does introspection help on top?")
    assert all(str(record[name]) in page for name in hooks.FIELDS)


def test_the_page_of_settings_lists_every_setting() -> None:
    text = hooks.settings_list()
    assert all(f"- `{name}`: " in text for name, _ in field_names())
    assert hooks.SETTINGS in (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")


# ---- examples


def modules_with_examples() -> list[str]:
    """Modules whose docstrings have examples."""
    package = Path(sivae_translate.__file__).parent
    return [
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sivae_translate.data import sources
    from sivae_translate.data.sources import glyphs
    from sivae_translate.utils.pictures import from_array

    monkeypatch.setattr(sources, "_SOURCES", dict(sources._SOURCES))
    monkeypatch.chdir(tmp_path)
    from_array(glyphs.draw("dejavu-sans", ord("E"), 64)[..., None]).save("letter.png")
    results = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert results.attempted
    assert not results.failed


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sivae_translate.data.sources import glyphs
    from sivae_translate.utils.pictures import from_array

    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name in ("letter.png", "other.png"):
        from_array(glyphs.draw("dejavu-sans", ord("E"), 64)[..., None]).save(name)
    assert blocks
    for block in blocks:
        exec(compile(ast.parse(block), "README.md", "exec"), {})


def test_configurations_in_the_repository_are_valid() -> None:
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        if not path.stem.startswith("toy"):
            load_config(path)
