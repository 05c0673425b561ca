"""Where push meets pull: predicted and settled KL of several settings and data sets.

    python -m benchmarks.equilibrium --data FOLDER --out runs/equilibrium

The sets are those of the plane, glyphs and, with ``--data`` (a folder with mnist/ and usps/), digits; images
have 16 px. For each set and pull, a small VAE is trained; the game then begins from a copy of it for each
beta_neg, at a constant rate. The KLs are means over the last quarter of the game's steps. Results are in
equilibrium.json; repeating the command runs only what is missing. ``assets/draw_equilibrium.py`` draws them.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.common import read_options
from sivae_translate.config import DataConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.data.loading import load_data
from sivae_translate.data.tensors import to_tensor
from sivae_translate.lab.equilibrium import equilibrium_kl, settled_kl
from sivae_translate.lab.planes import Plane
from sivae_translate.lab.settings import SCALE, load_toy_config
from sivae_translate.lab.toy_vae import ToyVAE
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.masking import ACTIVE
from sivae_translate.models.plain import PlainVAE
from sivae_translate.objectives import make_objective
from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import PlaneName
from sivae_translate.utils.files import write_json

SIDE = 16
"""Side of the images in pixels."""
LATENTS = 16
HIDDEN = 64
"""Width of the plane's networks."""
RATE = 1e-3
RATIOS = (0.6, 1.0, 1.5, 2.5)
"""K_eq of the settings of images, as multiples of the KL of the VAE."""
BETA_REC = 4.0
"""Weight of the pixel error of images."""
PUBLISHED_BETA_NEG = 256.0
MEASURED = 0.25
"""Share of the game's steps, at its end, that the KLs are measured in."""
EVERY = 10
"""Steps between two measurements."""

Points = Callable[[int, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Pull:
    """A VAE to begin from.

    Attributes:
        data: name of the data set.
        beta_rec: weight of reconstruction errors.
        beta_kl: weight of the KL.
        beta_neg: weights of a fake's KL, one game each; None chooses them by `RATIOS`.
        published: the one of them that was published, if any.
    """

    data: str
    beta_rec: float
    beta_kl: float
    beta_neg: tuple[float, ...] | None = None
    published: float | None = None


@dataclass(frozen=True)
class Case:
    """How a data set is trained on.

    Attributes:
        sample: draws points or images.
        model: makes an untrained model.
        scale: 1 / number of coordinates.
        batch: points or images of a step.
        likelihood: of the reconstruction error.
        longer: factor on the number of steps.
    """

    sample: Points
    model: Callable[[], LatentModel]
    scale: float
    batch: int
    likelihood: str
    longer: int = 1


def pulls(images: list[str]) -> Iterator[Pull]:
    """All settings: the published ones of the plane, others of the plane, and those of images."""
    published = load_toy_config("toy").planes
    for plane, weights in published.items():
        own = weights.introspective
        yield Pull(plane, own.beta_rec, own.beta_kl, (own.beta_neg,), own.beta_neg)
        yield Pull(plane, own.beta_rec, 0.05, (0.15, 0.4))
    for name in images:
        yield Pull(name, BETA_REC, 1.0)
        yield Pull(name, 1.0, 1.0, (PUBLISHED_BETA_NEG,), PUBLISHED_BETA_NEG)


def case_of(name: str, data: Path | None) -> Case:
    """The data set of a name, and a model for it."""
    if name in load_toy_config("toy").planes:
        plane: PlaneName = name  # type: ignore[assignment]
        return Case(Plane(plane).sample, lambda: ToyVAE((0,), HIDDEN), SCALE, 256, "points", 2)
    config = DataConfig(name=name, root=data if name == "digits" else None, image_size=32, channels=1)
    sources = load_data(config).train
    images = to_tensor(np.stack([source[index] for source in sources for index in range(len(source))]))
    images = F.avg_pool2d(images, 32 // SIDE)

    def sample(count: int, generator: torch.Generator) -> torch.Tensor:
        return images[torch.randint(len(images), (count,), generator=generator)]

    def model() -> LatentModel:
        return PlainVAE((1, SIDE, SIDE), latent_dim=LATENTS, widths=(16, 32), size=4, features=64)

    return Case(sample, model, 1 / SIDE**2, 32, "bernoulli")


def settings_of(case: Case, pull: Pull, beta_neg: float | None) -> ObjectiveConfig:
    """The settings of the game, or of the VAE before it."""
    return ObjectiveConfig.model_validate(
        {
            "name": "soft_introvae",
            "likelihood": case.likelihood,
            "beta_rec": pull.beta_rec,
            "beta_kl": pull.beta_kl,
            "beta_kl_fake": pull.beta_kl,
            "beta_neg": beta_neg,
            "fake_reconstruction": True,
            "content_open_at": 0,
            "style_swap": 0,
            "introspection_from": 1.0 if beta_neg is None else 0.0,
        }
    )


def play(case: Case, pull: Pull, beta_neg: float | None, model: LatentModel, steps: int) -> dict[str, float]:
    """Train a model and return the means of its metrics at the end: ``kl_real``, ``kl_fake``, ``rebuilding``.

    ``rebuilding`` is beta_rec * L_rec of fakes. Without a ``beta_neg`` there is only ``kl_real``.
    """
    game = make_objective(settings_of(case, pull, beta_neg), model, case.scale)
    assert isinstance(game, Introspective)
    steps *= case.longer
    stepper, stream = Stepper(game, clip_norm=1.0), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    domain = torch.zeros(case.batch, dtype=torch.long)
    rows: list[dict[str, float]] = []
    for step in range(steps):
        result = stepper.step(Batch(case.sample(case.batch, stream), domain), 0.5, RATE, step + 1)
        if step >= (1 - MEASURED) * steps and step % EVERY == 0:
            metrics, state = result.metrics(), result.states[0]
            row = {"kl_real": metrics["kl_content"]}
            if isinstance(state, GameState):
                with torch.no_grad():
                    cost, kl = game.fake_cost(state, result.weights), state.fake_posterior.kl.detach()
                samples = state.fakes.kinds[1]
                row["kl_fake"] = metrics["kl_fake"]
                row["rebuilding"] = float((cost - metrics["beta_neg"] * kl)[samples].mean())
            rows.append(row)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def undisturbed(case: Case, pull: Pull, model: LatentModel, steps: int) -> dict[str, float]:
    """The KL of the VAE, trained for as long again without fakes, and its number of active dimensions."""
    kl = play(case, pull, None, model, steps)["kl_real"]
    with torch.no_grad():
        each = model.read(case.sample(512, torch.Generator().manual_seed(1))).content.doubled_kl_terms()
    return {"kl_without": kl, "active": max(1.0, float((each.mean(0) / 2 > ACTIVE).sum()))}


def larger_beta_neg(target: float, beta_kl: float, scale: float) -> float:
    """The larger beta_neg with this K_eq, or the one with the largest K_eq if that is lower."""
    beta_neg = low = np.e * beta_kl  # where K_eq is largest
    if equilibrium_kl(low, beta_kl, scale) <= target:
        return float(low)
    for _ in range(60):  # a contraction, as in balanced_beta_neg
        beta_neg = float(np.log(beta_neg / beta_kl)) / (2 * scale * target)
    return float(beta_neg)


def run(data: Path | None, out: Path, steps: int, sets: tuple[str, ...]) -> None:
    """Play all games that are missing; equilibrium.json is written after each."""
    place = out / "equilibrium.json"
    rows: list[dict[str, object]] = json.loads(place.read_text("utf-8")) if place.is_file() else []
    names = ["glyphs", *(["digits"] if data else [])]
    for pull in pulls(names):
        done = {(row["data"], row["beta_rec"], row["beta_kl"], row["wanted"]) for row in rows}
        wanted: tuple[float, ...] = pull.beta_neg or RATIOS
        missing = [one for one in wanted if (pull.data, pull.beta_rec, pull.beta_kl, one) not in done]
        if not missing or (sets and pull.data not in sets):
            continue
        case = case_of(pull.data, data)
        torch.manual_seed(0)
        model, began = case.model(), time.monotonic()
        before = play(case, pull, None, model, steps)["kl_real"]
        rest = undisturbed(case, pull, copy.deepcopy(model), steps)
        for one in missing:
            beta_neg = one if pull.beta_neg else larger_beta_neg(one * before, pull.beta_kl, case.scale)
            settled = play(case, pull, beta_neg, copy.deepcopy(model), steps)
            row = {
                "data": pull.data,
                "beta_rec": pull.beta_rec,
                "beta_kl": pull.beta_kl,
                "wanted": one,
                "beta_neg": beta_neg,
                "scale": case.scale,
                "published": pull.published == beta_neg,
                "kl_before": before,
                **rest,
                "k_eq": equilibrium_kl(beta_neg, pull.beta_kl, case.scale),
                "predicted": settled_kl(beta_neg, pull.beta_kl, case.scale, *rest.values()),
                **settled,
                "steps": steps * case.longer,
                "seconds": round(time.monotonic() - began, 1),
            }
            began = time.monotonic()
            rows.append(row)
            write_json(place, rows)
            print({name: round(v, 3) if isinstance(v, float) else v for name, v in row.items()}, flush=True)


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    out: Path = Path("runs/equilibrium")
    data: Path | None = None
    """Folder with mnist/ and usps/; without it there are no digits."""
    steps: int = 1000
    """Steps of each VAE and of each game; twice as many in the plane."""
    sets: tuple[str, ...] = ()
    """Data sets; all by default."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    run(given.data, given.out, given.steps, given.sets)
