"""Does the introspective phase earn its place? The same data, network and minutes, with it and without.

python -m benchmarks.introspection --minutes 4 --seeds 3 --out runs/introspection

python -m benchmarks.introspection --minutes 4 --seeds 3 --out runs/introspection
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sivae_translate.config import load_config
from sivae_translate.data.sets import load_data
from sivae_translate.evaluation.evaluate import evaluate
from sivae_translate.evaluation.lpips import Lpips
from sivae_translate.files import write_json
from sivae_translate.resources import config_path
from sivae_translate.training.loop import train
from sivae_translate.translator import Translator

ARMS: dict[str, dict[str, float]] = {"introspective": {}, "vae only": {"objective.introspection_from": 1.0}}


def run(config_name: str, minutes: float, seeds: int, out: Path) -> None:
    """Train both arms for every seed, and write results.json as they come."""
    judge, rows = Lpips.load(), []
    for seed in range(seeds):
        for arm, changes in ARMS.items():
            settings = {"training.minutes": minutes, "training.seed": seed, "training.picture_every": 0, **changes}
            config = load_config(config_path(config_name), settings)
            data = load_data(config.data)
            folder = train(config, out / f"{arm.replace(' ', '-')}-{seed}", data=data, resume=True)
            translator = Translator.from_pretrained(folder)
            result = evaluate(translator, data, lpips=judge)
            row = {"arm": arm, "seed": seed, "steps": translator.facts["steps"]}
            row |= {name: round(interval.mean, 4) for name, interval in result.overall.items()}
            row |= {name: round(probe.accuracy, 3) for name, probe in result.probes.items()}
            rows.append(row)
            print(json.dumps(row), flush=True)
            write_json(out / "results.json", {"minutes": minutes, "config": config_name, "rows": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="demo")
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/introspection"))
    given = parser.parse_args()
    run(given.config, given.minutes, given.seeds, given.out)
