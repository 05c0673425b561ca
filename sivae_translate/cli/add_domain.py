"""``sivae-translate add-domain``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sivae_translate.utils.errors import ConfigError

BUDGETS = ("training.minutes", "training.steps", "training.epochs")
MINUTES = 20.0


@dataclass(frozen=True)
class AddDomain:
    """Teach a trained model another domain: a new run from its weights, on its data and a folder more.

    Options are settings of the new run; its budget is 20 minutes if none is given.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, trained on image folders."""
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Images of the new domain, directly or in its folders train and test."""
    out: Path
    """Folder of the new run."""
    name: str | None = None
    """Name of the new domain; default: that of FOLDER."""
    data: Path | None = None
    """Data folder of RUN, if it was moved."""


def run(command: AddDomain, overrides: dict[str, Any]) -> int:
    """``sivae-translate add-domain``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.cli.common import require_apart
    from sivae_translate.cli.train import Train
    from sivae_translate.cli.train import run as run_training
    from sivae_translate.config import load_config, to_yaml
    from sivae_translate.data.combining import link_domains
    from sivae_translate.models.weights import find_model
    from sivae_translate.utils.files import write_text

    settings = command.run / "config.yaml"
    if not settings.is_file():
        raise ConfigError(f"{command.run} is no run folder", remedy="name one that training wrote")
    find_model(command.run)
    before = load_config(settings)
    root = command.data or before.data.root
    if before.data.name != "folder" or root is None:
        raise ConfigError(
            f"{command.run} was not trained on image folders, but on {before.data.name}",
            remedy="train a new run on folders with all domains",
        )
    require_apart(command.out, before.data, root, command.folder)
    budget = {} if any(name in overrides for name in BUDGETS) else {"training.minutes": MINUTES}
    changed = {
        "data.root": str((command.out / "data").absolute()),
        "training.fine_tune": str(command.run.absolute()),
        # The content code is open already, and the game has been played.
        "objective.beta_kl_start": before.objective.beta_kl,
        "objective.introspection_from": 0.0,
    }
    config = load_config(settings, {**changed, **budget, **overrides})
    name = command.name or command.folder.absolute().name
    link_domains(root, command.folder, name, command.out / "data")
    write_text(command.out / "settings.yaml", to_yaml(config))
    return run_training(Train(command.out / "settings.yaml", out=command.out), {})
