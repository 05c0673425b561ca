"""What the site makes of the pages: experiments from their front matter, settings from the code.

mkdocs calls `on_page_markdown`. ``python docs/hooks.py`` writes docs/experiments/index.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sivae_translate.config import field_names

DOCS = Path(__file__).parent
FIELDS = ("question", "command", "machine", "seed", "result", "conclusion")
SETTINGS = "<!-- settings -->"


def on_page_markdown(markdown: str, *, page: Any, **_: object) -> str:
    """The page's text, with what is generated in its place."""
    if "conclusion" in page.meta:
        return experiment_page(page.meta)
    return markdown.replace(SETTINGS, settings_list())


def experiment_page(record: Mapping[str, Any]) -> str:
    """An experiment's page from its front matter."""
    parts = [f"# {record['number']}. {record['title']}"]
    parts += [f"**{name.capitalize()}.** {record[name]}" for name in FIELDS]
    return "\n\n".join(parts)


def read_experiment(path: Path) -> dict[str, Any]:
    """The front matter of an experiment's file."""
    record: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    return record


def experiment_index() -> str:
    """docs/experiments/index.md: the introduction, then a line an experiment."""
    introduction = (DOCS / "experiments" / "introduction.txt").read_text(encoding="utf-8")
    records = {path.name: read_experiment(path) for path in sorted((DOCS / "experiments").glob("[0-9]*.md"))}
    lines = [f"- [{one['number']}. {one['title']}]({name})" for name, one in records.items()]
    return introduction + "\n" + "\n".join(lines) + "\n"


def settings_list() -> str:
    """Every setting by section, with its meaning and its default."""
    lines: list[str] = []
    section = ""
    for name, text in field_names():
        if name.partition(".")[0] != section:
            section = name.partition(".")[0]
            lines += ["", f"## {section}", ""]
        lines.append(f"- `{name}`: {text}")
    return "\n".join(lines)


if __name__ == "__main__":
    (DOCS / "experiments" / "index.md").write_text(experiment_index(), encoding="utf-8")
