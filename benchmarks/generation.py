"""Generation at equal cost: VAE, Soft-IntroVAE, IntroVAE and bootstrap with the same network.

    python -m benchmarks.generation --data FOLDER_WITH_IDX_FILES --out runs/generation --seeds 3
    python -m benchmarks.generation --config glyphs-plain --steps 2500 --images 720

The introspective objectives take ``--steps`` steps; the VAE takes as many as it can in the same time, by the
rates measured on an idle machine (``--vae-ratio``). A repeated call continues. The results are results.json,
results.md, samples.png (one row per objective) and health.png (metrics of the game, seed 0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import read_options
from sivae_translate.config import load_config
from sivae_translate.data.loading import load_data
from sivae_translate.evaluation.generation import GenerationSuite
from sivae_translate.inference.translator import Translator
from sivae_translate.training.launch import train
from sivae_translate.training.log import read_metrics
from sivae_translate.utils import pictures
from sivae_translate.utils.choices import ObjectiveName
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.resources import config_path
from sivae_translate.utils.tables import markdown_table

SAMPLES = 14
HEALTH = {
    "reconstruction error": "reconstruction",
    "KL of real images (nats)": "kl_content",
    "KL of fakes (nats)": "kl_fake",
    "expELBO of fakes": "exp_elbo",
}


def run(
    name: str,
    data: Path | None,
    out: Path,
    *,
    objectives: Sequence[ObjectiveName],
    seeds: int,
    steps: int,
    vae_ratio: float,
    images: int,
) -> None:
    """Train and measure every objective for every seed; results are written after each."""
    place = {"data.root": str(data)} if data else {}
    loaded = load_data(load_config(config_path(name), place).data)
    suite = GenerationSuite(loaded, images=images)
    rows: list[dict[str, Any]] = []
    shown: dict[str, Translator] = {}
    for seed in range(seeds):
        for objective in objectives:
            settings: dict[str, Any] = {
                **place,
                "objective.name": objective,
                "objective.gamma_r": 1.0 if objective == "bootstrap" else 0.0,
                "training.seed": seed,
                "training.steps": round(steps * vae_ratio) if objective == "elbo" else steps,
                "training.picture_every": 0,
            }
            config = load_config(config_path(name), settings)
            folder = train(config, out / f"{objective}-{seed}", data=loaded, resume=True)
            translator = Translator.from_pretrained(folder)
            shown.setdefault(objective, translator)
            facts = {key: translator.facts[key] for key in ("steps", "minutes")}
            last = read_metrics(folder)[-1]
            rows.append(
                {
                    "objective": objective,
                    "seed": seed,
                    **facts,
                    "health": last,
                    **suite.measure(translator).as_json(),
                }
            )
            write_json(out / "results.json", rows)
            write_text(out / "results.md", table(rows))
            print(table(rows[-1:]), flush=True)
    samples = [translator.sample(n=SAMPLES) for translator in shown.values()]
    pictures.save(pictures.grid(samples, row_names=list(shown), cell=56), out / "samples.png")
    draw_health({name: out / f"{name}-0" for name in shown}, out / "health.png")


def table(rows: list[dict[str, Any]]) -> str:
    """A table with one row per objective: mean (standard deviation) over seeds."""
    columns: dict[str, Callable[[dict[str, Any]], float]] = {
        "FID": lambda row: row["samples"]["fid"],
        "KID x 1000": lambda row: 1000 * row["samples"]["kid"],
        "precision": lambda row: row["samples"]["precision"],
        "recall": lambda row: row["samples"]["recall"],
        "LPIPS": lambda row: row["reconstruction"]["lpips"]["mean"],
        "L1": lambda row: row["reconstruction"]["l1"]["mean"],
        "PSNR": lambda row: row["reconstruction"]["psnr"]["mean"],
        "minutes": lambda row: row["minutes"],
    }
    lines: list[list[str]] = []
    for name in dict.fromkeys(row["objective"] for row in rows):
        chosen = [row for row in rows if row["objective"] == name]
        values = ([value(row) for row in chosen] for value in columns.values())
        cells = (f"{np.mean(v):.4g} ({np.std(v):.2g})" for v in values)
        lines.append([name, str(len(chosen)), *cells])
    floor = rows[0]["floor"]
    real = [floor["fid"], 1000 * floor["kid"], floor["precision"], floor["recall"]]
    lines.append(["training images", "", *(f"{value:.4g}" for value in real), "", "", "", ""])
    return "\n".join(markdown_table(["objective", "seeds", *columns], lines)) + "\n"


def draw_health(runs: dict[str, Path], path: Path) -> None:
    """Draw the quantities of `HEALTH` over training, one curve per objective."""
    figure = pictures.new_figure(4 * len(HEALTH), 3)
    for index, (title, key) in enumerate(HEALTH.items()):
        axes = figure.add_subplot(1, len(HEALTH), index + 1)
        for name, folder in runs.items():
            points = [(line["step"], line[key]) for line in read_metrics(folder) if key in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
        axes.set_title(title, fontsize=10)
        axes.legend(fontsize=7)
        axes.grid(visible=True, alpha=0.3)
    pictures.save_figure(figure, path, dpi=100)


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    config: str = "fashion"
    """Configuration of a plain model."""
    data: Path | None = None
    """Folder of idx files or images, if the configuration needs one."""
    out: Path = Path("runs/generation")
    objectives: tuple[ObjectiveName, ...] = ("elbo", "soft_introvae", "introvae")
    seeds: int = 1
    steps: int = 4000
    vae_ratio: float = 2.2
    """Steps of the VAE per step of the other objectives, in the same time."""
    images: int = 1000


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    run(
        given.config,
        given.data,
        given.out,
        objectives=given.objectives,
        seeds=given.seeds,
        steps=given.steps,
        vae_ratio=given.vae_ratio,
        images=given.images,
    )
