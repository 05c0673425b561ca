"""``sivae-translate toy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from sivae_translate.cli.common import show
from sivae_translate.utils.choices import ObjectiveName, PlaneName
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Toy:
    """Run the 2D study: data sets x objectives x seeds, with pictures, curves and a table.

    If it is repeated, it continues.
    """

    out: Path = Path("runs/toy")
    """Output folder."""
    planes: tuple[PlaneName, ...] = get_args(PlaneName)
    """Data sets."""
    objectives: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    """Objectives."""
    seeds: int = 3
    """Number of seeds; all are trained at once in one process."""
    config: str = "toy"
    """Name of a configuration or a YAML file: toy has the published settings, toy-short takes under two hours
    on two cores."""
    iterations: int | None = None
    """Number of steps; the schedule is scaled to them."""
    batch: int | None = None
    """Points per step."""
    hidden: int | None = None
    """Width of the hidden layers."""
    learning_rate: float | None = None
    """Initial learning rate."""
    gamma: float | None = None
    """Weight of a fake's KL in the decoder's half, as a multiple of that of a real point; 1 by default."""
    automatic: bool = False
    """Balance beta_neg at each step instead of using the configuration's value."""


def run(command: Toy) -> int:
    """``sivae-translate toy``."""
    from sivae_translate.lab.settings import load_toy_config
    from sivae_translate.lab.study import study
    from sivae_translate.utils.files import require_writable

    if command.seeds < 1:
        raise ConfigError("there is no seed to train", remedy="give --seeds 1 or more")
    config = load_toy_config(
        command.config,
        iterations=command.iterations,
        batch=command.batch,
        hidden=command.hidden,
        learning_rate=command.learning_rate,
        gamma=command.gamma,
        automatic=command.automatic or None,
    )
    require_writable(command.out)
    study(command.planes, command.objectives, range(command.seeds), command.out, config)
    show((command.out / "results.md").read_text(encoding="utf-8"))
    return 0
