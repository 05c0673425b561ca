"""``sivae-translate benchmark``."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from sivae_translate.cli.common import Limit, Vgg, VggWeights, require_apart, require_vgg, show
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Benchmark:
    """Train on a benchmark's domains and compare the model with baselines.

    Settings are given as --section.name VALUE and replace those of the benchmark's file.
    """

    config: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[CONFIG]")] = None
    """glyphs, glyphs-64, glyphs-colour, cars3d, facades, emoji, digits, doom, or your own YAML file; with
    --data, the default settings if omitted."""
    root: Path | None = None
    """Folder or zip file with the published data; not needed for glyphs."""
    data: Path | None = None
    """Your own folder instead, laid out as train/<domain> and test/<domain>."""
    pairs: bool = False
    """With --data: test files with the same name in two domains show the same content."""
    minutes: float | None = None
    """Training time; default: the configuration's budget."""
    out: Path | None = None
    """Output folder; default: runs/benchmark-NAME. An existing run is resumed; a finished one is only
    measured."""
    seed: int | None = None
    """Seed of training, references, classifiers and the bootstrap; default: the configuration's."""
    kid: bool = True
    """Also compute FID and KID to the target domains; needs the extra 'fid' and is slow on a CPU."""
    vgg: Vgg = True
    vgg_weights: VggWeights = None
    limit: Limit = None
    against: tuple[str, ...] = ()
    """Run folders or model files of the same domains to measure as well: a bound, a peer, an ablation."""


def run(command: Benchmark, overrides: dict[str, Any]) -> int:
    """``sivae-translate benchmark``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.config import load_config
    from sivae_translate.models.lpips import Lpips
    from sivae_translate.studies.benchmark import run_benchmark
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.utils.devices import pick_device
    from sivae_translate.utils.progress import console
    from sivae_translate.utils.resources import config_path

    if command.config is None and command.data is None:
        raise ConfigError(
            "no benchmark is named", remedy="sivae-translate benchmark glyphs, or benchmark --data FOLDER"
        )
    require_vgg(command.vgg, command.vgg_weights)
    _require_one_data_set(command)
    path = config_path(command.config) if command.config else None
    given = {"training.seed": command.seed, "training.minutes": command.minutes, "data.root": command.root}
    shortcuts = {name: value for name, value in given.items() if value is not None}
    config = load_config(path, shortcuts | overrides)
    if command.data is not None:
        data = config.data.model_copy(update={"name": "folder", "root": command.data, "pairs": command.pairs})
        config = config.model_copy(update={"data": data})
    called = command.data.absolute().name if command.data else Path(command.config or "").stem
    device = pick_device(config.training.device)
    out = command.out or Path("runs", f"benchmark-{called}")
    require_apart(out, config.data)
    try:
        run_benchmark(
            config,
            out,
            command="sivae-translate " + shlex.join(sys.argv[1:]),
            inception=command.kid,
            vgg=Lpips.load_vgg16(command.vgg_weights, device) if command.vgg else None,
            limit=command.limit,
            against=command.against,
        )
    except Interrupted as stop:
        console.print(f"{stop}; repeat the command to continue")
        return 128 + stop.signum
    show((out / "report.md").read_text(encoding="utf-8"))
    console.print(
        f"written to {out}: report.json, report.md, grid.png, the model's cases in its folders",
        highlight=False,
    )
    return 0


def _require_one_data_set(command: Benchmark) -> None:
    """Raises ConfigError for options that would not be used."""
    if command.data is not None and command.root is not None:
        raise ConfigError(
            "--root is for published data, and --data for any folder", remedy="leave one of them out"
        )
    if command.data is None and command.pairs:
        raise ConfigError(
            "--pairs is for --data: published data know their pairs",
            remedy="leave it out, or give --data FOLDER",
        )
