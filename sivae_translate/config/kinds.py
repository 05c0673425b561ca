"""Kinds of values that settings have, with their bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
MOST = 10**9
"""Of anything that is counted. Bounds only keep slips and damaged files from being taken at their word."""
Count = Annotated[int, Field(ge=1, le=MOST)]
Width = Annotated[int, Field(ge=1, le=8192)]
Dimension = Annotated[int, Field(ge=1, le=65_536)]
Blocks = Annotated[int, Field(ge=1, le=64)]
