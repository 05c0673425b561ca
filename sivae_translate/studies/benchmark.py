"""A benchmark from data to report: train, translate the test images by the model and by baselines, judge all
alike.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from sivae_translate.config import Config, DataConfig
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import StyleKind, get_source
from sivae_translate.data.tensors import to_pil, to_tensor
from sivae_translate.evaluation import ood
from sivae_translate.evaluation import reporting as report
from sivae_translate.evaluation.baselines import ColourStatistics, Copying, Method, NearestNeighbour
from sivae_translate.evaluation.fidelity import Inception
from sivae_translate.evaluation.metrics import Interval, bootstrap
from sivae_translate.evaluation.probes import ProbeResult
from sivae_translate.evaluation.translation import (
    RATIOS,
    Evaluation,
    Judges,
    check_limit,
    evaluate,
    make_judges,
    spread,
)
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.trainer import train
from sivae_translate.utils import pictures
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.progress import console

MODEL = "model"
JUDGE = 0.9
"""Accuracy on real images from which a classifier's word on translations is worth something."""
SHOWN = 8
SHOWN_STYLES = 10
SHOWN_TARGETS = 6
"""Test domains up to which the report has a table of each."""
FEWEST_PAIRS = 10
CHECKED = 2000
"""Test images at most that the translator's check is tried on."""
FIGURES = (
    "lpips",
    "gain",
    "l1",
    "ssim",
    "psnr",
    "fid",
    "kid",
    "recognised",
    "classified",
    "diversity",
    "cycle_lpips",
)


@dataclass(frozen=True)
class Judged:
    """One method under one kind of style.

    Attributes:
        method: its name.
        evaluation: its figures.
        seconds: translating and judging.
    """

    method: str
    evaluation: Evaluation
    seconds: float

    def figures(self) -> dict[str, Interval | float]:
        """Means over all translations with intervals, and means of what has one figure a pair or target
        domain.

        KID's interval is 1.96 standard deviations over subsets wide on either side; diversity's is a
        bootstrap over pairs of domains, where there are `FEWEST_PAIRS`; FID has none.
        """
        found: dict[str, Interval | float] = dict(self.evaluation.overall)
        diversity = [pair.diversity for pair in self.evaluation.pairs if pair.diversity is not None]
        if diversity:
            enough = len(diversity) >= FEWEST_PAIRS
            found["diversity"] = bootstrap(torch.tensor(diversity)) if enough else float(np.mean(diversity))
        if targets := self.evaluation.targets:
            kid = float(np.mean([target.kid for target in targets]))
            reach = 1.96 * float(np.linalg.norm([target.kid_std for target in targets])) / len(targets)
            found["kid"] = Interval(kid, kid - reach, kid + reach)
            found["fid"] = float(np.mean([target.fid for target in targets]))
        return found

    def by_target(self) -> dict[str, dict[str, float]]:
        """Target domain to its own figures: means over the pairs into it, and its FID and KID."""
        found: dict[str, dict[str, float]] = {}
        for target in dict.fromkeys(pair.target for pair in self.evaluation.pairs):
            pairs = [asdict(pair) for pair in self.evaluation.pairs if pair.target == target]
            features = [asdict(one) for one in self.evaluation.targets if one.target == target]
            values = {
                name: [row[name] for row in pairs + features if row.get(name) is not None] for name in FIGURES
            }
            found[target] = {name: float(np.mean(numbers)) for name, numbers in values.items() if numbers}
        return found


def run_benchmark(
    config: Config,
    out: Path,
    *,
    command: str,
    inception: bool = True,
    limit: int | None = None,
    against: Sequence[str] = (),
) -> Path:
    """Train (or go on, or take what is trained already), judge the model and the baselines, write the report.

    Args:
        config: data, model, objective and budget.
        out: folder; the run lies in ``out/run``.
        command: that made it, for the report.
        inception: also FID and KID; needs the extra ``fid``.
        limit: at most this many test images a domain, spread evenly over them.
        against: other models of the same domains (run folders, model files), judged beside this one.

    Returns:
        ``out``, with report.json, report.md, grid.png, and for each kind of style a folder with the model's
        figures and cases.

    Raises:
        DataError: the data cannot be used or has no test images.
        ConfigError: the settings do not fit, or ``inception`` is set and the extra is not installed.
        CheckpointError: the run in ``out`` was trained with other settings.
        InputError: the limit is below 1.
    """
    # First, since what is missing should not be noticed after hours of training.
    check_limit(limit, 2 if inception else 1)  # FID needs a covariance
    device = pick_device(config.training.device)
    features = Inception(device if device.type == "cuda" else "cpu") if inception else None
    others: list[tuple[str, Method | Translator]] = [
        (name, Translator.from_pretrained(name, device=config.training.device)) for name in against
    ]
    data = load_data(config.data)
    if not data.test:
        raise DataError(
            "the data has no test images", remedy="lay it out as train/<domain> and test/<domain>"
        )
    began = time.monotonic()
    translator = Translator.from_pretrained(
        train(config, out / "run", resume=True, data=data), device=config.training.device
    )
    trained = time.monotonic() - began
    judges = make_judges(
        data, Lpips.load(device=str(translator.device)), inception=features, seed=config.training.seed
    )
    styles = _style_kinds(config.data, translator)
    found = {
        style: [
            _judge(name, method, data, style, judges, config.training.seed, limit) for name, method in methods
        ]
        for style in styles
        for methods in [[*_methods(translator, data, style), *others]]
    }
    for style, judged in found.items():
        report.write(
            judged[0].evaluation, out / style, f"{config.data.name}, {style} style", {"command": command}
        )
    pictures.save(content_and_style(translator, data, styles[0]), out / "grid.png")
    tested = [(source, at) for source in data.test for at in range(len(source))]
    flagged = ood.flagged(translator, [tested[at][0][tested[at][1]] for at in spread(len(tested), CHECKED)])
    about = {
        "benchmark": config.data.name,
        "command": command,
        "seed": config.training.seed,
        "seconds": {"training, this call": round(trained, 1), "all": round(time.monotonic() - began, 1)},
        "peak_memory_bytes": peak_memory(translator.device),
        "environment": environment(translator.device),
        "facts": translator.facts,
        "lpips_in_training": config.objective.perceptual,
        "judges": {name: round(c.accuracy, 4) for name, c in _classifiers(judges, data).items()},
        "false_alarms": asdict(flagged) if flagged else None,
    }
    write_json(
        out / "report.json",
        {**about, "results": {style: _as_json(judged) for style, judged in found.items()}},
    )
    write_text(out / "report.md", markdown(about, found, curves=(out / "run" / "curves.png").exists()))
    return out


def _style_kinds(config: DataConfig, translator: Translator) -> tuple[StyleKind, ...]:
    """Which styles a benchmark translates to; a model without domains has no domain styles."""
    kinds = get_source(config.name).style_kinds
    return kinds if translator.model.domains else ("reference",)


def _methods(
    translator: Translator, data: DomainData, style: StyleKind
) -> list[tuple[str, Method | Translator]]:
    """The model and what it is compared with."""
    methods: list[tuple[str, Method | Translator]] = [(MODEL, translator), ("copying", Copying())]
    methods.append(("colour statistics", ColourStatistics(data)))
    if style == "domain":
        methods.append(("nearest neighbour", NearestNeighbour(data, translator)))
    return methods


def _judge(
    name: str,
    method: Method | Translator,
    data: DomainData,
    style: StyleKind,
    judges: Judges,
    seed: int,
    limit: int | None,
) -> Judged:
    console.print(f"{style} style: {name}", highlight=False)
    began = time.monotonic()
    evaluation = evaluate(method, data, style=style, judges=judges, seed=seed, limit=limit)
    return Judged(name, evaluation, time.monotonic() - began)


def _classifiers(judges: Judges, data: DomainData) -> dict[str, Any]:
    named = {"accuracy of the domains' judge": judges.domains} if judges.domains else {}
    return named | {
        f"accuracy of the classes' judge, {name}": judge
        for name, judge in zip(data.domains, judges.classes, strict=False)
    }


def _as_json(judged: Sequence[Judged]) -> dict[str, object]:
    return {
        one.method: {
            "seconds": round(one.seconds, 1),
            "figures": {
                name: asdict(v) if isinstance(v, Interval) else v for name, v in one.figures().items()
            },
            "targets": one.by_target(),
            "probes": {name: asdict(probe) for name, probe in one.evaluation.probes.items()},
        }
        for one in judged
    }


def environment(device: torch.device) -> dict[str, object]:
    """What a reader has to know of the machine to understand times."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
    }


def peak_memory(device: torch.device) -> int:
    """Most memory that this process has held so far, in bytes: on the GPU when it is used, else in all."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@torch.no_grad()
def content_and_style(translator: Translator, data: DomainData, style: StyleKind) -> Image.Image:
    """Test images down the side, styles along the top, translations between them: references, or the domains'
    own styles.
    """
    tested = list(zip(data.test_domains, data.test, strict=True))
    contents = [tested[row % len(tested)] for row in range(SHOWN)]
    images = [source[(37 * row) % len(source)] for row, (_, source) in enumerate(contents)]
    chosen = tested[:SHOWN_STYLES]
    if style == "reference":
        shown = [source[(53 * column + 11) % len(source)] for column, (_, source) in enumerate(chosen)]
        codes = translator.encode(to_tensor(np.stack(shown))).style.mean
        heads = [pictures.from_array(image) for image in shown]
    else:
        codes = torch.cat([translator.style_code(Style.domain(name)) for name, _ in chosen])
        heads = [pictures.from_array(source[11 % len(source)]) for _, source in chosen]
    batch = to_tensor(np.stack(images))
    made = [translator(batch, code, output="tensor") for code in codes]
    rows: list[list[Image.Image | None]] = [[None, *heads]]
    rows += [
        [pictures.from_array(image), *(to_pil(column[row]) for column in made)]
        for row, image in enumerate(images)
    ]
    return pictures.grid(
        rows, row_names=["style of", *(name for name, _ in contents)], cell=max(64, translator.image_size)
    )


# ---- tables


def markdown(about: Mapping[str, Any], found: Mapping[StyleKind, Sequence[Judged]], *, curves: bool) -> str:
    """The report as Markdown, with a link to the training curves where there are some."""
    lines = [f"# {about['benchmark']}", "", f"    {about['command']}", ""]
    facts, place = about["facts"], about["environment"]
    lines += [
        f"{facts['steps']} steps in {facts['minutes']} min on {place['device']} ({place['threads']} "
        "threads), "
        f"seed {about['seed']}; all in all {about['seconds']['all'] / 60:.1f} min in the last call; "
        f"peak memory {about['peak_memory_bytes'] / 2**20:.0f} MiB. Intervals are 95 %.",
        "",
    ]
    if before := facts.get("started_from"):
        lines += [
            f"- started from {before['model']}, trained for {before['steps']} steps and "
            f"{before['minutes']:g} min"
        ]
    lines += [
        f"- {name}: {accuracy:.3f}"
        + (" (too low: what it says of translations means little)" if accuracy < JUDGE else "")
        for name, accuracy in about["judges"].items()
    ]
    if about["lpips_in_training"]:
        lines += [
            f"- trained with LPIPS in its error (weight {about['lpips_in_training']:g}): look at L1, "
            "SSIM and KID, too"
        ]
    if about["false_alarms"]:
        flagged = ood.Flagged.from_json(about["false_alarms"])
        chosen = 100 - flagged.percentile
        lines += [
            f"- false alarms of the check at percentile {flagged.percentile:g}: {flagged}, where "
            f"{chosen:g}% were chosen"
        ]
    for style, judged in found.items():
        lines += ["", f"## {style} style", "", *_rows({one.method: one.figures() for one in judged})]
        divided = {one.method: _divided(one.figures()) for one in judged}
        if any(divided.values()):
            lines += ["", "Divided by copying:", "", *_rows(divided)]
        apart = {f"{one.method}, to {name}": row for one in judged for name, row in one.by_target().items()}
        if len(judged) < len(apart) <= len(judged) * SHOWN_TARGETS:
            lines += ["", *_rows(apart)]
        probes = judged[0].evaluation.probes
        lines += ["", *(f"- {name}: {probe}" for name, probe in probes.items())]
        lines += ["", f"![best, median and worst cases of the model]({style}/cases.png)"]
    lines += [
        "",
        "![contents and styles](grid.png)",
        *(["", "![training curves](run/curves.png)"] if curves else []),
    ]
    return "\n".join(lines) + "\n"


def _divided(figures: Mapping[str, Interval | float]) -> dict[str, Interval | float]:
    """LPIPS, L1, SSIM and PSNR over those of copying."""
    return {name: figures[f"{name}_ratio"] for name in RATIOS if f"{name}_ratio" in figures}


def _rows(figures: Mapping[str, Mapping[str, Interval | float]]) -> list[str]:
    """One row a method, one column a figure that any of them has."""
    names = [name for name in FIGURES if any(name in row for row in figures.values())]
    lines = ["| method | " + " | ".join(names) + " |", "|" + " --- |" * (len(names) + 1)]
    return lines + [
        f"| {method} | " + " | ".join(_cell(row.get(name)) for name in names) + " |"
        for method, row in figures.items()
    ]


def _cell(value: Interval | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Interval):
        return f"{value.mean:.4f} ({value.low:.4f} to {value.high:.4f})"
    return f"{value:.4f}"


def compare_reports(folders: Sequence[Path]) -> str:
    """Several benchmark reports side by side, as Markdown: how each came about, the methods' figures, and the
    probes.

    Raises:
        DataError: a folder holds no report.
    """
    runs: dict[str, dict[str, Any]] = {}
    for folder in folders:
        path = folder / "report.json"
        try:
            runs[str(folder)] = json.loads(path.read_text(encoding="utf-8"))
            runs[str(folder)]["results"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder} holds no benchmark report", remedy="run sivae-translate benchmark first"
            ) from error
    columns = (
        "run",
        "benchmark",
        "steps",
        "minutes",
        "started from",
        "seed",
        "all in all",
        "peak memory",
        "false alarms",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += [f"| {name} | " + " | ".join(_origin(run)) + " |" for name, run in runs.items()]
    for style in dict.fromkeys(style for run in runs.values() for style in run["results"]):
        methods = {
            f"{name}: {m}": one for name, r in runs.items() for m, one in r["results"].get(style, {}).items()
        }
        figures = {
            name: {key: Interval(**v) if isinstance(v, dict) else v for key, v in one["figures"].items()}
            for name, one in methods.items()
        }
        lines += ["", f"## {style} style", "", *_rows(figures)]
        divided = {name: _divided(row) for name, row in figures.items()}
        if any(divided.values()):
            lines += ["", "Divided by copying:", "", *_rows(divided)]
        lines.append("")
        for name, one in methods.items():
            lines += [f"- {name}: {probe}: {ProbeResult(**value)}" for probe, value in one["probes"].items()]
    return "\n".join(lines) + "\n"


def _origin(written: Mapping[str, Any]) -> list[str]:
    """How a report came about, a cell each."""
    facts, alarms = written["facts"], written.get("false_alarms")
    before = facts.get("started_from")
    flagged = ood.Flagged.from_json(alarms) if alarms else None
    return [
        written["benchmark"],
        str(facts["steps"]),
        str(facts["minutes"]),
        f"{before['model']}, {before['minutes']:g} min" if before else "",
        str(written["seed"]),
        f"{written['seconds']['all'] / 60:.1f} min",
        f"{written['peak_memory_bytes'] / 2**20:.0f} MiB",
        f"{flagged} at percentile {flagged.percentile:g}" if flagged else "",
    ]
