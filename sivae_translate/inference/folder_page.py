"""A page of a translated folder: every source beside its translation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from sivae_translate.data.processor import ImageProcessor
from sivae_translate.data.reading import open_image
from sivae_translate.inference.folders import BatchResult
from sivae_translate.inference.jobs import Job, is_there, plan_jobs
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.pages import SIDE, Entry, write_pages
from sivae_translate.utils.pictures import reduced


def write_folder_page(
    path: Path, inputs: Sequence[Path], out: Path, suffix: str, processor: ImageProcessor, result: BatchResult
) -> list[Path]:
    """Write a page with all translations in ``out``, also those of earlier calls; see `write_pages`.

    Args:
        path: the first page.
        inputs: files and folders that were translated.
        out: output folder.
        suffix: ending of the outputs, such as ``.png``.
        processor: how images are read.
        result: outcome of the translation; its verdicts are shown if the check was on.
    """
    jobs = [job for job in plan_jobs(inputs, out, suffix) if is_there(job.target)]
    summary = [f"{len(jobs)} translations in {out}"]
    if result.unreadable:
        summary.append(f"{len(result.unreadable)} sources could not be read")
    return write_pages(
        path, f"Translations in {out.name}", _entries(jobs, processor, result), len(jobs), summary
    )


def _entries(jobs: Sequence[Job], processor: ImageProcessor, result: BatchResult) -> Iterator[Entry]:
    flagged = (line.rpartition(": percentile ") for line in result.unusual)
    verdicts = {source: f"percentile {rest}" for source, _, rest in flagged}
    for job in jobs:
        verdict = verdicts.get(str(job.source), "")
        pictures: dict[str, Image.Image] = {}
        for name, read in (("source", job.source), ("translation", job.target)):
            try:
                pictures[name] = reduced(open_image(read, processor.reading), 2 * SIDE)
            except DataError:
                continue  # it was changed meanwhile; the row says so by its absence
        yield Entry(str(job.source), pictures, verdict=verdict, unusual=bool(verdict))
