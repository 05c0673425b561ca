"""From arguments to options and settings: one tyro parser knows both, so that help and completion do, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, make_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeVar, get_args, get_origin

import tyro
import yaml
from pydantic import BaseModel
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from sivae_translate.config import OLD_NAMES, Config, RampConfig

T = TypeVar("T")
BOOLEANS = {"true": True, "false": False}

_registry = ConstructorRegistry()


@_registry.primitive_rule
def _boolean(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[bool] | None:
    """``true`` or ``false``, as in YAML."""
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{true,false}",
        instance_from_str=lambda words: BOOLEANS[words[0].lower()],
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
        choices=tuple(BOOLEANS),
    )


@_registry.primitive_rule
def _ramps(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[RampConfig, ...]] | None:
    """Ramps as one word of YAML."""
    if get_origin(info.type) is not tuple or RampConfig not in get_args(info.type):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="YAML",
        instance_from_str=lambda words: tuple(RampConfig(**one) for one in yaml.safe_load(words[0])),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda value: [str([ramp.model_dump() for ramp in value])],
    )


def parse_options(kind: type[T], arguments: Sequence[str], **texts: str | None) -> T:
    """Options of a command without settings.

    Args:
        kind: a dataclass; a field's name is the option's, the string below it the help.
        arguments: what the user typed.
        texts: ``prog`` and ``description`` of the help.

    Raises:
        SystemExit: help is wanted, or the arguments do not fit; the message is on standard error.
    """
    return tyro.cli(kind, args=arguments, config=(tyro.conf.FlagCreatePairsOff,), **texts)  # type: ignore[call-overload,no-any-return]


def parse_with_settings(
    kind: type[T], arguments: Sequence[str], **texts: str | None
) -> tuple[T, dict[str, Any]]:
    """Options of a command that also takes every setting as ``--section.name VALUE``.

    Args:
        kind: a dataclass, as for `parse_options`.
        arguments: what the user typed. Names that settings had in earlier versions are understood.
        texts: ``prog`` and ``description`` of the help.

    Returns:
        The options, and the settings that the arguments name: dotted name to value.

    Raises:
        SystemExit: help is wanted, or the arguments do not fit; the message is on standard error.
    """
    today = [_with_new_name(argument) for argument in arguments]
    with _registry:
        both = parse_options(_with_settings(kind), today, **texts)
    return both.options, dict(_named(both.settings, today))


def complete(kinds: Mapping[str, type], with_settings: Sequence[type], arguments: Sequence[str]) -> None:
    """Print a shell's completion script, which knows all commands, options and settings.

    Args:
        kinds: command name to its options.
        with_settings: options of the commands that take settings.
        arguments: such as ``["--tyro-print-completion", "bash"]``.

    Raises:
        SystemExit: always, when done.
    """
    commands = (
        Annotated[
            _with_settings(kind) if kind in with_settings else kind,
            tyro.conf.subcommand(name, prefix_name=False),
        ]
        for name, kind in kinds.items()
    )
    with _registry:
        tyro.cli(reduce(or_, commands), prog="sivae-translate", args=arguments)  # type: ignore[call-overload]


def _with_settings(kind: type) -> Any:
    """A dataclass of the options and a `Config`, side by side without a prefix."""
    flat = tyro.conf.arg(name="")
    settings = Annotated[Config, flat, tyro.conf.FlagConversionOff]
    fields: list[tuple[str, Any, Any]] = [
        ("options", Annotated[kind, flat], field()),
        ("settings", settings, Config()),
    ]
    return make_dataclass(kind.__name__, fields, frozen=True, namespace={"__doc__": kind.__doc__})


def _with_new_name(argument: str) -> str:
    """An option under today's name."""
    name, equals, value = argument.partition("=")
    new = OLD_NAMES.get(name.removeprefix("--").replace("-", "_")) if name.startswith("--") else None
    return argument if new is None else f"--{new}{equals}{value}"


def _named(settings: BaseModel, arguments: Sequence[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings that the arguments name, with their values."""
    given = {argument.partition("=")[0].removeprefix("--").replace("-", "_") for argument in arguments}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _named(value, arguments, f"{prefix}{name}.")
        elif f"{prefix}{name}" in given:
            yield f"{prefix}{name}", value
