"""The entry point and what all commands have in common; every command is a file beside this one.

Heavy imports happen inside the commands, so that ``--help`` is fast.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

from sivae_translate import __version__
from sivae_translate.cli import (
    add_domain,
    align,
    benchmark,
    compare,
    demo,
    evaluate,
    export,
    fidelity,
    info,
    interpolate,
    mask,
    ood,
    push,
    reconstruct,
    sample,
    serve,
    settings,
    theory,
    toy,
    train,
    translate,
)
from sivae_translate.cli.notes import brief_warnings
from sivae_translate.cli.parser import complete, parse_options, parse_with_settings
from sivae_translate.config import Config, load_config
from sivae_translate.utils.errors import ConfigError, SivaeError
from sivae_translate.utils.extras import missing_package
from sivae_translate.utils.resources import config_path
from sivae_translate.utils.text import printable

HELP = ("-h", "--help")
FAILED = 2
"""Exit status of errors; 1 is for work that was completed with exceptions, such as unreadable files."""
LONGEST = 300
"""Most characters of a path that a message shows."""
OUT_OF_MEMORY = re.compile("not enough memory|out of memory|allocate memory")
"""What PyTorch says where Python would raise MemoryError."""
INTERRUPTED = 130
CLOSED = 141
"""128 + SIGPIPE, the exit status of programs that the signal ends."""

GROUPS: dict[str, dict[str, tuple[type, Callable[..., int]]]] = {
    "use": {
        "train": (train.Train, train.run),
        "add-domain": (add_domain.AddDomain, add_domain.run),
        "translate": (translate.Translate, translate.run),
        "reconstruct": (reconstruct.Reconstruct, reconstruct.run),
        "sample": (sample.Sample, sample.run),
        "interpolate": (interpolate.Interpolate, interpolate.run),
        "serve": (serve.Serve, serve.run),
    },
    "measure": {
        "evaluate": (evaluate.Evaluate, evaluate.run),
        "benchmark": (benchmark.Benchmark, benchmark.run),
        "compare": (compare.Compare, compare.run),
        "ood": (ood.Ood, ood.run),
        "fidelity": (fidelity.Fidelity, fidelity.run),
    },
    "research": {"toy": (toy.Toy, toy.run), "theory": (theory.Theory, theory.run)},
    "manage": {
        "info": (info.Info, info.run),
        "align": (align.Align, align.run),
        "mask": (mask.Mask, mask.run),
        "export": (export.Export, export.run),
        "push": (push.Push, push.run),
        "settings": (settings.Settings, settings.run),
        "demo": (demo.Demo, demo.run),
    },
}
"""Commands by group of the help: name to options and function."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
WITH_SETTINGS = (train.Train, benchmark.Benchmark, add_domain.AddDomain)
"""Commands that also take settings as ``--section.name VALUE``."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``sivae-translate`` and ``python -m sivae_translate``."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller has closed it; the work is done all the same
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's alphabet may lack letters of a name
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            with brief_warnings():
                code = _answer(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as head, has closed it
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter flushes again at exit
        code = CLOSED
    sys.exit(code)


def parse(arguments: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Parse the options of a command, and its settings by dotted name.

    Raises:
        ConfigError: there is no such command, or an argument means nothing to it.
        SystemExit: the arguments ask for help, which has been printed.
    """
    _check_words(arguments)
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise ConfigError(f"there is no command '{name}'", remedy=hint)
    kind, prog = COMMANDS[name][0], f"sivae-translate {name}"
    if kind not in WITH_SETTINGS:
        return parse_options(kind, rest, prog=prog), {}
    if set(HELP) & set(rest):
        return parse_with_settings(kind, HELP[:1], prog=prog, defaults=_defaults(kind, rest))
    return parse_with_settings(kind, rest, prog=prog)


def _check_words(arguments: Sequence[str]) -> None:
    """Raise ConfigError for arguments that would be understood as other paths than they seem to be.

    An empty path is the current folder, and only a cluster reads URLs: ``s3://bucket`` would be a folder.
    """
    if any(one == "" or re.fullmatch("--[^=]*=", one) for one in arguments):
        raise ConfigError(
            "an argument is empty", remedy="leave it out; a shell variable that is not set may stand there"
        )
    url = next((one for one in arguments if re.match(r"(--[^=]*=)?[a-z][a-z0-9+.-]*://", one)), None)
    if url is not None and "ray" not in arguments and "--engine=ray" not in arguments:
        raise ConfigError(
            f"{url} is no path on this machine",
            remedy="copy the files here, or translate them with --engine ray",
        )


def _defaults(kind: type, arguments: Sequence[str]) -> Config | None:
    """The defaults to show in the help: the settings of the configuration in the arguments, if any."""
    options: Any
    with contextlib.suppress(ConfigError):
        others = [argument for argument in arguments if argument not in HELP]
        options, settings = parse_with_settings(kind, others, prog="")
        if getattr(options, "config", None) is not None:
            return load_config(config_path(str(options.config)), settings)
    return None


def overview() -> str:
    """The commands by group, with the first sentence of their help."""
    width = max(map(len, COMMANDS))
    lines = [
        "Unpaired image-to-image translation with a content/style Soft-IntroVAE.",
        "",
        "usage: sivae-translate COMMAND ...",
        "       sivae-translate COMMAND --help",
        "       sivae-translate --version",
        "       sivae-translate --completion {bash,zsh,fish}    print a completion script",
    ]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        for name, (kind, _) in commands.items():
            first = " ".join((kind.__doc__ or "").split()).partition(". ")[0].rstrip(".")
            lines.append(f"  {name:<{width}}  {first}")
    return "\n".join(lines)


def _answer(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; returns the exit status."""
    if not arguments or arguments[0] in HELP:
        return _say(overview())
    if arguments[0] == "--version":
        return _say(f"sivae-translate {__version__}")
    try:
        if arguments[0] == "--completion":
            shell = arguments[1] if len(arguments) > 1 else "bash"
            complete({name: kind for name, (kind, _) in COMMANDS.items()}, WITH_SETTINGS, shell)
        options, overrides = parse(arguments)
        run = COMMANDS[arguments[0]][1]
        return run(options, overrides) if type(options) in WITH_SETTINGS else run(options)
    except BrokenPipeError:
        raise
    except (SivaeError, OSError, MemoryError, RuntimeError, ModuleNotFoundError) as error:
        message = _message(error)
        if message is None:
            raise
        return _fail(message)
    except KeyboardInterrupt:
        return INTERRUPTED


def _message(error: Exception) -> str | None:
    """What went wrong and what to do, for errors of this library and of the system; None for others."""
    if isinstance(error, ModuleNotFoundError):
        missing = missing_package(error)
        return str(missing) if missing else None
    if isinstance(error, SivaeError):
        return str(error)
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
        return "memory ran out\n  remedy: ask for less at a time, such as a smaller batch"
    if isinstance(error, OSError):  # a path that no system takes, a disk that fails
        place = f": {str(error.filename)[:LONGEST]}" if error.filename else ""
        return f"{error.strerror or error}{place}\n  remedy: check that path"
    return None


def _fail(message: str) -> int:
    print(printable(f"error: {message}", keep="\n\t"), file=sys.stderr)  # noqa: T201 - this is the command line
    return FAILED


def _say(text: str) -> int:
    print(text)  # noqa: T201 - this is the command line
    return 0
