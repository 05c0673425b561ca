"""A page of an evaluation: every translation with its truth, metrics and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from sivae_translate.data.tensors import to_pil
from sivae_translate.evaluation.reporting import summary_lines
from sivae_translate.evaluation.results import TITLES, Case, Evaluation
from sivae_translate.inference.engine import Engine
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils.pages import Entry, write_pages
from sivae_translate.utils.tables import number

BATCH = 256


def write_case_page(
    path: Path, title: str, evaluation: Evaluation, cases: Sequence[Case], engine: Engine | None
) -> list[Path]:
    """Write a page of translations, the worst LPIPS first; see `write_pages`.

    Args:
        path: the first page.
        title: its heading.
        evaluation: the results, whose means are its first lines.
        cases: the translations.
        engine: the model, which says how usual each source is; None or one without calibration leaves that
            out.
    """
    ranked = sorted(cases, key=lambda case: -case.lpips)
    means = [
        f"{TITLES[name]} {number(one.mean)} ({number(one.low)} to {number(one.high)})"
        for name, one in evaluation.overall.items()
        if name in ("lpips", "copy_lpips", "gain", "l1", "ssim")
    ]
    summary = [f"{len(cases)} translations; means with 95 % intervals: {', '.join(means)}"]
    lines = summary + summary_lines(evaluation)
    return write_pages(path, title, _entries(ranked, engine), len(ranked), lines)


def _entries(cases: Sequence[Case], engine: Engine | None) -> Iterator[Entry]:
    knows = engine is not None and engine.calibration is not None
    threshold = engine.threshold(None) if engine is not None and knows else 100.0
    for start in range(0, len(cases), BATCH):
        part = cases[start : start + BATCH]
        verdicts: list[Verdict | None] = [None] * len(part)
        if engine is not None and knows:
            verdicts = [*engine.typicality(torch.stack([case.source for case in part]))]
        for case, verdict in zip(part, verdicts, strict=True):
            yield Entry(
                f"{case.title}: {case.content}",
                _pictures(case),
                {TITLES.get(name, name): value for name, value in case.metrics.items() if _is_shown(name)},
                _words(verdict, threshold),
                verdict.percentile if verdict else None,
                verdict is not None and verdict.percentile >= threshold,
            )


def _pictures(case: Case) -> dict[str, Image.Image]:
    images = {"source": case.source, "translation": case.output, "truth": case.truth}
    return {name: to_pil(image) for name, image in images.items() if image is not None}


def _words(verdict: Verdict | None, threshold: float) -> str:
    """A verdict; its reason is only said of what is unusual."""
    if verdict is None:
        return ""
    unusual = verdict.percentile >= threshold
    return str(verdict) if unusual else f"usual (percentile {verdict.percentile:.1f})"


def _is_shown(metric: str) -> bool:
    """Copying's LPIPS is on the page, which the gain compares with; its other metrics are not."""
    return metric == "copy_lpips" or not metric.startswith("copy_")
