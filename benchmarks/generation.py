"""Generation at equal cost: VAE, IntroVAE, Soft-IntroVAE and bootstrap with the same network on Fashion-MNIST.

    python -m benchmarks.generation --data FOLDER_WITH_IDX_FILES --out runs/generation

The introspective objectives make ``--steps`` steps; the VAE makes as many more as it can in the same time, by the rates
measured on an idle machine (``--vae-ratio``). Stopped and called again, it goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sivae_translate.config import load_config
from sivae_translate.data.loading import load_data
from sivae_translate.evaluation.generation import judge_generation
from sivae_translate.files import write_json
from sivae_translate.resources import config_path
from sivae_translate.training.loop import train
from sivae_translate.translator import Translator

OBJECTIVES = ("vae", "soft_introvae", "introvae", "bootstrap")


def run(data: Path, out: Path, *, objectives: list[str], seeds: int, steps: int, vae_ratio: float, images: int) -> None:
    """Train and judge every objective for every seed, and write results.json as they come."""
    rows = []
    for seed in range(seeds):
        for name in objectives:
            settings = {
                "data.root": str(data),
                "objective.name": name,
                "objective.gamma_r": 1.0 if name == "bootstrap" else 0.0,
                "training.seed": seed,
                "training.steps": round(steps * vae_ratio) if name == "vae" else steps,
                "training.picture_every": 0,
            }
            config = load_config(config_path("fashion"), settings)
            images_data = load_data(config.data)
            translator = Translator.from_pretrained(train(config, out / f"{name}-{seed}", data=images_data, resume=True))
            result = judge_generation(translator, images_data, images=images)
            row = {"objective": name, "seed": seed, "steps": translator.facts["steps"], "minutes": translator.facts["minutes"]}
            rows.append({**row, **result.as_json()})
            print(json.dumps(rows[-1]), flush=True)
            write_json(out / "results.json", rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/generation"))
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES), choices=OBJECTIVES)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--vae-ratio", type=float, default=2.0)
    parser.add_argument("--images", type=int, default=1000)
    given = parser.parse_args()
    run(
        given.data,
        given.out,
        objectives=given.objectives,
        seeds=given.seeds,
        steps=given.steps,
        vae_ratio=given.vae_ratio,
        images=given.images,
    )
