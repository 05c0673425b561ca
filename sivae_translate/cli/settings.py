"""``sivae-translate settings``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """List every setting of a configuration with its default."""


def run(_: Settings) -> int:
    """``sivae-translate settings``."""
    from rich.console import Console

    from sivae_translate.config import field_names

    for name, text in field_names():
        Console().print(f"--{name:<38}{text}", highlight=False, markup=False)
    return 0
