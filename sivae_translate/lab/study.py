"""The 2D study (arXiv 2012.13253, section 5.1): data sets x objectives x seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from sivae_translate.data.batches import Batch
from sivae_translate.lab import plane_metrics as metrics
from sivae_translate.lab.planes import Plane
from sivae_translate.lab.settings import SCALE, ToyConfig
from sivae_translate.lab.toy_vae import ToyVAE
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import ObjectiveName, PlaneName
from sivae_translate.utils.devices import pick_dtype
from sivae_translate.utils.files import write_json
from sivae_translate.utils.progress import console, progress_bar

OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)

EVALUATED = 100 * 128
"""Number of data points whose ELBO enters gnELBO."""
SHARED = {"iterations", "batch", "hidden", "learning_rate", "falls", "precision"}
"""Settings that all objectives of a study share."""


@dataclass(frozen=True)
class Trained:
    """Replicas of one objective on one data set.

    Attributes:
        model: R replicas.
        curves: metrics at regular intervals, averaged over replicas.
        seconds: training time.
    """

    model: ToyVAE
    curves: list[dict[str, float]]
    seconds: float


def train(plane: PlaneName, objective: ObjectiveName, seeds: Sequence[int], config: ToyConfig) -> Trained:
    """Train one replica per seed, all at once.

    Args:
        plane: name of the data set.
        objective: name of the objective.
        seeds: seed of each replica's weights; data and noise differ between replicas as well.
        config: training settings.
    """
    iterations = config.iterations
    model = ToyVAE(tuple(seeds), config.hidden, pick_dtype(config.precision, torch.device("cpu")))
    game = make_objective(config.objective(plane, objective), model, SCALE)
    stepper = Stepper(game, clip_norm=None, betas=(0.9, 0.999), replicas=len(seeds))
    stream = torch.Generator().manual_seed(1_000 + min(seeds))
    torch.manual_seed(2_000 + min(seeds))
    every, curves, began = max(1, iterations // 100), [], time.monotonic()
    domain = torch.zeros(len(seeds) * config.batch, dtype=torch.long)
    with progress_bar("health") as bar:
        task = bar.add_task(f"{plane} {objective}", total=iterations, health="")
        for iteration in range(iterations):
            share = iteration / iterations
            points = Batch(Plane(plane).sample(len(domain), stream), domain)
            result = stepper.step(points, share, config.rate(share), iteration + 1)
            if (iteration + 1) % every == 0:
                metrics = {"iteration": float(iteration + 1), **result.metrics()}
                curves.append(metrics)
                health = f"rec {metrics['reconstruction']:.3f} kl {metrics['kl_content']:.2f}"
                bar.update(task, completed=iteration + 1, health=health)
    return Trained(model, curves, time.monotonic() - began)


def measure(plane: PlaneName, model: ToyVAE, seed: int) -> list[dict[str, float]]:
    """Metrics of each replica."""
    data, draws = Plane(plane), torch.Generator().manual_seed(seed)
    real, evaluated = data.sample(metrics.POINTS, draws), data.sample(EVALUATED, draws)
    costs = metrics.gnelbo(model.cost, evaluated, data.reach)
    fakes = model.points(metrics.POINTS, seed)
    return [
        {**metrics.measure(data, real, fake), "gnelbo": float(cost)}
        for fake, cost in zip(fakes, costs, strict=True)
    ]


def noise_floor(plane: PlaneName, seed: int, repeats: int = 3) -> dict[str, float]:
    """Metrics of real points against other real points, which no model can beat."""
    data = Plane(plane)
    draws = [torch.Generator().manual_seed(seed + 10_000 + repeat) for repeat in range(repeats)]
    rows = [
        metrics.measure(data, data.sample(metrics.POINTS, d), data.sample(metrics.POINTS, d)) for d in draws
    ]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def study(
    planes: Sequence[PlaneName],
    objectives: Sequence[ObjectiveName],
    seeds: Sequence[int],
    out: Path,
    config: ToyConfig,
) -> Path:
    """Run the experiments that are missing in ``out``, and write pictures, results.json and results.md.

    Returns:
        ``out``.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    from sivae_translate.lab import report

    for plane in planes:
        for objective in objectives:
            setting: dict[str, Any] = {**config.model_dump(mode="json", include=SHARED), "seeds": list(seeds)}
            setting["objective"] = config.objective(plane, objective).model_dump(mode="json")
            place = out / f"{plane}-{objective}.json"
            if place.is_file() and _setting_of(place) == setting:
                continue
            done = train(plane, objective, seeds, config)
            rows = measure(plane, done.model, min(seeds))
            report.draw_model(
                plane, done.model, out / f"{plane}-{objective}.png", f"{plane}, {objective}, seed {seeds[0]}"
            )
            write_json(
                place,
                {"setting": setting, "seconds": round(done.seconds, 1), "rows": rows, "curves": done.curves},
            )
            console.print(f"{plane} {objective}: {done.seconds:.0f} s", highlight=False)
    results: dict[str, dict[str, dict[str, Any]]] = {
        plane: {
            name: json.loads((out / f"{plane}-{name}.json").read_text(encoding="utf-8"))
            for name in objectives
        }
        for plane in planes
    }
    floors: dict[str, dict[str, float]] = {plane: noise_floor(plane, min(seeds)) for plane in planes}
    report.write(results, floors, out)
    return out


def _setting_of(path: Path) -> object:
    """The settings of a finished study; files of earlier versions call them ``asked``."""
    written = json.loads(path.read_text(encoding="utf-8"))
    return written.get("setting", written.get("asked"))
