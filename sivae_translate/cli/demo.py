"""``sivae-translate demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Demo:
    """Train a small model on glyphs and show its translations.

    It translates test letters with this model and with the shipped one, and measures both.
    """

    out: Path = Path("demo")
    """Output folder."""
    minutes: float = 4.0
    """Training time."""


def run(command: Demo) -> int:
    """``sivae-translate demo``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.studies import demo
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.utils.progress import console

    try:
        demo.demo(command.out, command.minutes)
    except Interrupted as stop:
        console.print(f"{stop}; the next demo starts from scratch")
        return 128 + stop.signum
    return 0
