"""``make demo``: training and translation in a few minutes, on letters with known true translations."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image
from rich.table import Table

from sivae_translate.config import load_config
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.tensors import to_pil, to_tensor
from sivae_translate.evaluation.reporting import write_evaluation
from sivae_translate.evaluation.results import Evaluation, PairResult
from sivae_translate.evaluation.suite import MetricSuite
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.launch import train
from sivae_translate.utils import pictures
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.files import write_json
from sivae_translate.utils.progress import PlainConsole
from sivae_translate.utils.resources import config_path
from sivae_translate.utils.selection import spread
from sivae_translate.utils.tables import terminal_table

SOURCE = "dejavu-sans"
SHOWN_LETTERS = 16
HARD_PAIRS = 10
"""How many ordered pairs of fonts count as the most different ones, by LPIPS of copying."""


def demo(out: Path, minutes: float) -> None:
    """Train a small model, and translate test letters with it and with the shipped one; measure both.

    Args:
        out: folder for the run, grid.png and the evaluations; an earlier demo in it is replaced.
        minutes: training time.

    Raises:
        ConfigError: ``out`` is not empty and not a demo, or the minutes are not positive.
        Interrupted: SIGINT or SIGTERM.
    """
    console = PlainConsole()
    if out.exists() and any(out.iterdir()) and not (out / "demo.json").exists():
        raise ConfigError(f"{out} is not empty and not a demo", remedy="choose another --out")
    config = load_config(config_path("demo"), {"training.minutes": minutes})
    shutil.rmtree(out, ignore_errors=True)
    write_json(out / "demo.json", {"minutes": minutes})
    data = load_data(config.data)
    counts = ", ".join(f"{name} {len(source)}" for name, source in zip(data.domains, data.train, strict=True))
    console.print(f"Six fonts are the domains. Unpaired training letters: {counts}.", highlight=False)
    console.print(
        f"{len(data.test[0])} letters are never trained on. Training for {minutes:g} minutes:",
        highlight=False,
    )
    run = train(config, out / "run", data=data)
    suite = MetricSuite(Lpips.load())
    translators = {"fresh": Translator.from_pretrained(run), "shipped": Translator.from_pretrained("glyphs")}
    results = {name: evaluate(translator, data, suite=suite) for name, translator in translators.items()}
    for name, result in results.items():
        write_evaluation(result, out / name, f"demo, {name} model", {"facts": translators[name].facts})
    pictures.save(letter_grid(translators, data), out / "grid.png")
    write_json(
        out / "demo.json",
        {"minutes": minutes, "gain": {name: r.overall["gain"].mean for name, r in results.items()}},
    )
    console.print(summary(results))
    console.print(
        f"picture: {out / 'grid.png'}   reports: {out / 'fresh'}, {out / 'shipped'}, {run / 'report.html'}"
    )


def letter_grid(translators: dict[str, Translator], data: DomainData) -> Image.Image:
    """Test letters of one font, their translations to every other font by each model, and the truth."""
    source = data.domains.index(SOURCE)
    chosen = readable_letters(data)
    letters = to_tensor([data.test[source][index] for index in chosen])
    rows, names = [[to_pil(letter) for letter in letters]], [f"source: {SOURCE}"]
    for target, domain in enumerate(data.domains):
        if target == source:
            continue
        for name, translator in translators.items():
            made = translator.engine.translate(letters, translator.style_code(Style.domain(domain)))
            rows.append([to_pil(letter) for letter in made])
            names.append(f"{domain}: {name}")
        rows.append([pictures.from_array(data.test[target][index]) for index in chosen])
        names.append(f"{domain}: truth")
    return pictures.grid(rows, row_names=names, cell=64)


def readable_letters(data: DomainData) -> list[int]:
    """Evenly spread test letters: the list is sorted by code point, with Latin before Greek and Cyrillic."""
    return spread(len(data.test[0]), SHOWN_LETTERS)


def hardest(pairs: tuple[PairResult, ...]) -> tuple[PairResult, ...]:
    """The pairs of domains that differ most."""
    return tuple(sorted(pairs, key=lambda pair: -(pair.value("copy_lpips") or 0))[:HARD_PAIRS])


def gain_over(pairs: tuple[PairResult, ...]) -> float:
    """1 - LPIPS / LPIPS of copying, over several pairs."""
    translated, copied = (sum(pair.metrics[name].mean for pair in pairs) for name in ("lpips", "copy_lpips"))
    return 1 - translated / copied


def summary(results: dict[str, Evaluation]) -> Table:
    """A table with one row per model: all pairs, and the most different ones."""
    header = ["model", "LPIPS", "copying", "gain", "95 %", f"gain, {HARD_PAIRS} most different pairs"]
    rows = []
    for name, result in results.items():
        overall = result.overall
        gain = overall["gain"]
        rows.append(
            [
                name,
                f"{overall['lpips'].mean:.4f}",
                f"{overall['copy_lpips'].mean:.4f}",
                f"{gain.mean:+.3f}",
                f"{gain.low:+.3f} to {gain.high:+.3f}",
                f"{gain_over(hardest(result.pairs)):+.3f}",
            ]
        )
    return terminal_table("glyphs: 120 test letters, 30 pairs of fonts", header, rows)
