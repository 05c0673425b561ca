"""Is the introspective phase worth its cost? A trunk without fakes, then two arms, with and without fakes.

    python -m benchmarks.introspection --seeds 3 --out runs/introspection

Both arms start from the same trunk (a VAE with back-translation and an open content code) and have the same
learning rate schedule. Their budgets are in steps, so that a run can be repeated exactly and other work on
the machine favours neither arm: 4 minutes each at the rates of an idle machine (see docs/experiments), 5.0
steps/s without fakes and 3.55 with them. ``--rates`` measures these rates.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.common import read_options
from sivae_translate.config import load_config
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.evaluation.suite import MetricSuite
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.launch import train
from sivae_translate.training.log import read_metrics
from sivae_translate.utils.files import write_json
from sivae_translate.utils.resources import config_path

TRUNK: dict[str, float] = {
    "objective.introspection_from": 1.0,
    "training.decay_from": 1.0,
    "training.steps": 2200,
}
PHASE: dict[str, float] = {
    "objective.content_open_at": 0.0,
    "objective.back_translation_from": 0.0,
    "training.decay_from": 0.3,
}
ARMS: dict[str, dict[str, float]] = {
    "vae": {"objective.introspection_from": 1.0, "training.steps": 1200},
    "introspective": {"objective.introspection_from": 0.0, "training.steps": 850},
}


def run(config_name: str, seeds: int, out: Path) -> None:
    """Train trunk and arms for every seed; results.json is written after each. A repeated call continues."""
    lpips, rows = Lpips.load(), []
    for seed in range(seeds):
        trunk, data = _train(config_name, out / f"trunk-{seed}", {**TRUNK, "training.seed": seed})
        rows.append(_evaluate("trunk", seed, trunk, data, lpips))
        for arm, changes in ARMS.items():
            settings = {**PHASE, **changes, "training.seed": seed, "training.fine_tune": str(trunk)}
            folder, data = _train(config_name, out / f"{arm}-{seed}", settings)
            rows.append(_evaluate(arm, seed, folder, data, lpips))
            write_json(out / "results.json", {"config": config_name, "rows": rows})


def rates(config_name: str, out: Path) -> None:
    """Measure the median steps/s of both arms, from 60 steps each."""
    for arm, changes in ARMS.items():
        settings = {**PHASE, **changes, "training.steps": 60, "training.log_every": 5}
        folder, _ = _train(config_name, out / f"rate-{arm}", settings)
        seconds = [line["seconds"] for line in read_metrics(folder)]
        print(arm, round(5 / statistics.median(b - a for a, b in pairwise(seconds)), 2), "steps/s")


def _train(config_name: str, folder: Path, settings: Mapping[str, object]) -> tuple[Path, DomainData]:
    config = load_config(config_path(config_name), {**settings, "training.picture_every": 0})
    data = load_data(config.data)
    return train(config, folder, data=data, resume=True), data


def _evaluate(arm: str, seed: int, folder: Path, data: DomainData, lpips: Lpips) -> dict[str, object]:
    translator = Translator.from_pretrained(folder)
    result = evaluate(translator, data, suite=MetricSuite(lpips))
    row: dict[str, object] = {
        "arm": arm,
        "seed": seed,
        "steps": translator.facts["steps"],
        "minutes": translator.facts["minutes"],
    }
    row |= {name: round(interval.mean, 4) for name, interval in result.overall.items()}
    row |= {name: round(probe.accuracy, 3) for name, probe in result.probes.items()}
    print(json.dumps(row), flush=True)
    return row


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    config: str = "demo"
    seeds: int = 3
    out: Path = Path("runs/introspection")
    rates: bool = False
    """Only measure the steps/s of both arms."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    if given.rates:
        rates(given.config, given.out)
    else:
        run(given.config, given.seeds, given.out)
