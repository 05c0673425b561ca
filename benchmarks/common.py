"""The command line of the scripts: a dataclass of options, and settings of the configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sivae_translate.cli.parser import parse_options, parse_with_settings
from sivae_translate.utils.errors import ConfigError

T = TypeVar("T")


def read_options(kind: type[T], about: str | None, arguments: Sequence[str] | None = None) -> T:
    """Parse the options of a script.

    Args:
        kind: a dataclass; each field is an option, and the string below it is its help.
        about: the script's docstring.
        arguments: the arguments; those of the process by default.

    Raises:
        SystemExit: the arguments ask for help or are invalid.
    """
    with _exit_on_mistakes():
        return parse_options(kind, _arguments(arguments), prog=_program(), description=about)


def read_options_and_settings(
    kind: type[T], about: str | None, arguments: Sequence[str] | None = None
) -> tuple[T, dict[str, Any]]:
    """Parse options, and settings such as ``--training.seed 3``.

    An option ``data``, if it is not None, sets ``data.root``.

    Raises:
        SystemExit: the arguments ask for help, or an argument is neither an option nor a setting.
    """
    with _exit_on_mistakes():
        options, settings = parse_with_settings(
            kind, _arguments(arguments), prog=_program(), description=about
        )
    data: Path | None = getattr(options, "data", None)
    return options, ({"data.root": str(data)} if data else {}) | settings


def _arguments(arguments: Sequence[str] | None) -> Sequence[str]:
    return sys.argv[1:] if arguments is None else arguments


def _program() -> str:
    return f"python -m benchmarks.{Path(sys.argv[0]).stem}"


@contextmanager
def _exit_on_mistakes() -> Iterator[None]:
    """Print a message instead of a traceback."""
    try:
        yield
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
