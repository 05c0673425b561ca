"""Scores of several models on several foreign sets, against each model's own test images.

    python -m benchmarks.ood runs/generation/{elbo,introvae,soft_introvae}-0 --foreign mnist=MNIST
    python -m benchmarks.ood runs/benchmark-{cars3d,facades,emoji,digits}/run --cross --out runs/ood-cross

``--foreign`` names a folder of images or idx files; ``--cross`` adds the test images of the other runs, at
each model's own size. The results are results.json, results.md (AUROC of each score, and the images that the
translator's check flags) and the reports of `sivae-translate ood` for every pair. No number here was used to
choose anything: scores have no settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from benchmarks.common import read_options
from sivae_translate.config import DataConfig, load_config
from sivae_translate.data.loading import load_images, load_test_images
from sivae_translate.evaluation import ood
from sivae_translate.evaluation.reporting import write_ood
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.tables import markdown_table

Sets = dict[str, Callable[[DataConfig], np.ndarray]]
"""Foreign sets: for each name, a function that reads it in the form of a model's data."""


def run(
    runs: Sequence[Path],
    foreign: Sets,
    out: Path,
    *,
    cross: bool,
    limit: int,
    regret_steps: int,
    seed: int = 0,
) -> None:
    """Score every run on every foreign set; results are written after each."""
    own = {folder: load_config(folder / "config.yaml").data for folder in runs}
    rows: list[dict[str, Any]] = []
    for folder in runs:
        translator = Translator.from_pretrained(folder)
        known = load_test_images(own[folder], 2 * limit, seed)
        scored = ood.score_known(translator, known[::2], known[1::2], regret_steps=regret_steps, seed=seed)
        for name, read in (foreign | (_others(own, folder, limit, seed) if cross else {})).items():
            outside = read(own[folder])
            result = ood.compare(translator, scored, outside, regret_steps=regret_steps, seed=seed)
            model = label(folder)
            write_ood(
                result,
                (known[::2], outside),
                out / model / name,
                f"{model} against {name}",
                {"run": model, "seed": seed},
            )
            rows.append({"model": model, "foreign": name, "facts": translator.facts, **result.as_json()})
            write_json(out / "results.json", rows)
            write_text(out / "results.md", table(rows))
    print((out / "results.md").read_text(encoding="utf-8"))


def label(folder: Path) -> str:
    """The name of a run in tables: its folder, or the parent folder for a benchmark's run."""
    return folder.parent.name if folder.name == "run" else folder.name


def _others(own: dict[Path, DataConfig], folder: Path, limit: int, seed: int) -> Sets:
    """Test images of the other runs, at this run's size."""
    form = own[folder]
    shape = {"image_size": form.image_size, "channels": form.channels}

    def reader(config: DataConfig) -> Callable[[DataConfig], np.ndarray]:
        return lambda _: load_test_images(config.model_copy(update=shape), limit, seed)

    foreign = {
        label(other): config
        for other, config in own.items()
        if (config.name, config.root) != (form.name, form.root)
    }
    return {name: reader(config) for name, config in foreign.items()}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table with one row per pair: AUROC of each score, the best in bold, and fractions flagged."""
    names = list(rows[0]["scores"])
    lines = []
    for row in rows:
        values = {name: row["scores"][name]["auroc"]["mean"] for name in names}
        best = max(values.values())
        cells = [f"**{value:.3f}**" if value == best else f"{value:.3f}" for value in values.values()]
        flagged = row["flagged"]
        shares = (
            [f"{flagged[side]['share']['mean']:.1%}" for side in ("inside", "outside")]
            if flagged
            else ["-"] * 2
        )
        percentile = f"{flagged['inside']['percentile']:g}" if flagged else "-"
        lines.append([row["model"], row["foreign"], *cells, percentile, *shares])
    header = ["model", "foreign", *names, "percentile", "flagged: known", "foreign"]
    return "\n".join(markdown_table(header, lines)) + "\n"


def _folder(given: str) -> tuple[str, Path]:
    name, _, path = given.rpartition("=")
    return name or Path(path).name, Path(path)


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    runs: Positional[tuple[Path, ...]]
    """Run folders."""
    foreign: tuple[str, ...] = ()
    """NAME=FOLDER of images or idx files."""
    cross: bool = False
    """Also compare each run with the others' test images."""
    limit: int = 1000
    """Number of images of each kind."""
    regret_steps: int = 0
    out: Path = Path("runs/ood")


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    folders = [_folder(text) for text in given.foreign]
    sets: Sets = {name: partial(load_images, path, limit=given.limit) for name, path in folders}
    run(given.runs, sets, given.out, cross=given.cross, limit=given.limit, regret_steps=given.regret_steps)
