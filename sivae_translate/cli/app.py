"""The parser, and what every command has in common; a command is a file beside this one.

Heavy imports happen inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

from sivae_translate import __version__
from sivae_translate.cli import (
    benchmark,
    compare,
    demo,
    evaluate,
    export,
    fidelity,
    info,
    interpolate,
    ood,
    reconstruct,
    sample,
    settings,
    theory,
    toy,
    train,
    translate,
)
from sivae_translate.utils.errors import ConfigError, SivaeError

INTERRUPTED = 130
CLOSED = 141
"""128 + SIGPIPE: what programs that the signal ends return."""

COMMANDS: dict[str, tuple[type, Callable[..., int]]] = {
    # use
    "train": (train.Train, train.run),
    "translate": (translate.Translate, translate.run),
    "reconstruct": (reconstruct.Reconstruct, reconstruct.run),
    "sample": (sample.Sample, sample.run),
    "interpolate": (interpolate.Interpolate, interpolate.run),
    # measure
    "evaluate": (evaluate.Evaluate, evaluate.run),
    "benchmark": (benchmark.Benchmark, benchmark.run),
    "compare": (compare.Compare, compare.run),
    "ood": (ood.Ood, ood.run),
    "fidelity": (fidelity.Fidelity, fidelity.run),
    # research
    "toy": (toy.Toy, toy.run),
    "theory": (theory.Theory, theory.run),
    # manage
    "info": (info.Info, info.run),
    "export": (export.Export, export.run),
    "settings": (settings.Settings, settings.run),
    "demo": (demo.Demo, demo.run),
}
"""Name to options and function, in the order of the help."""
RUNNERS = dict(COMMANDS.values())
DESCRIPTION = """Unpaired image-to-image translation with a content/style Soft-IntroVAE.

Use: train, translate, reconstruct, sample, interpolate.
Measure: evaluate, benchmark, compare, ood, fidelity.
Research: toy, theory.
Manage: info, export, settings, demo."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``sivae-translate`` and ``python -m sivae_translate``."""
    try:
        try:
            code = _answer(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        code = CLOSED
    sys.exit(code)


def parse(arguments: list[str]) -> tuple[Any, list[str]]:
    """Options of the command that the arguments name, and its ``--section.name VALUE`` settings.

    Raises:
        SystemExit: help was asked for, or the arguments fit no command.
    """
    plain, overrides = split_overrides(arguments)
    union = reduce(
        or_,
        (
            Annotated[options, tyro.conf.subcommand(name, prefix_name=False)]
            for name, (options, _) in COMMANDS.items()
        ),
    )
    options = tyro.cli(union, prog="sivae-translate", description=DESCRIPTION, args=plain or ["--help"])  # type: ignore[call-overload]
    return options, overrides


def _answer(arguments: list[str]) -> int:
    """Run the command that the arguments name; the exit status."""
    if arguments == ["--version"]:
        print(f"sivae-translate {__version__}")  # noqa: T201 - this is the command line
        return 0
    command, overrides = parse(arguments)
    try:
        if isinstance(command, train.Train | benchmark.Benchmark):
            return RUNNERS[type(command)](command, overrides)
        if overrides:
            raise ConfigError(
                f"unexpected settings: {' '.join(overrides)}",
                remedy="'train' and 'benchmark' take --section.name VALUE",
            )
        return RUNNERS[type(command)](command)
    except SivaeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Set ``--section.name VALUE`` and ``--section.name=VALUE``, which a configuration checks, apart from the
    rest.
    """
    rest, overrides = list(arguments), []
    plain = []
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        if name.startswith("--") and "." in name:
            overrides.append(argument)
            if not equals and rest and not rest[0].startswith("--"):
                overrides.append(rest.pop(0))
        else:
            plain.append(argument)
    return plain, overrides
