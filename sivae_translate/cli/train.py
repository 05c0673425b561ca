"""``sivae-translate train``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sivae_translate.cli.common import require_apart
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Train:
    """Train a model on image folders or on the built-in glyphs.

    Options replace settings of the file. With CONFIG, --help shows the file's settings as defaults.
    """

    config: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[CONFIG]")] = None
    """YAML file with settings, or the name of a shipped one (glyphs, fashion); default: the default
    settings."""
    data: Path | None = None
    """Folder with a sub-folder of images for each domain (or with idx files, if the settings say so)."""
    out: Path | None = None
    """Run folder; default: runs/<name>."""
    resume: bool = False
    """Continue from the last checkpoint in --out."""


def run(command: Train, overrides: dict[str, Any]) -> int:
    """``sivae-translate train``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.config import load_config
    from sivae_translate.data.loading import at_root
    from sivae_translate.training.launch import train as run_training
    from sivae_translate.training.memory import require_memory
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.utils.progress import console

    path = _config_path(command, overrides)
    config = load_config(path, overrides)
    if command.data is not None:
        config = config.model_copy(update={"data": at_root(config.data, command.data)})
    out = command.out or Path(
        "runs", command.data.name if command.data else path.stem if path else config.data.name
    )
    if command.resume:
        _require_run(out)
    else:
        require_apart(out, config.data)
        require_memory(config)
    speaks = os.environ.get("RANK", "0") == "0"  # one of the processes that torchrun starts prints
    try:
        run_training(config, out, resume=command.resume)
    except Interrupted as stop:
        if speaks:
            what = "continue" if stop.saved else "start again"
            console.print(f"{stop}; {what} with --resume --out {out}", highlight=False)
        return 128 + stop.signum
    if speaks:
        console.print(
            f"model: {out / 'model.safetensors'}   report: {out / 'report.html'}   picture: "
            f"{out / 'grid.png'}"
        )
    return 0


def _require_run(out: Path) -> None:
    """Raise ConfigError if there is no run to resume; a mistyped name would start another one."""
    if not (out / "config.yaml").exists():
        raise ConfigError(f"there is no run to resume in {out}", remedy="name a run folder, or omit --resume")


def _config_path(command: Train, overrides: dict[str, object]) -> Path | None:
    """The settings file: the given one, a shipped one, or, when resuming without one, the run's own."""
    from sivae_translate.utils.resources import config_path

    if command.config is not None:
        return config_path(str(command.config))
    if command.resume and command.out:
        _require_run(command.out)
        return command.out / "config.yaml"
    if command.data is None and "data.name" not in overrides and "data.root" not in overrides:
        raise ConfigError(
            "there is nothing to train on: neither a configuration nor --data is given",
            remedy="sivae-translate train --data FOLDER, or sivae-translate train glyphs",
        )
    return None
