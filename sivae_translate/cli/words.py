"""The words that a setting accepts on the command line, and their meaning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from sivae_translate.config import RampConfig

NONE = ("none", "null", "None")
BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
}
"""Spellings of true and false, in lower case."""


@dataclass(frozen=True)
class Typed:
    """The value of a setting given by the user, as `load_config` expects it."""

    value: Any


def plain_kinds(annotation: Any) -> Iterator[Any]:
    """The plain types and literal values in an annotation: ``Count | None`` gives int and NoneType."""
    if get_origin(annotation) is Literal:
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from plain_kinds(get_args(annotation)[0])
    elif get_args(annotation):
        if get_origin(annotation) is tuple:
            yield tuple
        for part in get_args(annotation):
            yield from plain_kinds(part)
    else:
        yield annotation


def choices(kinds: Sequence[Any]) -> tuple[str, ...] | None:
    """The words that a setting accepts; None if it accepts any."""
    if bool in kinds:
        return ("true", "false")
    values = [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    return tuple(values) or None


def metavar(kinds: Sequence[Any]) -> str:
    """The placeholder for a value in the help."""
    if words := choices(kinds):
        return "{" + ",".join(words) + "}"
    names = {int: "INT", float: "FLOAT", Path: "PATH", str: "TEXT", RampConfig: "YAML", type(None): "none"}
    name = "|".join(word for kind, word in names.items() if kind in kinds)
    return f"{name} [{name} ...]" if tuple in kinds and int in kinds else name


def reader(kinds: Sequence[Any]) -> Callable[[list[str]], Typed]:
    """A function from words to a value; words are YAML, except names and paths."""

    def read(words: list[str]) -> Typed:
        if not words:
            raise ValueError("no value")
        if type(None) in kinds and words[0] in NONE:
            return Typed(None)
        if str in kinds or Path in kinds:
            return Typed(words[0])
        several = tuple in kinds and not words[0].startswith("[")
        text = f"[{', '.join(words)}]" if several else " ".join(words)
        try:
            return Typed(yaml.safe_load(text))
        except yaml.YAMLError:
            raise ValueError(f"'{text}' is not YAML") from None

    return read


def as_typed(value: Any) -> list[str]:
    """A default, as the user would type it."""
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return [json.dumps([one.model_dump() for one in value])]
    if isinstance(value, tuple):
        return [str(one) for one in value] or ["[]"]
    return [str(value).lower() if value is None or isinstance(value, bool) else str(value)]
