"""Parsing arguments into options and settings with one tyro parser, so that help and completion show both."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, make_dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import BaseModel
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from sivae_translate.cli.messages import explained
from sivae_translate.cli.words import BOOLEANS, Typed, as_typed, choices, metavar, plain_kinds, reader
from sivae_translate.config import OLD_NAMES, OLD_VALUES, Config, Section, load_config
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.seeds import check_seed

T = TypeVar("T")
FIRST = (
    "training.minutes",
    "data.image_size",
    "training.batch",
    "objective.likelihood",
    "objective.beta_kl",
)
"""The settings that most people change; the help shows them first."""
SHELLS = ("bash", "zsh", "fish")
"""Shells with completion scripts."""
MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)
_registry = ConstructorRegistry()


LARGEST = 2**63
"""Upper bound of integer options: most libraries use 64 bits."""


def parse_options(kind: type[T], arguments: Sequence[str], *, prog: str, description: str | None = None) -> T:
    """Parse the options of a command without settings.

    Args:
        kind: a dataclass; each field is an option, and the string below it is its help.
        arguments: what the user typed.
        prog: the command, for help and errors.
        description: first lines of the help; None is the dataclass's docstring.

    Raises:
        ConfigError: the arguments are invalid.
        SystemExit: the arguments ask for help, which has been printed.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            options = _tyro(kind, arguments, prog, description)
        for name, value in vars(options).items():
            if name == "seed" and value is not None:
                check_seed(value)
            if isinstance(value, int) and not -LARGEST <= value < LARGEST:
                raise ConfigError(f"--{name.replace('_', '-')} is too large", remedy="give a smaller number")
        return options
    except SystemExit as stop:
        if not stop.code:
            raise
    known = re.findall(r"--[a-z][\w.-]*\w", _output(kind, ["--help"], prog))
    raise explained(_output(kind, arguments, prog), arguments, prog, known)


def parse_with_settings(
    kind: type[T],
    arguments: Sequence[str],
    *,
    prog: str,
    description: str | None = None,
    defaults: Config | None = None,
) -> tuple[T, dict[str, Any]]:
    """Parse the options of a command that also takes settings as ``--section.name VALUE``.

    Args:
        kind: a dataclass, as for `parse_options`.
        arguments: what the user typed. Earlier names of settings are understood.
        prog: the command, for help and errors.
        description: first lines of the help; None is the dataclass's docstring.
        defaults: the defaults to show in the help.

    Returns:
        The options, and the values of the settings in the arguments by dotted name, for `load_config`, which
        checks them.

    Raises:
        ConfigError: the arguments are invalid.
        SystemExit: the arguments ask for help, which has been printed.
    """
    both = parse_options(
        _with_settings(kind, defaults or Config()), [*_modern(arguments)], prog=prog, description=description
    )
    values = [*_values(both.settings), *zip(FIRST, vars(both.common).values(), strict=True)]
    settings = {name: value.value for name, value in values if isinstance(value, Typed)}
    load_config(None, settings)  # so that an error in an option is not blamed on the file
    return both.options, settings


def complete(kinds: Mapping[str, type], with_settings: Sequence[type], shell: str) -> None:
    """Print a shell's completion script for all commands, options and settings.

    Args:
        kinds: command name to its options.
        with_settings: options of the commands that take settings.
        shell: one of `SHELLS`.

    Raises:
        ConfigError: there is no script for this shell.
        SystemExit: always, when finished.
    """
    if shell not in SHELLS:
        raise ConfigError(f"there is no completion for '{shell}'", remedy=f"choose {', '.join(SHELLS)}")
    commands = (
        Annotated[
            _with_settings(kind, Config()) if kind in with_settings else kind,
            tyro.conf.subcommand(name, prefix_name=False),
        ]
        for name, kind in kinds.items()
    )
    union: Any = reduce(or_, commands)
    _tyro(union, ["--tyro-print-completion", shell], "sivae-translate")


def _with_settings(kind: type, defaults: Config) -> Any:
    """A dataclass of the options, the first settings, and all other settings."""
    flat = tyro.conf.arg(name="")
    first = []
    for name in FIRST:
        spec = _first(name, defaults)
        flag = tyro.conf.arg(name=name.replace("_", "-"), prefix_name=False, help=str(spec.helptext))
        first.append((name.replace(".", "_"), Annotated[spec.type, flag], field(default=spec.default)))
    common = make_dataclass("Common", first, namespace={"__doc__": "The settings that most people change."})
    fields = [
        ("options", Annotated[kind, flat], field()),
        ("common", common, field(default_factory=common)),
        ("settings", Annotated[Config, flat], field(default=defaults)),
    ]
    return make_dataclass(kind.__name__, fields, namespace={"__doc__": kind.__doc__})


def _tyro(kind: type[T], arguments: Sequence[str], prog: str, description: str | None = None) -> T:
    with _registry:
        return tyro.cli(kind, args=arguments, prog=prog, description=description, config=MARKERS)


def _output(kind: type, arguments: Sequence[str], prog: str) -> str:
    """Tyro's output when it does not return options, without colours and frames."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), contextlib.suppress(SystemExit):
        _tyro(kind, arguments, prog)
    return text.getvalue()


def _first(name: str, defaults: Config) -> StructFieldSpec:
    """One of the first settings, by its dotted name."""
    *sections, last = name.split(".")
    section: Any = defaults
    for part in sections:
        section = getattr(section, part)
    return _setting(section, last)


@_registry.struct_rule
def _section(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The settings of a section that are not among the first.

    They are not checked here, since settings of the file and of the user may only be valid together.
    """
    if not (isinstance(info.type, type) and issubclass(info.type, Section)):
        return None
    kind: type[Section] = info.type
    first = [name.rpartition(".")[2] for name in FIRST if _holds(kind, name)]
    names = [name for name in kind.model_fields if name not in first]

    def construct(**values: Any) -> Section:
        return kind.model_construct(**values)

    construct.__doc__ = kind.__doc__  # the heading of the group in the help
    return StructConstructorSpec(construct, tuple(_setting(info.default, name) for name in names))


def _holds(section: type[Section], name: str) -> bool:
    """Whether a section has the setting of this dotted name."""
    kind: Any = Config
    for part in name.split(".")[:-1]:
        kind = kind.model_fields[part].annotation
    return kind is section


def _setting(section: BaseModel, name: str) -> StructFieldSpec:
    """A field of a section for tyro: words that stand for a value, or a section."""
    info, default = type(section).model_fields[name], getattr(section, name)
    if isinstance(default, BaseModel):
        return StructFieldSpec(name=name, type=type(default), default=default)
    kinds = list(plain_kinds(info.annotation))
    several = int in kinds and tuple in kinds
    spec = PrimitiveConstructorSpec(
        nargs="*" if several else 1,
        metavar=metavar(kinds),
        instance_from_str=reader(kinds),
        is_instance=lambda _: True,
        str_from_instance=as_typed,
        choices=choices(kinds),
    )
    word: Any = Annotated[Any, spec]
    return StructFieldSpec(name=name, type=word, default=default, helptext=info.description or "")


def _values(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a section by dotted name."""
    for name, value in vars(section).items():
        if isinstance(value, BaseModel):
            yield from _values(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _modern(arguments: Sequence[str]) -> Iterator[str]:
    """Arguments with current names of settings and objectives, and one spelling of true and false."""
    dotted = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            yield _modern_value(dotted, argument)
            dotted = ""
            continue
        dotted = name[2:].replace("-", "_")
        if dotted in OLD_NAMES:
            dotted = OLD_NAMES[dotted]
            name = f"--{dotted}"
        yield f"{name}{equals}{_modern_value(dotted, value)}"


def _modern_value(dotted: str, value: str) -> str:
    """The current spelling of a setting's value, by its dotted name."""
    if dotted == "objective.name":
        return OLD_VALUES.get(value, value)
    return BOOLEANS.get(value.lower(), value) if dotted in _switches() else value


@cache
def _switches() -> frozenset[str]:
    """Dotted names of the boolean settings."""
    return frozenset(name for name, value in _values(Config()) if isinstance(value, bool))
