"""Pictures and tables of the 2D study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sivae_translate.lab.planes import Plane
from sivae_translate.lab.toy_vae import ToyVAE
from sivae_translate.utils import pictures
from sivae_translate.utils.choices import PlaneName
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.tables import markdown_table

SHOWN = 2_000
PIXELS = 300
COLUMNS = ("gnelbo", "kl", "jsd", "kl_to_data", "sliced_wasserstein", "off_support", "modes")
TITLES = {
    "gnelbo": "gnELBO x 1e7",
    "kl": "KL, published",
    "jsd": "JSD, published",
    "kl_to_data": "KL(model, data), nats",
    "sliced_wasserstein": "sliced W1",
    "off_support": "off support",
    "modes": "modes of 8",
}


def draw_model(plane: PlaneName, model: ToyVAE, path: Path, title: str) -> None:
    """Draw data, samples, reconstructions, and exp(ELBO) over the plane, of the first replica, as a PNG."""
    data = Plane(plane)
    real = data.sample(SHOWN, torch.Generator().manual_seed(5))
    axis = torch.linspace(-data.reach, data.reach, PIXELS)
    density = torch.exp(-model.cost(torch.cartesian_prod(axis, axis))[0]).reshape(PIXELS, PIXELS).T.numpy()
    panels: dict[str, Tensor] = {
        "data": real,
        "samples": model.points(SHOWN, 0)[0],
        "reconstructions": model.reconstructions(real)[0],
    }
    figure = pictures.new_figure(14, 3.8)
    figure.suptitle(title)
    for index, (name, points) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 4, index + 1)
        axes.scatter(points[:, 0], points[:, 1], s=2, c=f"C{index}", linewidths=0)
        _frame(axes, data.reach, name)
    axes = figure.add_subplot(1, 4, 4)
    extent = (-data.reach, data.reach, -data.reach, data.reach)
    axes.imshow(density, origin="lower", extent=extent, cmap="magma")
    _frame(axes, data.reach, "exp(ELBO)")
    pictures.save_figure(figure, path, dpi=90)


def _frame(axes: Any, reach: float, title: str) -> None:
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=10)


def write(
    results: Mapping[str, Mapping[str, Any]], floors: Mapping[str, Mapping[str, float]], out: Path
) -> None:
    """Write results.json, results.md and, for each data set, curves and pictures of all objectives."""
    tables = {
        plane: {name: _summary(run["rows"]) for name, run in runs.items()} for plane, runs in results.items()
    }
    write_json(
        out / "results.json",
        {"runs": tables, "noise_floor": {plane: dict(floor) for plane, floor in floors.items()}},
    )
    write_text(
        out / "results.md",
        "\n\n".join(_table(plane, runs, floors[plane]) for plane, runs in tables.items()) + "\n",
    )
    for plane, runs in results.items():
        steps = [int(point["iteration"]) for point in next(iter(runs.values()))["curves"]]
        panels = {
            metric: {
                name: [point.get(metric, float("nan")) for point in run["curves"]]
                for name, run in runs.items()
            }
            for metric in ("reconstruction", "kl_content", "kl_fake", "exp_elbo")
        }
        pictures.curves(panels, steps, out / f"{plane}-curves.png", plane)
        drawn = [Image.open(out / f"{plane}-{name}.png") for name in runs]
        pictures.save(pictures.stacked(drawn), out / f"{plane}.png")


def _summary(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation, minimum and maximum over seeds of every metric."""
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        name: {"mean": float(v.mean()), "std": float(v.std()), "min": float(v.min()), "max": float(v.max())}
        for name, v in values.items()
    }


def _table(
    plane: str, runs: Mapping[str, Mapping[str, Mapping[str, float]]], floor: Mapping[str, float]
) -> str:
    names = [name for name in COLUMNS if any(name in run for run in runs.values())]
    rows = [[label, *(_cell(name, run.get(name)) for name in names)] for label, run in runs.items()]
    rows.append(
        ["real against real", *(_number(name, floor[name]) if name in floor else "" for name in names)]
    )
    table = markdown_table(["objective", *(TITLES[name] for name in names)], rows)
    return "\n".join([f"### {plane}", "", *table])


def _cell(name: str, values: Mapping[str, float] | None) -> str:
    if values is None:
        return ""
    return f"{_number(name, values['mean'])} ({_number(name, values['std'])})"


def _number(name: str, value: float) -> str:
    if name == "gnelbo":
        return f"{1e7 * value:.2f}"
    return f"{100 * value:.1f} %" if name == "off_support" else f"{value:.3g}"
