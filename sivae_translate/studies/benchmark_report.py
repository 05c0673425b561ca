"""Benchmark reports: written as JSON and Markdown, read back, and put side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sivae_translate.data.sources import StyleKind
from sivae_translate.evaluation import ood
from sivae_translate.evaluation.intervals import Interval, bootstrap
from sivae_translate.evaluation.probes import ProbeResult
from sivae_translate.evaluation.reporting import (
    TEXTURE_SENTENCE,
    networks_sentence,
    reconstruction_section,
    texture_section,
    with_interval,
)
from sivae_translate.evaluation.results import OLD_NAMES, RATIOS, TITLES, Evaluation
from sivae_translate.evaluation.texture import NAMES, Texture, count_right, texture_cells
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.tables import markdown_table
from sivae_translate.utils.text import markdown_text, printable

MODEL = "model"
RELIABLE = 0.9
"""Accuracy on real images above which a classifier's answer on translations means something."""
TARGET_TABLES = 6
"""Test domains up to which the report has a table of each."""
TEXTURE_PAIRS = 30
"""Directions up to which the report shows the texture of each."""
FEWEST_PAIRS = 10
"""Pairs of domains from which on a mean over pairs has an interval."""
COLUMNS = (
    "lpips",
    "gain",
    "l1",
    "ssim",
    "psnr",
    "fid",
    "kid",
    "kid_alexnet",
    "lpips_vgg",
    "gain_vgg",
    "domain_accuracy",
    "class_accuracy",
    "diversity",
    "real_diversity",
    "cycle_lpips",
)
OF_PAIRS = ("diversity", "real_diversity", "kid_alexnet")
"""Metrics of whole pairs of domains: they have no value for each translation."""

Row = Mapping[str, Interval | float]
"""Metric name to its value, with an interval where there is one."""


@dataclass(frozen=True)
class MethodResult:
    """One method under one kind of style.

    Attributes:
        method: its name.
        evaluation: what was measured.
        seconds: for translating and measuring.
    """

    method: str
    evaluation: Evaluation
    seconds: float

    def metrics(self) -> dict[str, Interval | float]:
        """Means over all translations with intervals, and means of what has one value for each pair or target
        domain.

        KID's interval is 1.96 standard deviations over subsets wide on either side; that of `OF_PAIRS` is a
        bootstrap over pairs of domains, where there are `FEWEST_PAIRS`; FID has none.
        """
        metrics: dict[str, Interval | float] = dict(self.evaluation.overall)
        for name in OF_PAIRS:
            means = [pair.metrics[name].mean for pair in self.evaluation.pairs if name in pair.metrics]
            if means:
                enough = len(means) >= FEWEST_PAIRS
                metrics[name] = bootstrap(torch.tensor(means)) if enough else float(np.mean(means))
        if targets := self.evaluation.targets:
            kid = float(np.mean([target.kid for target in targets]))
            reach = 1.96 * float(np.linalg.norm([target.kid_std for target in targets])) / len(targets)
            metrics["kid"] = Interval(kid, kid - reach, kid + reach)
            metrics["fid"] = float(np.mean([target.fid for target in targets]))
        return metrics

    def textures(self) -> list[Texture]:
        """The texture test of each direction."""
        return [pair.texture for pair in self.evaluation.pairs if pair.texture]

    def by_target(self) -> dict[str, dict[str, float]]:
        """Target domain to its own metrics: means over the pairs into it, and its FID and KID."""
        rows: dict[str, dict[str, float]] = {}
        for target in dict.fromkeys(pair.target for pair in self.evaluation.pairs):
            values: dict[str, list[float]] = {}
            for pair in self.evaluation.pairs:
                if pair.target == target:
                    for name, interval in pair.metrics.items():
                        values.setdefault(name, []).append(interval.mean)
            for one in self.evaluation.targets:
                if one.target == target:
                    values |= {"fid": [one.fid], "kid": [one.kid]}
            rows[target] = {name: float(np.mean(values[name])) for name in COLUMNS if name in values}
        return rows


def as_json(methods: Sequence[MethodResult]) -> dict[str, object]:
    """Method name to its metrics and probes."""
    return {
        one.method: {
            "seconds": round(one.seconds, 1),
            "metrics": {
                name: asdict(value) if isinstance(value, Interval) else value
                for name, value in one.metrics().items()
            },
            "targets": one.by_target(),
            "texture": {
                f"{pair.source} to {pair.target}": asdict(pair.texture)
                for pair in one.evaluation.pairs
                if pair.texture
            },
            "reconstruction": {
                domain.domain: {name: asdict(value) for name, value in domain.metrics.items()}
                for domain in one.evaluation.domains
            },
            "probes": {name: asdict(probe) for name, probe in one.evaluation.probes.items()},
        }
        for one in methods
    }


def markdown(
    about: Mapping[str, Any], results: Mapping[StyleKind, Sequence[MethodResult]], *, curves: bool
) -> str:
    """The report as Markdown, with a link to the training curves where there are some."""
    lines = [
        f"# {markdown_text(about['benchmark'])}",
        "",
        f"    {printable(about['command'])}",
        "",
        *_facts(about),
    ]
    for style, methods in results.items():
        model = methods[0].evaluation
        lines += [
            "",
            f"## {style} style",
            "",
            *_metric_tables({one.method: one.metrics() for one in methods}),
        ]
        targets = {
            f"{one.method}, to {name}": row for one in methods for name, row in one.by_target().items()
        }
        if len(methods) < len(targets) <= len(methods) * TARGET_TABLES:
            lines += ["", *_metric_table(targets)]
        lines += _texture_lines({one.method: one.textures() for one in methods})
        if len(model.pairs) <= TEXTURE_PAIRS:
            lines += texture_section(model.pairs, "### Texture of the model's translations")
        lines += reconstruction_section(model.domains, "### Reconstruction")
        lines += ["", *(f"- {name}: {probe}" for name, probe in model.probes.items())]
        lines += ["", f"![best, median and worst cases of the model]({style}/cases.png)"]
    lines += ["", "![contents and styles](grid.png)"]
    if curves:
        lines += ["", "![training curves](run/curves.png)"]
    return "\n".join(lines) + "\n"


def _facts(about: Mapping[str, Any]) -> list[str]:
    """How the report came about, and what to keep in mind when reading it."""
    facts, place = about["facts"], about["environment"]
    lines = [
        f"{facts['steps']} steps in {facts['minutes']} min on {place['device']} "
        f"({place['threads']} threads), seed {about['seed']}; "
        f"{about['seconds']['all'] / 60:.1f} min in all in the last call; "
        f"peak memory {about['peak_memory_bytes'] / 2**20:.0f} MiB. Intervals are 95 %.",
        "",
    ]
    if before := facts.get("started_from"):
        lines.append(
            f"- started from {markdown_text(str(before['model']))}, trained for {before['steps']} steps and "
            f"{before['minutes']:g} min"
        )
    for name, accuracy in about["classifiers"].items():
        warning = " (too low: its answers on translations mean little)" if accuracy < RELIABLE else ""
        lines.append(f"- accuracy of the classifier of the {name}: {accuracy:.3f}{warning}")
    lines.append(f"- {networks_sentence(about['lpips_networks'])}")
    if about["lpips_in_training"]:
        lines.append(
            f"- trained with AlexNet's LPIPS in the loss (weight {about['lpips_in_training']:g}): look at "
            "VGG16's, L1, SSIM and KID in Inception's features, too"
        )
    if about["false_alarms"]:
        flagged = ood.Flagged.from_json(about["false_alarms"])
        lines.append(
            f"- false alarms of the check at percentile {flagged.percentile:g}: {flagged}, where "
            f"{100 - flagged.percentile:g}% were chosen"
        )
    return lines


def _metric_tables(rows: Mapping[str, Row]) -> list[str]:
    """The metrics of several methods; then those divided by copying's, where there are any."""
    lines = _metric_table(rows)
    divided = {
        name: {metric: row[f"{metric}_ratio"] for metric in RATIOS if f"{metric}_ratio" in row}
        for name, row in rows.items()
    }
    return (
        [*lines, "", "Divided by copying:", "", *_metric_table(divided)] if any(divided.values()) else lines
    )


def _metric_table(rows: Mapping[str, Row]) -> list[str]:
    """One row a method, one column a metric that any of them has."""
    names = [name for name in COLUMNS if any(name in row for row in rows.values())]
    return markdown_table(
        ["method", *(TITLES[name] for name in names)],
        ([method, *(with_interval(row.get(name)) for name in names)] for method, row in rows.items()),
    )


def _texture_lines(methods: Mapping[str, Sequence[Texture]]) -> list[str]:
    """The texture test of several methods: geometric means over directions with the lowest and highest."""
    tested = {name: textures for name, textures in methods.items() if textures}
    if not tested:
        return []
    rows = [[name, *texture_cells(textures), count_right(textures)] for name, textures in tested.items()]
    return ["", TEXTURE_SENTENCE, "", *markdown_table(["method", *NAMES, "right"], rows)]


# ---- side by side


def compare_reports(folders: Sequence[Path]) -> str:
    """Several benchmark reports side by side, as Markdown: how each came about, the methods' metrics, and the
    probes. Reports of earlier versions are understood.

    Raises:
        DataError: a folder holds no report.
    """
    reports = {str(folder): _read_report(folder) for folder in folders}
    header = ["run", "benchmark", "steps", "minutes", "started from", "seed", "time in all", "peak memory"]
    lines = markdown_table(
        [*header, "false alarms"], ([name, *_origin(report)] for name, report in reports.items())
    )
    for style in dict.fromkeys(style for report in reports.values() for style in report["results"]):
        methods = {
            f"{name}: {method}": values
            for name, report in reports.items()
            for method, values in report["results"].get(style, {}).items()
        }
        rows = {name: _read_metrics(values) for name, values in methods.items()}
        textures = {
            name: [Texture(**one) for one in values.get("texture", {}).values()]
            for name, values in methods.items()
        }
        lines += ["", f"## {style} style", "", *_metric_tables(rows), *_texture_lines(textures), ""]
        for name, values in methods.items():
            lines += [
                f"- {markdown_text(name)}: {probe}: {ProbeResult(**one)}"
                for probe, one in values["probes"].items()
            ]
    return "\n".join(lines) + "\n"


def _read_report(folder: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        report["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} holds no benchmark report", remedy="run sivae-translate benchmark first"
        ) from error
    return report


def _read_metrics(values: Mapping[str, Any]) -> Row:
    """A method's metrics under today's names."""
    written = values["metrics"] if "metrics" in values else values["figures"]
    return {
        OLD_NAMES.get(name, name): Interval(**value) if isinstance(value, dict) else value
        for name, value in written.items()
    }


def _origin(report: Mapping[str, Any]) -> list[str]:
    """How a report came about, a cell each."""
    facts, alarms = report["facts"], report.get("false_alarms")
    before = facts.get("started_from")
    flagged = ood.Flagged.from_json(alarms) if alarms else None
    return [
        report["benchmark"],
        str(facts["steps"]),
        str(facts["minutes"]),
        f"{before['model']}, {before['minutes']:g} min" if before else "",
        str(report["seed"]),
        f"{report['seconds']['all'] / 60:.1f} min",
        f"{report['peak_memory_bytes'] / 2**20:.0f} MiB",
        f"{flagged} at percentile {flagged.percentile:g}" if flagged else "",
    ]
