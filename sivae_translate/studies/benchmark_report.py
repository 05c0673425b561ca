"""Benchmark reports: writing them as JSON and Markdown, and comparing them."""

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
from sivae_translate.evaluation.leak import Leak
from sivae_translate.evaluation.probes import ProbeResult
from sivae_translate.evaluation.reporting import (
    TEXTURE_SENTENCE,
    codes_section,
    networks_sentence,
    reconstruction_section,
    risk_section,
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
"""Minimum accuracy on real images for a classifier's results on translations to be meaningful."""
TARGET_TABLES = 6
"""Most test domains for which the report has a table of each."""
TEXTURE_PAIRS = 30
"""Most directions for which the report shows the texture of each."""
FEWEST_PAIRS = 10
"""Minimum number of pairs of domains for a mean over pairs to have an interval."""
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
"""Metrics of pairs of domains, which have no value for a single translation."""

Row = Mapping[str, Interval | float]
"""Values of metrics by name, with intervals where there are any."""


@dataclass(frozen=True)
class MethodResult:
    """Results of one method with one kind of style.

    Attributes:
        method: name of the method.
        evaluation: the measurements.
        seconds: time for translating and measuring.
    """

    method: str
    evaluation: Evaluation
    seconds: float

    def metrics(self) -> dict[str, Interval | float]:
        """Means over all translations, pairs or target domains, with intervals.

        The interval of KID is +- 1.96 standard deviations over subsets; that of `OF_PAIRS` is a bootstrap
        over pairs of domains, if there are at least `FEWEST_PAIRS`; FID has none.
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
        """Metrics of each target domain: means over the pairs into it, and its FID and KID."""
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
    """Metrics and probes by method name."""
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
            "leak": asdict(one.evaluation.leak) if one.evaluation.leak else None,
            "risk": asdict(one.evaluation.risk) if one.evaluation.risk else None,
        }
        for one in methods
    }


def markdown(
    about: Mapping[str, Any], results: Mapping[StyleKind, Sequence[MethodResult]], *, curves: bool
) -> str:
    """The report as Markdown, with a link to the training curves if there are any."""
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
        lines += risk_section(model, "### Risk and coverage")
        lines += codes_section(model, "### Codes")
        lines += ["", f"![best, median and worst cases of the model]({style}/cases.png)"]
    lines += ["", "![contents and styles](grid.png)"]
    if curves:
        lines += ["", "![training curves](run/curves.png)"]
    return "\n".join(lines) + "\n"


def _facts(about: Mapping[str, Any]) -> list[str]:
    """How the results were obtained, and caveats."""
    facts, place = about["facts"], about["environment"]
    lines = [
        f"{facts['steps']} steps in {facts['minutes']} min on {place['device']} "
        f"({place['threads']} threads), seed {about['seed']}; "
        f"{about['seconds']['all'] / 60:.1f} min in total in the last call; "
        f"peak memory {about['peak_memory_bytes'] / 2**20:.0f} MiB. 95 % intervals.",
        "",
    ]
    if before := facts.get("started_from"):
        lines.append(
            f"- started from {markdown_text(str(before['model']))}, trained for {before['steps']} steps and "
            f"{before['minutes']:g} min"
        )
    for name, accuracy in about["classifiers"].items():
        warning = " (too low: its results on translations are not meaningful)" if accuracy < RELIABLE else ""
        lines.append(f"- accuracy of the classifier of the {name}: {accuracy:.3f}{warning}")
    lines.append(f"- {networks_sentence(about['lpips_networks'])}")
    if about["lpips_in_training"]:
        lines.append(
            f"- trained with LPIPS (AlexNet) in the loss (weight {about['lpips_in_training']:g}): compare "
            "LPIPS (VGG16), L1, SSIM and KID in Inception's features as well"
        )
    if about["false_alarms"]:
        flagged = ood.Flagged.from_json(about["false_alarms"])
        lines.append(
            f"- false alarms of the check at percentile {flagged.percentile:g}: {flagged}, where "
            f"{100 - flagged.percentile:g}% were chosen"
        )
    return lines


def _metric_tables(rows: Mapping[str, Row]) -> list[str]:
    """Tables of the metrics of several methods, and of those divided by copying's if there are any."""
    lines = _metric_table(rows)
    divided = {
        name: {metric: row[f"{metric}_ratio"] for metric in RATIOS if f"{metric}_ratio" in row}
        for name, row in rows.items()
    }
    return (
        [*lines, "", "Divided by copying:", "", *_metric_table(divided)] if any(divided.values()) else lines
    )


def _metric_table(rows: Mapping[str, Row]) -> list[str]:
    """A table with one row per method and one column per metric."""
    names = [name for name in COLUMNS if any(name in row for row in rows.values())]
    return markdown_table(
        ["method", *(TITLES[name] for name in names)],
        ([method, *(with_interval(row.get(name)) for name in names)] for method, row in rows.items()),
    )


def _texture_lines(methods: Mapping[str, Sequence[Texture]]) -> list[str]:
    """The texture test of several methods: geometric means over directions, with lowest and highest."""
    tested = {name: textures for name, textures in methods.items() if textures}
    if not tested:
        return []
    rows = [[name, *texture_cells(textures), count_right(textures)] for name, textures in tested.items()]
    return ["", TEXTURE_SENTENCE, "", *markdown_table(["method", *NAMES, "right"], rows)]


# ---- comparison


def compare_reports(folders: Sequence[Path]) -> str:
    """Compare benchmark reports, including those of earlier versions, as Markdown.

    Raises:
        DataError: a folder has no report.
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
            if leak := values.get("leak"):
                lines.append(f"- {markdown_text(name)}: leak: {Leak(**leak)}")
    return "\n".join(lines) + "\n"


def _read_report(folder: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        report["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} has no benchmark report", remedy="run sivae-translate benchmark first"
        ) from error
    return report


def _read_metrics(values: Mapping[str, Any]) -> Row:
    """A method's metrics with their current names."""
    written = values["metrics"] if "metrics" in values else values["figures"]
    return {
        OLD_NAMES.get(name, name): Interval(**value) if isinstance(value, dict) else value
        for name, value in written.items()
    }


def _origin(report: Mapping[str, Any]) -> list[str]:
    """Table cells that say how the results of a report were obtained."""
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
