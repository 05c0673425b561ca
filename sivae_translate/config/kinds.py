"""Types of settings, with bounds, and the base of all sections."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
MOST = 10**9
"""Upper bound of counts. Bounds only protect against typos and damaged files."""
Count = Annotated[int, Field(ge=1, le=MOST)]
Width = Annotated[int, Field(ge=1, le=8192)]
Dimension = Annotated[int, Field(ge=1, le=65_536)]
Blocks = Annotated[int, Field(ge=1, le=64)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def names_in(value: object) -> object:
    """Names separated by commas as a tuple; true and false are earlier values, for TensorBoard."""
    if isinstance(value, bool):
        return ("tensorboard",) if value else ()
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.strip("[]").split(",")]
    earlier = {"true": "tensorboard", "false": "", "none": ""}
    return tuple(filter(None, (earlier.get(name, name) for name in names)))


def on_or_off(value: object) -> object:
    """The words ``on`` and ``off``, which YAML reads as true and false.

    >>> on_or_off(True), on_or_off("auto")
    ('on', 'auto')
    """
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
