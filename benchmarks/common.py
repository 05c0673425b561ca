"""The command line of every script here: a dataclass of options, and settings of the configuration."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from sivae_translate.cli.parser import parse_options, parse_with_settings

T = TypeVar("T")


def read_options(kind: type[T], about: str | None, arguments: Sequence[str] | None = None) -> T:
    """The options of a script.

    Args:
        kind: a dataclass; a field's name is the option's, the string below it the help.
        about: the script's docstring.
        arguments: the process's, unless given.
    """
    return parse_options(kind, sys.argv[1:] if arguments is None else arguments, description=about)


def read_options_and_settings(
    kind: type[T], about: str | None, arguments: Sequence[str] | None = None
) -> tuple[T, dict[str, Any]]:
    """The options, and the settings among the arguments, such as ``--training.seed 3``.

    An option ``data`` that is not None is the setting ``data.root``.

    Raises:
        SystemExit: an argument is neither an option nor a setting.
    """
    options, settings = parse_with_settings(
        kind, sys.argv[1:] if arguments is None else arguments, description=about
    )
    data: Path | None = getattr(options, "data", None)
    return options, ({"data.root": str(data)} if data else {}) | settings
