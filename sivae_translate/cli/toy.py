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
    """The 2D study: data sets x objectives x seeds, with pictures, curves and a table. Called again, it goes
    on.
    """

    out: Path = Path("runs/toy")
    """Output folder."""
    planes: tuple[PlaneName, ...] = get_args(PlaneName)
    """Data sets."""
    objectives: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    """Objectives."""
    seeds: int = 3
    """How many; they are trained side by side in one process."""
    config: str = "toy"
    """Name of a configuration, or a YAML file: toy has the published settings, toy-short takes under two
    hours on two cores."""
    iterations: int | None = None
    """Steps; the schedule is stretched to them."""
    batch: int | None = None
    """Points a step."""
    hidden: int | None = None
    """Width of the hidden layers."""
    learning_rate: float | None = None
    """At the start."""
    automatic: bool = False
    """Let beta_neg be balanced at each step instead of taking the configuration's."""


def run(command: Toy) -> int:
    """``sivae-translate toy``."""
    from sivae_translate.lab.settings import load_toy_config
    from sivae_translate.lab.study import study
    from sivae_translate.utils.files import require_writable

    if command.seeds < 1:
        raise ConfigError("there is no seed to train", remedy="--seeds 1 or more")
    config = load_toy_config(
        command.config,
        iterations=command.iterations,
        batch=command.batch,
        hidden=command.hidden,
        learning_rate=command.learning_rate,
        automatic=command.automatic or None,
    )
    require_writable(command.out)
    study(command.planes, command.objectives, range(command.seeds), command.out, config)
    show((command.out / "results.md").read_text(encoding="utf-8"))
    return 0
