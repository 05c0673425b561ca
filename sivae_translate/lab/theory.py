"""Checking the theorem on random finite problems, with a table and a picture (docs/theory.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sivae_translate.lab.tabular import Instance, Outcome, Rule, assumption_holds, minimise_target, play
from sivae_translate.utils import pictures
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.progress import track
from sivae_translate.utils.tables import markdown_table

GAMMAS = (0.0, 0.2, 0.5, 1.0)
ALPHAS = (1.0, 2.0, 4.0, 8.0)
MARGINS = (1.0, 2.0, 4.0)
AT_REST = 1e-3
"""A game counts as converged if p_d(x) changed by less in the last tenth of its iterations."""
HEADER = (
    "gamma",
    "game",
    "assumption holds",
    "p_d to minimiser: median (largest)",
    "to the local minimum: largest",
    "posterior gap: median (largest), nats",
    "at rest",
)

Row = dict[str, float | str]


def check(
    count: int = 48,
    values: int = 6,
    latents: int = 8,
    *,
    gammas: Sequence[float] = GAMMAS,
    alphas: Sequence[float] = ALPHAS,
    margins: Sequence[float] = MARGINS,
    seed: int = 0,
    iterations: int = 6000,
) -> list[Row]:
    """Play every game and compare its final state with the minimiser of KL(p_data || p_d) + gamma H(p_d).

    Args:
        count: number of random problems.
        values: number n of values of x.
        latents: number m of values of z.
        gammas: weights of fakes for the decoder.
        alphas: values of alpha of the expELBO.
        margins: margins of IntroVAE in nats.
        seed: seed of the problems.
        iterations: steps of each game.

    Returns:
        One row per game: gamma, rule, alpha or margin, and over the problems: fraction for which the
        assumption holds, median and largest distance of p_d from the minimiser and from the nearest local
        minimum (largest difference of a probability), median and largest posterior gap, fraction that
        converged, median KL(p_data || p_d), median entropy of p_d.
    """
    problems = Instance.random(count, values, latents, seed)
    best = {gamma: torch.stack([minimise_target(data, gamma) for data in problems.data]) for gamma in gammas}
    games: list[tuple[float, Rule, float]] = [(g, "soft_introvae", a) for g in gammas for a in alphas]
    games += [(g, "introvae", m) for g in gammas for m in margins]
    rows = []
    for gamma, rule, setting in track(games, "games"):
        if rule == "introvae":
            outcome = play(problems, gamma=gamma, rule=rule, margin=setting, iterations=iterations)
        else:
            outcome = play(problems, gamma=gamma, alpha=setting, iterations=iterations)
        rows.append(_row(problems, best[gamma], outcome, gamma, rule, setting))
    return rows


def _row(problems: Instance, best: Tensor, outcome: Outcome, gamma: float, rule: Rule, setting: float) -> Row:
    marginal, data = outcome.marginal, problems.data
    pairs = zip(marginal, data, strict=True)
    local = torch.stack([minimise_target(p, gamma, starts=own[None].clamp(min=1e-6)) for own, p in pairs])
    holds = (
        assumption_holds(best, data, setting).double().mean()
        if rule == "soft_introvae"
        else torch.tensor(float("nan"))
    )
    distance, nearby = ((marginal - other).abs().amax(-1) for other in (best, local))
    return {
        "gamma": gamma,
        "rule": rule,
        "setting": setting,
        "assumption": holds.item(),
        "distance_median": distance.median().item(),
        "distance_max": distance.max().item(),
        "local_distance_max": nearby.max().item(),
        "gap_median": outcome.posterior_gap.median().item(),
        "gap_max": outcome.posterior_gap.max().item(),
        "at_rest": (outcome.drift < AT_REST).double().mean().item(),
        "kl_data": (data * (data / marginal).log()).sum(-1).median().item(),
        "entropy": (-(marginal * marginal.log()).sum(-1)).median().item(),
    }


def write(rows: Sequence[Row], out: Path) -> None:
    """Write theory.json, theory.md and theory.png.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_json(out / "theory.json", list(rows))
    write_text(out / "theory.md", "\n".join(markdown_table(HEADER, map(_cells, rows))) + "\n")
    _draw(rows, out / "theory.png")


def _cells(row: Row) -> list[str]:
    """Table cells of a game."""
    soft = row["rule"] == "soft_introvae"
    return [
        str(row["gamma"]),
        f"{'alpha' if soft else 'hinge, margin'} {row['setting']}",
        f"{100 * float(row['assumption']):.0f} %" if soft else "",
        f"{row['distance_median']:.1e} ({row['distance_max']:.1e})",
        f"{row['local_distance_max']:.1e}",
        f"{row['gap_median']:.1e} ({row['gap_max']:.1e})",
        f"{100 * float(row['at_rest']):.0f} %",
    ]


def _draw(rows: Sequence[Row], path: Path) -> None:
    figure = pictures.new_figure(13, 3.9)
    panels = {
        "assumption": ("fraction of problems with p_d*(x)^(alpha+1) <= p_data(x)", False),
        "distance_median": ("distance of p_d from argmin KL + gamma H, median", True),
        "gap_median": ("KL(q || posterior), largest over x, median (nats)", True),
    }
    gammas = sorted({float(row["gamma"]) for row in rows})
    for index, (name, (title, logarithmic)) in enumerate(panels.items()):
        axes = figure.add_subplot(1, 3, index + 1)
        for rule, word, dash in (("soft_introvae", "alpha", "-"), ("introvae", "hinge, margin", ":")):
            if rule == "introvae" and name == "assumption":
                continue
            for setting in sorted({float(row["setting"]) for row in rows if row["rule"] == rule}):
                chosen = [float(r[name]) for r in rows if r["rule"] == rule and r["setting"] == setting]
                heights = [max(value, 1e-16) for value in chosen] if logarithmic else chosen
                axes.plot(gammas, heights, dash, marker="o", markersize=4, label=f"{word} {setting:g}")
        if logarithmic:
            axes.set_yscale("log")
        axes.set_xlabel("gamma")
        axes.set_title(title, fontsize=9)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=7)
    pictures.save_figure(figure, path, dpi=100)
