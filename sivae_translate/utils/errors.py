"""Errors that say what went wrong, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial


class SivaeError(Exception):
    """Base of every error that this library raises on purpose.

    Args:
        what: what went wrong and where (the path, the field, the value).
        remedy: what the user can do about it.

    >>> print(SivaeError("there is no folder 'images'", remedy="name another one"))
    there is no folder 'images'
      remedy: name another one
    """

    def __init__(self, what: str, *, remedy: str) -> None:
        super().__init__(f"{what}\n  remedy: {remedy}")
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple[Callable[..., SivaeError], tuple[str]]:
        """Keep the whole message when an error comes from another process."""
        return partial(type(self), remedy=self.remedy), (self.what,)


class ConfigError(SivaeError):
    """A setting is unknown, of the wrong type, or out of range."""


class DataError(SivaeError):
    """A folder or an image cannot be used."""


class CheckpointError(SivaeError):
    """A run or checkpoint cannot be read, or does not fit this version."""


class TrainingError(SivaeError):
    """Training cannot continue; what was learnt so far is saved."""


class InputError(SivaeError):
    """An argument of a public function has the wrong type, shape or value."""


class OutputError(SivaeError):
    """A file or folder cannot be written."""
