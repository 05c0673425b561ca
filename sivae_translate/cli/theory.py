"""``sivae-translate theory``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import show
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Theory:
    """Play the paper's game on finite problems and compare its final state with the theorem."""

    out: Path = Path("runs/theory")
    """Folder for theory.json, theory.md and theory.png."""
    problems: int = 48
    """Number of random problems."""
    iterations: int = 6000
    """Steps of each game."""


def run(command: Theory) -> int:
    """``sivae-translate theory``."""
    from sivae_translate.lab.theory import check, write
    from sivae_translate.utils.files import require_writable

    if command.problems < 1 or command.iterations < 10:
        raise ConfigError(
            f"{command.problems} problems with {command.iterations} iterations are too few",
            remedy="use at least one problem and ten iterations",
        )
    require_writable(command.out)
    write(check(command.problems, iterations=command.iterations), command.out)
    show((command.out / "theory.md").read_text(encoding="utf-8"))
    return 0
