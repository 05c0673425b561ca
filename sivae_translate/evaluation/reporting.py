"""Reports of evaluations and out-of-distribution comparisons, as JSON, Markdown and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from sivae_translate.evaluation.galleries import case_picture, hardest_images, save_histograms
from sivae_translate.evaluation.intervals import Interval
from sivae_translate.evaluation.ood import OodResult
from sivae_translate.evaluation.probes import ProbeResult, strongest
from sivae_translate.evaluation.results import RATIOS, TITLES, DomainResult, Evaluation, PairResult
from sivae_translate.evaluation.texture import NAMES, count_right, texture_cells
from sivae_translate.models.lpips_weights import VGG_INSTALL
from sivae_translate.utils import pictures
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.tables import markdown_table, number, terminal_table
from sivae_translate.utils.text import markdown_text

TERMINAL_PAIRS = 30
TERMINAL_COLUMNS = {
    "lpips": "LPIPS",
    "copy_lpips": "copying",
    "gain": "gain",
    "diversity": "diversity",
}
TEXTURE_SENTENCE = "Power relative to real test images of the target, by period in pixels."
RATIO_TITLES = {f"{name}_ratio": f"{TITLES[name]} / copying's" for name in RATIOS}


def write_evaluation(evaluation: Evaluation, folder: Path, title: str, about: dict[str, object]) -> None:
    """Write evaluation.json, evaluation.md and cases.png.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_json(folder / "evaluation.json", {"title": title, "about": about, **evaluation.as_json()})
    write_text(folder / "evaluation.md", evaluation_markdown(evaluation, title))
    pictures.save(case_picture(evaluation), folder / "cases.png")


def evaluation_markdown(evaluation: Evaluation, title: str) -> str:
    """All metrics as Markdown tables."""
    columns = _columns(evaluation)
    lines = [
        f"# {markdown_text(title)}",
        "",
        f"Style: {evaluation.style}. 95 % intervals, by bootstrap over contents. "
        f"{networks_sentence(evaluation.lpips_networks)}",
        "",
        *markdown_table(
            ["source", "target", *(TITLES[name] for name in columns)],
            (
                [pair.source, pair.target, *(_pair_cell(pair, name) for name in columns)]
                for pair in evaluation.pairs
            ),
        ),
        "",
        "## Overall",
        "",
        *_interval_table(evaluation.overall),
        "",
        *(f"- {line}" for line in summary_lines(evaluation)),
        *texture_section(evaluation.pairs, "## Texture"),
        *reconstruction_section(evaluation.domains, "## Reconstruction"),
    ]
    if evaluation.targets:
        header = ["target", "translations", "real images", "FID", "KID", "deviation over subsets"]
        rows = (
            [t.target, str(t.images), str(t.real), number(t.fid, 2), number(t.kid), number(t.kid_std)]
            for t in evaluation.targets
        )
        lines += ["", "## Target domains", "", *markdown_table(header, rows)]
    lines += risk_section(evaluation, "## Risk and coverage")
    lines += codes_section(evaluation, "## Codes")
    return "\n".join(lines) + "\n"


def risk_section(evaluation: Evaluation, heading: str) -> list[str]:
    """LPIPS of the translations of the most typical sources, as Markdown; empty if it was not measured."""
    risk = evaluation.risk
    if risk is None:
        return []
    rows = [
        ["the most typical", *map(number, risk.risks)],
        ["the best", *map(number, risk.lowest)],
    ]
    header = ["LPIPS of", *(f"{share:.0%}" for share in risk.coverages)]
    return ["", heading, "", *markdown_table(header, rows), "", f"{risk}."]


def codes_section(evaluation: Evaluation, heading: str) -> list[str]:
    """What probes read from a model's codes, the strongest in bold, and the leak; empty for a baseline."""
    if not (evaluation.probes or evaluation.leak):
        return []
    lines = ["", heading, ""]
    counts = strongest(evaluation.probes)
    if counts:
        ways = list(dict.fromkeys(name.partition(", ")[2] for name in evaluation.probes))
        rows = []
        for what, (best, result) in counts.items():
            cells = [_probe_cell(evaluation.probes.get(f"{what}, {way}"), way == best) for way in ways]
            rows.append([what, *cells, number(result.chance, 3)])
        lines += [*markdown_table(["probe", *ways, "guessing"], rows), ""]
    return [*lines, *codes_lines(evaluation)]


def codes_lines(evaluation: Evaluation) -> list[str]:
    """A line for each thing that probes read, by the strongest probe, and one for the leak."""
    counts = strongest(evaluation.probes)
    lines = [f"- {what} ({how}): {result}" for what, (how, result) in counts.items()]
    return lines + ([f"- leak: {evaluation.leak}"] if evaluation.leak else [])


def _probe_cell(result: ProbeResult | None, counts: bool) -> str:
    cell = "" if result is None else f"{result.accuracy:.3f}"
    return f"**{cell}**" if counts else cell


def summary_lines(evaluation: Evaluation) -> list[str]:
    """One line each on what is not measured per translation: texture, KID, reconstruction and risk."""
    pairs, domains = evaluation.pairs, evaluation.domains
    lines = []
    if textures := [pair.texture for pair in pairs if pair.texture]:
        lines.append(f"texture test: {count_right(textures)}")
    kids = [(pair.value("kid_alexnet"), pair.value("copy_kid_alexnet")) for pair in pairs]
    known = [(ours, copying) for ours, copying in kids if ours is not None and copying is not None]
    if known:
        better = sum(ours < copying for ours, copying in known)
        lines.append(f"KID (AlexNet) below copying's in {better} of {len(known)} directions")
    if domains:
        means = [
            f"{TITLES[name]} {number(float(np.mean([one.metrics[name].mean for one in domains])))}"
            for name in domains[0].metrics
        ]
        lines.append(", ".join(means))
    if evaluation.risk:
        lines.append(f"risk: {evaluation.risk}")
    return lines


def networks_sentence(networks: Sequence[str]) -> str:
    """The networks that LPIPS was computed with, and how to add VGG16."""
    if "VGG16" in networks:
        return f"LPIPS uses the features of {' and '.join(networks)}."
    return f"LPIPS uses only the features of {' and '.join(networks)}; to add VGG16: `{VGG_INSTALL}`."


def texture_section(pairs: Sequence[PairResult], heading: str) -> list[str]:
    """The texture test of every direction, as Markdown; empty if none was measured."""
    tested = [(f"{pair.source} to {pair.target}", pair.texture) for pair in pairs if pair.texture]
    if not tested:
        return []
    textures = [texture for _, texture in tested]
    rows = [[name, *texture_cells([texture])] for name, texture in tested]
    chance = {pair.target: pair.texture.chance for pair in pairs if pair.texture and pair.texture.chance}
    for target, ranges in chance.items():
        cells = [f"{low:.2f} to {high:.2f}" for low, high in (ranges[name] for name in NAMES)]
        rows.append([f"other real images of {target}, by chance", *cells])
    return [
        "",
        heading,
        "",
        f"{TEXTURE_SENTENCE} {count_right(textures)}.",
        "",
        *markdown_table(["translation", *NAMES], rows),
    ]


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """A table of at most 80 columns: the first pairs by LPIPS, then the overall means with intervals."""
    columns = [name for name in _columns(evaluation) if name in TERMINAL_COLUMNS]
    rows = [
        [f"{pair.source} > {pair.target}", *(number(pair.value(name), 3) for name in columns)]
        for pair in evaluation.pairs[:TERMINAL_PAIRS]
    ]
    overall = [evaluation.overall.get(name) for name in columns]
    for label, end in (("all", "mean"), ("95 %, from", "low"), ("95 %, to", "high")):
        rows.append([label, *(number(getattr(one, end), 3) if one else "" for one in overall)])
    table = terminal_table(title, ["translation", *(TERMINAL_COLUMNS[name] for name in columns)], rows)
    table.rows[-4].end_section = True  # a line above the means
    return table


def write_ood(
    result: OodResult,
    images: tuple[np.ndarray, np.ndarray],
    folder: Path,
    title: str,
    about: dict[str, object],
) -> None:
    """Write report.json, report.md, histograms.png and hardest.png.

    Args:
        result: the result to report.
        images: the known and the foreign images, in the order of the scores.
        folder: output folder.
        title: title of the report.
        about: additional facts for report.json.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_json(folder / "report.json", {**about, **result.as_json()})
    write_text(folder / "report.md", ood_markdown(result, title))
    save_histograms(result, folder / "histograms.png", title)
    pictures.save(hardest_images(result, *images), folder / "hardest.png")


def ood_markdown(result: OodResult, title: str) -> str:
    """A table of scores, the best one first."""
    ranked = sorted(result.separations.items(), key=lambda item: -item[1].auroc.mean)
    check = ""
    if result.flagged is not None:
        known, foreign = result.flagged
        check = (
            f" The check at percentile {known.percentile:g} flags {known} known and {foreign} foreign images."
        )
    lines = [
        f"## {markdown_text(title)}",
        "",
        f"{len(result.inside['elbo'])} known and {len(result.outside['elbo'])} foreign images; "
        f"{result.bits[0]:.2f} and {result.bits[1]:.2f} bits per dimension.{check}",
        "",
        *markdown_table(
            ["score", "AUROC (95 %)", "AUPR (95 %)", "FPR at 95 % TPR (95 %)"],
            (
                [name, with_interval(s.auroc, 3), with_interval(s.aupr, 3), with_interval(s.fpr95, 3)]
                for name, s in ranked
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def with_interval(value: Interval | float | None, digits: int = 4) -> str:
    """Format a mean with its interval, such as ``0.12 (0.10 to 0.14)``, or a plain number.

    >>> with_interval(Interval(0.5, 0.4, 0.6), 1)
    '0.5 (0.4 to 0.6)'
    """
    if isinstance(value, Interval):
        return f"{number(value.mean, digits)} ({number(value.low, digits)} to {number(value.high, digits)})"
    return number(value, digits)


def _columns(evaluation: Evaluation) -> list[str]:
    """The metrics that an evaluation has."""
    return [name for name in TITLES if any(name in pair.metrics for pair in evaluation.pairs)]


def _pair_cell(pair: PairResult, name: str) -> str:
    """A metric of a pair; the gain has its interval, which shows whether the model beats copying."""
    return with_interval(pair.metrics.get(name)) if name == "gain" else number(pair.value(name))


def reconstruction_section(domains: Sequence[DomainResult], heading: str) -> list[str]:
    """The reconstruction metrics as Markdown; empty for a baseline."""
    if not domains:
        return []
    names = list(domains[0].metrics)
    rows = [
        [one.domain, str(one.images), *(with_interval(one.metrics[name]) for name in names)]
        for one in domains
    ]
    table = markdown_table(["domain", "images", *(TITLES[name] for name in names)], rows)
    return ["", heading, "", *table]


def _interval_table(intervals: Mapping[str, Interval]) -> list[str]:
    titles = TITLES | RATIO_TITLES
    return markdown_table(
        ["metric", "mean", "interval"],
        (
            [titles[name], number(one.mean), f"{number(one.low)} to {number(one.high)}"]
            for name, one in intervals.items()
        ),
    )
