"""The 2D study: four data sets, four objectives, several seeds; pictures and a table (arXiv 2012.13253, section 5.1)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.files import write_json
from sivae_translate.names import ObjectiveName, PlaneName
from sivae_translate.objectives.family import make_objective
from sivae_translate.progress import console, progress_bar
from sivae_translate.toy import metrics
from sivae_translate.toy.data import Plane
from sivae_translate.toy.model import HIDDEN, ToyVAE
from sivae_translate.training.step import Stepper

OBJECTIVES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)

SCALE = 0.5
"""1 / number of coordinates: the paper's s in two dimensions."""
BATCH = 512
ITERATIONS = 30_000
RATE = 2e-4
FALLS = (1 / 3, 1 / 2)
"""Shares of the training after which the learning rate falls to a tenth (published: 10k and 15k of 30k iterations)."""
WARM_UP = 1 / 15
"""Share of the training that is a plain VAE (published: 2k of 30k)."""
EVALUATED = 100 * 128
"""Points of the data whose ELBO enters gnELBO."""

INTROSPECTIVE: dict[PlaneName, tuple[float, float, float]] = {
    "8gaussians": (0.2, 0.3, 0.9),
    "spiral": (0.2, 0.5, 1.0),
    "checkerboard": (0.2, 0.1, 0.2),
    "rings": (0.2, 0.2, 1.0),
}
"""Published (beta_rec, beta_kl, beta_neg)."""
VARIATIONAL: dict[PlaneName, tuple[float, float]] = {
    "8gaussians": (0.8, 0.05),
    "spiral": (1.0, 0.05),
    "checkerboard": (0.8, 0.1),
    "rings": (0.8, 0.05),
}
"""Published (beta_rec, beta_kl) of the plain VAE."""
MARGIN = 5.0
"""IntroVAE's, nats. Its published 2D settings are not known to us; this one is a little above the KL of data in these runs."""


@dataclass(frozen=True)
class Effort:
    """How long and how large; the published sizes when left out.

    Attributes:
        iterations: steps; the schedule is stretched to them.
        batch: points a replica and step.
        hidden: width of the hidden layers.
        rate: Adam's at the start.
        automatic: let beta_neg be balanced instead of taking the published ones.
    """

    iterations: int = ITERATIONS
    batch: int = BATCH
    hidden: int = HIDDEN
    rate: float = RATE
    automatic: bool = False


@dataclass(frozen=True)
class Trained:
    """Replicas of one objective on one data set.

    Attributes:
        model: R replicas.
        curves: figures every so many iterations, averaged over replicas.
        seconds: training time.
    """

    model: ToyVAE
    curves: list[dict[str, float]]
    seconds: float


def settings(plane: PlaneName, objective: ObjectiveName, *, automatic: bool = False) -> ObjectiveConfig:
    """The published settings of an objective on a data set.

    Args:
        plane: data set.
        objective: which of the family.
        automatic: let beta_neg be balanced instead of taking the published one.
    """
    if objective == "vae":
        rec, kl = VARIATIONAL[plane]
        return ObjectiveConfig(name="vae", likelihood="points", beta_rec=rec, beta_kl=kl, open_until=0, style_swap=0)
    rec, kl, neg = INTROSPECTIVE[plane]
    return ObjectiveConfig(
        name=objective,
        likelihood="points",
        beta_rec=rec,
        beta_kl=kl,
        beta_kl_fake=kl,
        beta_neg=None if automatic else neg,
        margin=MARGIN,
        gamma_r=1.0 if objective == "bootstrap" else 0.0,  # published 1e-8 elsewhere: two passes for nothing
        judge_reconstruction=objective != "introvae",
        open_until=0,
        style_swap=0,
        introspection_from=WARM_UP,
    )


def train(plane: PlaneName, objective: ObjectiveName, seeds: Sequence[int], effort: Effort | None = None) -> Trained:
    """Train one replica a seed, all at once.

    Args:
        plane: data set.
        objective: which of the family.
        seeds: one a replica, of its weights; data and noise differ between replicas, too.
        effort: how long and how large.
    """
    effort = effort or Effort()
    iterations = effort.iterations
    model = ToyVAE(tuple(seeds), effort.hidden)
    game = make_objective(settings(plane, objective, automatic=effort.automatic), model, SCALE)
    stepper = Stepper(game, clip_norm=None, betas=(0.9, 0.999), replicas=len(seeds))
    stream = torch.Generator().manual_seed(1_000 + min(seeds))
    torch.manual_seed(2_000 + min(seeds))
    every, curves, began = max(1, iterations // 100), [], time.monotonic()
    domain = torch.zeros(len(seeds) * effort.batch, dtype=torch.long)
    with progress_bar("health") as bar:
        task = bar.add_task(f"{plane} {objective}", total=iterations, health="")
        for iteration in range(iterations):
            share = iteration / iterations
            rate = effort.rate * 0.1 ** sum(share >= fall for fall in FALLS)
            points = Batch(Plane(plane).sample(len(domain), stream), domain)
            weights = game.weights(share)
            done = stepper.step(points, weights, rate)
            game.after_step(iteration + 1)
            if (iteration + 1) % every == 0:
                figures = {"iteration": float(iteration + 1), **game.figures(points, done.shared, weights)}
                curves.append(figures)
                health = f"rec {figures['reconstruction']:.3f} kl {figures['kl_content']:.2f}"
                bar.update(task, completed=iteration + 1, health=health)
    return Trained(model, curves, time.monotonic() - began)


def judge(plane: PlaneName, model: ToyVAE, seed: int) -> list[dict[str, float]]:
    """Figures of each replica."""
    data, draws = Plane(plane), torch.Generator().manual_seed(seed)
    real, evaluated = data.sample(metrics.POINTS, draws), data.sample(EVALUATED, draws)
    costs = metrics.gnelbo(model.cost, evaluated, data.reach)
    fakes = model.points(metrics.POINTS, seed)
    return [{**metrics.judge(data, real, fake), "gnelbo": float(cost)} for fake, cost in zip(fakes, costs, strict=True)]


def noise_floor(plane: PlaneName, seed: int, repeats: int = 3) -> dict[str, float]:
    """What the figures say of real points against other real points: nothing can be better."""
    data = Plane(plane)
    draws = [torch.Generator().manual_seed(seed + 10_000 + repeat) for repeat in range(repeats)]
    rows = [metrics.judge(data, data.sample(metrics.POINTS, d), data.sample(metrics.POINTS, d)) for d in draws]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def study(
    planes: Sequence[PlaneName],
    objectives: Sequence[ObjectiveName],
    seeds: Sequence[int],
    out: Path,
    effort: Effort | None = None,
) -> Path:
    """Run everything that ``out`` does not hold yet; pictures, results.json and results.md.

    Returns:
        ``out``.

    Raises:
        OutputError: it cannot be written.
    """
    from sivae_translate.toy import report

    effort = effort or Effort()
    asked = {**asdict(effort), "seeds": list(seeds)}
    for plane in planes:
        for objective in objectives:
            place = out / f"{plane}-{objective}.json"
            if place.is_file() and json.loads(place.read_text(encoding="utf-8"))["asked"] == asked:
                continue
            done = train(plane, objective, seeds, effort)
            rows = judge(plane, done.model, min(seeds))
            write_json(place, {"asked": asked, "seconds": round(done.seconds, 1), "rows": rows, "curves": done.curves})
            report.draw_model(plane, done.model, out / f"{plane}-{objective}.png", f"{plane}, {objective}, seed {seeds[0]}")
            console.print(f"{plane} {objective}: {done.seconds:.0f} s", highlight=False)
    results: dict[str, dict[str, dict[str, Any]]] = {
        plane: {name: json.loads((out / f"{plane}-{name}.json").read_text(encoding="utf-8")) for name in objectives}
        for plane in planes
    }
    floors: dict[str, dict[str, float]] = {plane: noise_floor(plane, min(seeds)) for plane in planes}
    report.write(results, floors, out)
    return out
