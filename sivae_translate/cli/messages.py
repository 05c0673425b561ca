"""Short error messages for wrong arguments.

tyro prints a title and several paragraphs between rules. `explained` keeps what is wrong and how to fix it.
Unknown sentences are passed on as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sivae_translate.config import nearest
from sivae_translate.utils.errors import ConfigError

RULE = re.compile(r" *-+ *")
SENTENCES = [
    (r"Unrecognized options: (.+)", r"unexpected argument: \1"),
    (r"invalid choice (.*) for argument '(.*)'\. Expected one of \((.*?),?\)\.", r"\2: \1 is not one of \3"),
    (r"Missing value for argument '(.*)'\..*", r"\1 has no value"),
    (r"Error parsing (\S+): .*literal for int\(\) with base 10: (.*)", r"\1: \2 is not a whole number"),
    (r"Error parsing (\S+): .*could not convert string to float: (.*)", r"\1: \2 is not a number"),
    (r"Error parsing (\S+): no value", r"\1 has no value"),
    (r"Error parsing (\S+): (.*)", r"\1: \2"),
]
"""Patterns of tyro's sentences and their replacements; the first match counts."""


def explained(text: str, arguments: Sequence[str], prog: str, known: Sequence[str]) -> ConfigError:
    """The error to raise for arguments that tyro rejects.

    Args:
        text: tyro's output, without colours and frames.
        arguments: what the user typed.
        prog: the command, such as ``sivae-translate train``; the remedy names its ``--help``.
        known: existing options, such as ``--training.steps``.
    """
    names = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
    unknown = next((name for name in names if name.replace("_", "-") not in known), None)
    if unknown is not None:
        near = nearest(unknown[2:].replace("_", "-"), [name[2:] for name in known])
        remedy = f"did you mean --{near}?" if near else f"see {prog} --help"
        return ConfigError(f"there is no option '{unknown}'", remedy=remedy)
    first = _paragraphs(text)[0]
    what = " ".join(line.strip() for line in first)
    if what.startswith("Missing from"):
        missing = [line.split()[0] for line in first if re.match(r" {4}\S", line)]
        what = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    for pattern, sentence in SENTENCES:
        if match := re.fullmatch(pattern, what):
            what = match.expand(sentence)
            break
    return ConfigError(what, remedy=f"see {prog} --help")


def _paragraphs(text: str) -> list[list[str]]:
    """The paragraphs between the rules, without the title; a single one if there is no rule."""
    paragraphs: list[list[str]] = [[]]
    for line in text.splitlines():
        if RULE.fullmatch(line):
            paragraphs.append([])
        elif line.strip():
            paragraphs[-1].append(line[2:].rstrip())
    return [lines for lines in paragraphs[1:] if lines] or [[text.strip()]]
