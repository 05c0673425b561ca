"""``sivae-translate ood``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sivae_translate.cli.common import Device, Run, data_of, evaluation_folder, show
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Ood:
    """How well several scores tell out-of-distribution images: AUROC, AUPR, FPR at 95 % TPR."""

    run: Run
    outside: Annotated[Path, tyro.conf.arg(name="out")]
    """Folder with foreign images, or with idx files."""
    inside: Annotated[Path | None, tyro.conf.arg(name="in")] = None
    """Folder with images of the kind it was trained on, but unseen, or with idx files; left out: the run's
    own test images. Half of them say what is typical."""
    report: Path | None = None
    """Where to write report.json, report.md, histograms.png and hardest.png; left out: ood/<name> in the run
    folder."""
    limit: int = 2000
    """At most this many images of each kind, chosen at random."""
    samples: int = 16
    """Of the importance-weighted likelihood."""
    regret_steps: int = 0
    """Steps that fit each image's posterior for the likelihood regret, the slowest of the scores; 0 leaves it
    out."""
    seed: int = 0
    """Of choices, draws and the bootstrap."""
    device: Device = "auto"


def run(command: Ood) -> int:
    """``sivae-translate ood``."""
    from sivae_translate.data.loading import load_images, load_test_images
    from sivae_translate.evaluation.ood import compare, score_known
    from sivae_translate.evaluation.reporting import ood_markdown, write_ood
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.progress import console

    if command.samples < 1 or command.limit < 2 or command.regret_steps < 0:
        raise ConfigError(
            "--samples, --limit or --regret-steps is too small", remedy="give 1, 2 and 0 or more"
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    config = translator.config.data
    if command.inside is None:
        known = load_test_images(data_of(Path(command.run), config, None), 2 * command.limit, command.seed)
    else:
        known = load_images(command.inside, config, 2 * command.limit, command.seed)
    inside, typical = known[::2], known[1::2]
    outside = load_images(command.outside, config, command.limit, command.seed)
    options = {"samples": command.samples, "regret_steps": command.regret_steps, "seed": command.seed}
    scored = score_known(translator, inside, typical, **options)
    result = compare(translator, scored, outside, **options)
    run, title = Path(command.run), f"{command.run}: {command.outside.name} against its own kind"
    out = command.report or evaluation_folder(run).with_name("ood") / command.outside.name
    about = {"run": command.run, **options, "facts": translator.facts}
    write_ood(result, (inside, outside), out, title, about)
    show(ood_markdown(result, title))
    console.print(f"written to {out}: report.json, report.md, histograms.png, hardest.png", highlight=False)
    return 0
