"""Draws docs/pictures/equilibrium.png from benchmarks/results/equilibrium.json.

python assets/draw_equilibrium.py

That file is written by ``python -m benchmarks.equilibrium``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sivae_translate.lab.equilibrium import equilibrium_kl
from sivae_translate.utils.pictures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "equilibrium.json"
PICTURE = ROOT / "docs" / "pictures" / "equilibrium.png"
COLOURS = {
    "8gaussians": "C0",
    "spiral": "C1",
    "checkerboard": "C2",
    "rings": "C3",
    "glyphs": "C4",
    "digits": "C5",
}
BROKEN = 100.0
"""Weighted reconstruction error of fakes above which the decoder has left the game."""
EARLIER = (equilibrium_kl(8, 1, 1 / 784), 105.0)
"""K_eq and settled KL of Fashion-MNIST in experiment 24."""
UNTRAINED = {
    "MNIST, Fashion-MNIST": equilibrium_kl(256, 1, 1 / 784),
    "CIFAR-10, SVHN": equilibrium_kl(256, 1, 1 / 3072),
    "faces, 256 px": equilibrium_kl(1024, 0.5, 1 / 196608),
}
"""K_eq of published settings that were not trained here."""
LIMITS = (0.5, 1200.0)


def draw_rows(axes: Axes, rows: list[dict[str, Any]], predicted: str) -> None:
    """A line from the KL of real images to that of fakes for each setting, and a point at their mean."""
    axes.plot(LIMITS, LIMITS, color="0.6", linewidth=1)
    shown = set()
    for row in rows:
        x, ends = row[predicted], (row["kl_real"], row["kl_fake"])
        name, broken = row["data"], row["rebuilding"] > BROKEN
        label = name if name not in shown else None
        shown.add(name)
        axes.plot((x, x), ends, color=COLOURS[name], linewidth=1, alpha=0.6)
        marker = "x" if broken else "*" if row["published"] else "o"
        size = 11 if marker == "*" else 6
        axes.plot(
            x, sum(ends) / 2, marker, color=COLOURS[name], markersize=size, label=label, linestyle="none"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_ylabel("settled KL of real and fake images, nats")
    axes.grid(visible=True, which="both", alpha=0.2)


def main() -> None:
    """Draw K_eq and the prediction with reconstruction against the settled KL."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure = new_figure(12, 5)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    draw_rows(left, rows, "k_eq")
    left.plot(*EARLIER, "s", color="C6", label="Fashion-MNIST, experiment 24")
    for name, kl in UNTRAINED.items():
        left.plot(kl, kl, "*", color="white", markeredgecolor="0.3", markersize=11)
        left.annotate(name, (kl, kl), (6, -12), textcoords="offset points", fontsize=7)
    left.set_xlabel("K_eq, nats")
    left.set_title("White stars are published settings that were not trained here", fontsize=9)
    draw_rows(right, rows, "predicted")
    right.set_xlim(0.8, 80)
    right.set_ylim(0.8, 80)
    right.set_xlabel("prediction with reconstruction, nats")
    right.set_title("Stars are published weights, crosses decoders that left the game", fontsize=9)
    for axes in (left, right):
        axes.legend(fontsize=7, loc="upper left")
    save_figure(figure, PICTURE, dpi=100)


if __name__ == "__main__":
    main()
