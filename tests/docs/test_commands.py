"""Commands in the documentation are commands of the program."""

from __future__ import annotations

import shlex
from importlib.util import find_spec

import pytest

from assets.make_docs import experiments
from sivae_translate.cli.app import COMMANDS, parse
from sivae_translate.utils.errors import SivaeError
from tests.docs.pages import PAGES, commands, name

PROGRAM = "sivae-translate"
USAGE = {"COMMAND", "...", "--version", "--help"}


def documented() -> dict[str, str]:
    """Command line to the page that it is on."""
    found = {shlex.join(arguments): name(page) for page in PAGES for arguments in commands(page, PROGRAM)}
    for experiment in experiments():
        for command in experiment.meta["command"]:
            if command.startswith(PROGRAM):  # a remark in brackets may follow
                found[command.partition(" (")[0].removeprefix(f"{PROGRAM} ")] = experiment.name
    # A command's name alone is a mention, not a call.
    return {
        line: page for line, page in found.items() if not USAGE & set(line.split()) and line not in COMMANDS
    }


@pytest.mark.parametrize("line", documented())
def test_a_documented_command_parses(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        parse(shlex.split(line))
    except (SystemExit, SivaeError) as error:
        pytest.fail(f"{documented()[line]}: {line}\n{error}\n{capsys.readouterr().err}")


def test_the_pages_name_all_that_most_people_use() -> None:
    shown = {line.split()[0] for line in documented()}
    assert {"train", "translate", "evaluate", "sample", "export", "benchmark", "ood"} <= shown


def test_documented_research_scripts_exist() -> None:
    lines = [arguments for page in PAGES for arguments in commands(page, "python -m")]
    assert len(lines) > 20
    missing = {module for module, *_ in lines if find_spec(module) is None}
    assert not missing
