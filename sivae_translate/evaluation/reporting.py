"""An evaluation as a table on the terminal, JSON, Markdown, and a picture of the best, median and worst
cases.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from rich.table import Table

from sivae_translate.data.tensors import to_pil
from sivae_translate.evaluation.metrics import Interval
from sivae_translate.evaluation.translation import RATIOS, Case, Evaluation, PairResult
from sivae_translate.utils import pictures
from sivae_translate.utils.files import write_json, write_text

COLUMNS = {
    "lpips": "LPIPS",
    "l1": "L1",
    "ssim": "SSIM",
    "psnr": "PSNR",
    "copy_lpips": "copy LPIPS",
    "copy_l1": "copy L1",
    "copy_ssim": "copy SSIM",
    "copy_psnr": "copy PSNR",
    "gain": "gain",
    "gain_low": "from",
    "gain_high": "to",
    "diversity": "diversity",
    "recognised": "recognised",
    "classified": "classified",
    "cycle_lpips": "cycle LPIPS",
}
RATIO_NAMES = {f"{name}_ratio": f"{COLUMNS[name]} / copying's" for name in RATIOS}


def write(evaluation: Evaluation, folder: Path, title: str, about: dict[str, object]) -> None:
    """evaluation.json, evaluation.md and cases.png.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_json(folder / "evaluation.json", {"title": title, "about": about, **evaluation.as_json()})
    write_text(folder / "evaluation.md", markdown(evaluation, title))
    pictures.save(case_picture(evaluation), folder / "cases.png")


def columns_of(evaluation: Evaluation) -> list[str]:
    """The metrics that this evaluation has."""
    return [name for name in COLUMNS if any(getattr(pair, name) is not None for pair in evaluation.pairs)]


def markdown(evaluation: Evaluation, title: str) -> str:
    """The whole judgement as Markdown tables."""
    columns = columns_of(evaluation)
    header = ["source", "target", *(COLUMNS[name] for name in columns)]
    lines = [
        f"# {title}",
        "",
        f"Style: {evaluation.style}. Intervals are 95 %, by bootstrap over contents.",
        "",
    ]
    lines += _table(
        header, [[pair.source, pair.target, *_values(pair, columns)] for pair in evaluation.pairs]
    )
    names = COLUMNS | RATIO_NAMES
    lines += ["", "## Overall", ""]
    lines += _table(
        ["metric", "mean", "interval"], [[names[n], *_interval(i)] for n, i in evaluation.overall.items()]
    )
    if evaluation.targets:
        rows = [
            [t.target, str(t.images), str(t.real), f"{t.fid:.2f}", f"{t.kid:.4f}", f"{t.kid_std:.4f}"]
            for t in evaluation.targets
        ]
        header = ["target", "translations", "real images", "FID", "KID", "deviation over subsets"]
        lines += ["", "## Target domains", "", *_table(header, rows)]
    if evaluation.probes:
        lines += ["", "## Probes", "", *(f"- {name}: {probe}" for name, probe in evaluation.probes.items())]
    return "\n".join(lines) + "\n"


def terminal_table(evaluation: Evaluation, title: str) -> Table:
    """What fits a terminal of 80 columns: the first 30 pairs by LPIPS, then the means over all pairs with
    their intervals.
    """
    columns = [
        name for name in columns_of(evaluation) if name in ("lpips", "copy_lpips", "gain", "diversity")
    ]
    table = Table(title=title)
    table.add_column("translation")
    for name in columns:
        table.add_column(COLUMNS[name].replace("copy LPIPS", "copying"), justify="right", no_wrap=True)
    for pair in evaluation.pairs[:30]:
        values = (getattr(pair, name) for name in columns)
        table.add_row(
            f"{pair.source} > {pair.target}", *("" if value is None else f"{value:.3f}" for value in values)
        )
    table.add_section()
    overall = [evaluation.overall.get(name) for name in columns]
    table.add_row("all", *(f"{interval.mean:.3f}" if interval else "" for interval in overall))
    table.add_row("95 %, from", *(f"{interval.low:.3f}" if interval else "" for interval in overall))
    table.add_row("95 %, to", *(f"{interval.high:.3f}" if interval else "" for interval in overall))
    return table


def case_picture(evaluation: Evaluation) -> Image.Image:
    """Rows of best, median and worst cases: source, translation and, where it is known, the truth."""
    third = len(evaluation.cases) // 3
    rows, names = [], []
    for label, start in (("best", 0), ("median", third), ("worst", 2 * third)):
        cases = evaluation.cases[start : start + third]
        for part in ("source", "output", "truth"):
            images = [_part(case, part) for case in cases]
            if any(image is not None for image in images):
                rows.append(images)
                names.append(f"{label}: {part}")
    return pictures.grid(rows, row_names=names, cell=96)


def _part(case: Case, part: str) -> Image.Image | None:
    image = getattr(case, part)
    return None if image is None else to_pil(image)


def _values(pair: PairResult, columns: list[str]) -> list[str]:
    return [_number(getattr(pair, name)) for name in columns]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _interval(interval: Interval) -> list[str]:
    return [f"{interval.mean:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"]


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
