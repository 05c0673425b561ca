"""``sivae-translate ood``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sivae_translate.cli.common import (
    Device,
    Run,
    data_of,
    evaluation_folder,
    report_unreadable,
    require_apart,
    show,
)
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Ood:
    """Measure how well several scores detect out-of-distribution images: AUROC, AUPR, FPR at 95 % TPR."""

    run: Run
    outside: Annotated[Path, tyro.conf.arg(name="out")]
    """Folder with foreign images or idx files."""
    inside: Annotated[Path | None, tyro.conf.arg(name="in")] = None
    """Folder with in-distribution images or idx files that were not trained on; default: the run's own test
    images. Half of them define what is typical."""
    report: Path | None = None
    """Folder for report.json, report.md, histograms.png and hardest.png; default: ood/<name> in the run
    folder."""
    limit: int = 2000
    """Most images of each kind, chosen at random."""
    samples: int = 16
    """Number of samples of the importance-weighted likelihood."""
    regret_steps: int = 0
    """Steps of fitting each image's posterior for the likelihood regret, the slowest score; 0 omits it."""
    seed: int = 0
    """Seed of choices, draws and the bootstrap."""
    device: Device = "auto"


def run(command: Ood) -> int:
    """``sivae-translate ood``; 1 if files were unreadable."""
    from sivae_translate.data.loading import load_images, load_test_images
    from sivae_translate.evaluation.ood import compare, score_known
    from sivae_translate.evaluation.reporting import ood_markdown, write_ood
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.files import require_writable
    from sivae_translate.utils.progress import console

    if command.samples < 1 or command.limit < 2 or command.regret_steps < 0:
        raise ConfigError(
            "--samples, --limit or --regret-steps is too small", remedy="give 1, 2 and 0 or more"
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    config = translator.config.data
    problems: list[str] = []
    if command.inside is None:
        tests = data_of(command.run, config, None)
        known = load_test_images(tests, 2 * command.limit, command.seed, problems)
    else:
        known = load_images(command.inside, config, 2 * command.limit, command.seed, problems)
    inside, typical = known[::2], known[1::2]
    outside = load_images(command.outside, config, command.limit, command.seed, problems)
    out = command.report or evaluation_folder(command.run).with_name("ood") / command.outside.name
    require_apart(out, config, command.outside, *([command.inside] if command.inside else []))
    require_writable(out)
    options = {"samples": command.samples, "regret_steps": command.regret_steps, "seed": command.seed}
    scored = score_known(translator, inside, typical, **options)
    result = compare(translator, scored, outside, **options)
    title = f"{command.run}: {command.outside.name} against in-distribution images"
    about = {"run": command.run, **options, "facts": translator.facts}
    write_ood(result, (inside, outside), out, title, about)
    show(ood_markdown(result, title))
    console.print(f"written to {out}: report.json, report.md, histograms.png, hardest.png", highlight=False)
    return report_unreadable(problems)
