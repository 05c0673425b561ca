"""The command line of every script here: a dataclass of options, and settings of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from sivae_translate.config import parse_overrides

T = TypeVar("T")


def read_options(kind: type[T], about: str | None, arguments: Sequence[str] | None = None) -> T:
    """The options of a script.

    Args:
        kind: a dataclass; a field's name is the option's, the string below it the help.
        about: the script's docstring.
        arguments: the process's, unless given.
    """
    return tyro.cli(kind, description=about, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


def read_options_and_settings(
    kind: type[T], about: str | None, arguments: Sequence[str] | None = None
) -> tuple[T, dict[str, Any]]:
    """The options, and any other arguments as settings: ``--training.seed 3`` or ``training.seed=3``.

    An option ``data`` that is not None is the setting ``data.root``.

    Raises:
        ConfigError: an argument is neither an option nor a setting.
    """
    options, rest = tyro.cli(
        kind,
        description=about,
        args=arguments,
        return_unknown_args=True,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    data: Path | None = getattr(options, "data", None)
    return options, ({"data.root": str(data)} if data else {}) | parse_overrides(rest)
