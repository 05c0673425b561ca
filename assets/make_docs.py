"""Generated parts of the documentation (settings, commands, equations, experiments), as a hook of mkdocs.

mkdocs.yml names this file twice: its functions ``on_...`` are called while the pages are built, and
`Docstrings` reads the docstrings. Run as a program, it writes docs/experiments/index.md:

    python assets/make_docs.py
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "docs" / "experiments"
FIELDS = (
    "number",
    "title",
    "topic",
    "question",
    "command",
    "machine",
    "seed",
    "result",
    "answer",
    "conclusion",
)
"""Keys of an experiment's front matter; ``expected`` may come between question and command."""
LOADS = re.compile(r"""(?:\bsrc=|<link [^>]*?href=)["']?(https?://[^"'\s>]+)""")
"""Addresses that an HTML page loads from the network."""
FOLD = 78
"""Line width of commands on a page."""
TOPICS = ("method", "glyphs", "benchmarks", "generation", "out of distribution", "2D", "speed")
INTRODUCTION = """# Experiments

One page for each experiment: the question, the command, the machine, the seed, the result, and what follows
from it. Failures are here, too. "Experiment 24" in other pages and in comments means number 24 of this list.

Unless a page says otherwise:

- The machine has 2 cores of an AMD EPYC (Zen 4, AVX512-BF16, no AMX), 24 GiB and no GPU; torch 2.15, bfloat16
  autocast, 2 threads. A matrix product reaches 144 GFLOP/s in float32 and 421 in bfloat16.
- The data are glyphs at 32 px with seed 0: letters that no font showed in training, all 30 ordered pairs of
  fonts, the style of the target's domain. LPIPS of copying the source is 0.0452.
- Intervals in brackets are 95 %.

No choice was made on anything but these runs. The test letters were looked at while the method was chosen
(experiments 1 to 8), so read differences of a few hundredths there as hints. Those eight were run with a
prototype of this code; their commands run the same comparison with the code as it is.

The shipped glyphs model comes from one training in three stages with one seed (experiments 9, 11 and 16). The
need for further stages was seen on the test letters; their settings were chosen once each and not varied.
"""
MATH = re.compile(r"^\.\. math::(?: *(?P<line>\S.*)| *\n(?P<block>(?:(?: {4}.*|[ ]*)\n?)+))$", re.MULTILINE)
INLINE_MATH = re.compile(r":math:`([^`]+)`")
EXAMPLE = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> )\S.*\n?| +\S.*\n?)*)+", re.MULTILINE)
WORD = re.compile(r"(?<![\\A-Za-z])([A-Za-z]{2,})")

try:
    from griffe import Extension, Object
except ImportError:  # the tests use this module without the extra 'docs'
    Extension = Object = object  # type: ignore[assignment,misc]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs: insert the generated parts of a page."""
    place = page.file.src_uri
    if page.meta.get("number"):
        markdown = experiment_text(page.meta, markdown)
    if make := {"reference/settings.md": settings_text, "reference/commands.md": commands_text}.get(place):
        return f"{markdown}\n\n{make()}"
    return with_links(markdown, place)


def on_post_page(output: str, page: Any, **_: Any) -> None:
    """Called by mkdocs: check that a page loads nothing from the network; links are allowed."""
    if loaded := LOADS.findall(output):
        raise SystemExit(f"{page.file.src_uri} loads {', '.join(loaded)}; keep a copy in docs/ instead")


def with_links(markdown: str, place: str) -> str:
    """Turn 'experiment 24' into a link from the page at ``place`` within docs/, unless it is one already."""
    names = {int(path.name[:3]): path.name for path in EXPERIMENTS.glob("[0-9]*.md")}
    up = "" if place.startswith("experiments/") else "../" * place.count("/") + "experiments/"

    def link(match: re.Match[str]) -> str:
        name = names.get(int(match[1]))
        return f"[{match[0]}]({up}{name})" if name else match[0]

    return re.sub(r"(?<![\[\"#])\b[Ee]xperiment (\d+)\b(?!\])", link, markdown)


class Docstrings(Extension):  # type: ignore[misc]
    """Converts ``.. math::`` in docstrings to MathML, which needs no script, and fences ``>>>``."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by mkdocstrings for every module, class and function."""
        if obj.docstring:
            text = INLINE_MATH.sub(_formula, MATH.sub(_equation, obj.docstring.value))
            obj.docstring.value = EXAMPLE.sub(_fence, text)


def _fence(match: re.Match[str]) -> str:
    return f"```pycon\n{match[0].rstrip()}\n```\n"


def _formula(match: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    return str(convert(" ".join(match[1].split())))


def _equation(match: re.Match[str]) -> str:
    from latex2mathml.converter import convert

    # One equation per line: the converter does not support alignment.
    source = " ".join((match["line"] or match["block"]).split()).replace("&", "")
    lines = [WORD.sub(r"\\mathrm{\1}", line.strip()) for line in source.split(r"\\")]
    return "\n".join(["", *(convert(line, display="block") for line in lines), ""])


def settings_text() -> str:
    """Every setting with type, default and description, as Markdown with a heading per section."""
    from sivae_translate.config import Config, RampConfig

    parts = [
        text for name, info in Config.model_fields.items() for text in _section(name, _kind(info.annotation))
    ]
    return "\n".join([*parts, *_section("ramp", RampConfig)])


def _section(prefix: str, section: type[BaseModel]) -> Iterator[str]:
    """Markdown of a section of settings, followed by its sub-sections."""
    yield f"\n## {prefix}\n\n{' '.join((section.__doc__ or '').split())}\n"
    inner = []
    for name, info in section.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner.append((f"{prefix}.{name}", kind))
            continue
        default = "required" if info.is_required() else f"default `{_plain(info.default)}`"
        yield f"`{prefix}.{name}`{{ #{prefix}.{name} }}"
        yield f":   {_text(info)}*{describe(kind)}; {default}*\n"
    for name, kind in inner:
        yield from _section(name, kind)


def _kind(annotation: Any) -> type[BaseModel]:
    assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation


def _text(info: FieldInfo) -> str:
    """The description of a setting, wherever the annotation has it."""
    nested = (getattr(part, "description", None) for part in info.metadata)
    text = info.description or next(filter(None, nested), None)
    return f"{text}<br>\n    " if text else ""


def _plain(value: Any) -> str:
    """A default, as written in YAML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def describe(kind: Any) -> str:
    """A type in words: ``int | None`` is 'whole number, or none'."""
    words = {int: "whole number", float: "number", bool: "true or false", str: "text", Path: "path"}
    if kind in words:
        return words[kind]
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in get_args(kind))
    parts = [part for part in get_args(kind) if part not in (type(None), ...)]
    if get_origin(kind) is tuple:
        return "list"
    if hasattr(kind, "__metadata__"):  # Annotated
        return describe(parts[0])
    optional = ", or none" if type(None) in get_args(kind) else ""
    return " or ".join(describe(part) for part in parts) + optional if parts else str(kind)


def commands_text() -> str:
    """The help of every command, as Markdown."""
    from sivae_translate.cli.app import COMMANDS, GROUPS
    from sivae_translate.cli.parser import parse_options

    parts = []
    for group, commands in GROUPS.items():
        parts.append(f"\n## {group.capitalize()}\n")
        for name in commands:
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream), contextlib.suppress(SystemExit):
                parse_options(COMMANDS[name][0], ["--help"], prog=f"sivae-translate {name}")
            text = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).strip()
            parts.append(f"### {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


@dataclass(frozen=True)
class Experiment:
    """A file of docs/experiments.

    Attributes:
        name: name of the file.
        meta: its front matter.
        body: the text after it; often empty.
    """

    name: str
    meta: Mapping[str, Any]
    body: str

    @classmethod
    def read(cls, path: Path) -> Experiment:
        """Read a file that starts with front matter."""
        _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
        return cls(path.name, yaml.safe_load(front), body)


def experiments() -> list[Experiment]:
    """All experiments, ordered by number."""
    return [Experiment.read(path) for path in sorted(EXPERIMENTS.glob("[0-9]*.md"))]


def folded(command: str) -> list[str]:
    """Wrap a command to the width of the page; a remark in brackets after it becomes a comment."""
    text, _, remark = command.partition(" (")
    if not text.startswith(("sivae-translate", "python", "pytest", "make")):
        return [f"# {line}" for line in textwrap.wrap(command, FOLD)]
    lines: list[str] = []
    for part in re.split(r" (?=--)", text):  # an option stays on the line of its value
        if lines and len(lines[-1]) + len(part) < FOLD:
            lines[-1] += f" {part}"
        else:
            lines.append(f"    {part}" if lines else part)
    lines = [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
    return [*lines, *(f"# {line}" for line in textwrap.wrap(remark.removesuffix(")"), FOLD))]


def experiment_text(meta: Mapping[str, Any], body: str) -> str:
    """A page of the site from an experiment's front matter and body."""
    expected = f"*Expected:* {meta['expected']}\n\n" if "expected" in meta else ""
    commands = "\n".join(f"    {line}" for command in meta["command"] for line in folded(command))
    results = "\n".join(f"- {line}" for line in meta["result"])
    return (
        f"# {meta['number']}. {meta['title']}\n\n{meta['question']}\n\n{expected}"
        f"{commands}\n\n*Machine:* {meta['machine']}. *Seed:* {meta['seed']}.\n\n"
        f"## Result\n\n{results}\n\n## Conclusion\n\n{meta['conclusion']}\n\n{body}"
    )


def index_text() -> str:
    """docs/experiments/index.md: the experiments by topic."""
    parts = [INTRODUCTION]
    for topic in TOPICS:
        rows = [
            f"| {one.meta['number']} | [{one.meta['title']}]({one.name}) | {one.meta['answer']} |"
            for one in experiments()
            if one.meta["topic"] == topic
        ]
        title = topic[0].upper() + topic[1:]
        parts.append(
            "\n".join([f"## {title}\n", "| # | experiment | result |", "| --- | --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


sys.path.insert(0, str(ROOT))  # mkdocs runs this file by its path; the package is beside it

if __name__ == "__main__":
    (EXPERIMENTS / "index.md").write_text(index_text(), encoding="utf-8")
