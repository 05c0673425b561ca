"""Translating and rebuilding folders: every image once, resumable, nothing overwritten unasked, nothing
lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from sivae_translate.data.folders import list_images
from sivae_translate.data.image import open_image, to_pil
from sivae_translate.inference.translator import PERCENTILE, StyleLike, Translator, check_choices
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils import pictures
from sivae_translate.utils.choices import Check
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.files import require_writable
from sivae_translate.utils.progress import progress_bar

GRID_ROWS = 16
"""Pairs in a comparison grid."""
COMPRESSION = 1
"""zlib's level for PNG files: at 256 px a quarter of the time of the usual 6, for a sixth more bytes
(docs/performance.md)."""


@dataclass
class BatchResult:
    """What became of the files.

    Attributes:
        written: output files made by this call.
        existing: output files that were there already and were left alone.
        unreadable: path and reason of each input that could not be read.
        unusual: path, percentile and reason of each input unlike the training data; empty where that
            is not checked.
    """

    written: list[Path] = field(default_factory=list)
    existing: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unusual: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)  # there may be millions
class _Job:
    source: Path
    target: Path


def translate_files(
    translator: Translator,
    inputs: Sequence[Path],
    style: StyleLike | None,
    out: Path,
    *,
    overwrite: bool = False,
    strict: bool = False,
    size: str = "model",
    batch_size: int = 64,
    grid: Path | None = None,
    check: Check = "off",
    percentile: float = PERCENTILE,
) -> BatchResult:
    """Translate files and folders into ``out``, keeping sub-folders and names; results are PNG files.

    The style is computed once. Decoding and writing run in threads beside the model. Each output appears
    whole or not at all, so an interrupted call is finished by calling it again.

    Args:
        translator: the model.
        inputs: files and folders.
        style: see `Translator.__call__`; None keeps each image's own style, which rebuilds it.
        out: output folder.
        overwrite: replace outputs that exist; otherwise they are left alone.
        strict: stop at the first unreadable file.
        size: ``model`` or ``input``.
        batch_size: images computed at a time.
        check: ``warn`` lists inputs unlike the training data, ``raise`` stops at the first batch with
            one.
        percentile: see `Translator.__call__`.
        grid: also write a picture of the first sources beside their translations.

    Raises:
        InputError: an unknown style or argument, or outputs would replace their own inputs.
        DataError: an input is missing, or a file is unreadable and ``strict`` is set.
        OutputError: ``out`` cannot be written to.
    """
    check_choices("pil", size, check, batch_size)
    jobs = [_Job(source, out / place.with_suffix(".png")) for source, place in list_images(inputs)]
    _check_targets(jobs)
    if check != "off":
        translator.engine.require_calibration(percentile)
    code = None if style is None else translator.style_code(style)
    require_writable(out)
    result = BatchResult()
    todo = []
    for job in jobs:
        if job.target.exists() and not overwrite:
            result.existing.append(job.target)
        else:
            todo.append(job)
    unusual = None if check == "off" else _Unusual(percentile, stop=check == "raise")
    shown = _run(
        translator, todo, code, result, unusual, strict=strict, resize=size == "input", batch_size=batch_size
    )
    if grid is not None and shown:
        names = ["source", "translation" if style is not None else "rebuilt"]
        pictures.save(pictures.grid(list(zip(*shown, strict=True)), row_names=names, cell=96), grid)
    return result


def compute(
    translator: Translator, images: Sequence[Image.Image], style: torch.Tensor | None, *, judged: bool
) -> tuple[list[Image.Image], list[Verdict]]:
    """One batch.

    Args:
        translator: the model.
        images: opened.
        style: code (1, S); None keeps each image's own, which rebuilds it.
        judged: whether to say how unusual each image is to the model.

    Returns:
        a picture of the model's size for each image, and its verdict where ``judged``, else none.
    """
    prepared = translator.prepare(images).to(translator.device).contiguous(memory_format=torch.channels_last)
    verdicts = translator.engine.typicality(prepared) if judged else []
    if style is None:
        outputs = translator.engine.reconstruct(prepared)
    else:
        outputs = translator.engine.translate(prepared, style.expand(len(images), -1))
    return [to_pil(output) for output in outputs], verdicts


@dataclass(frozen=True)
class _Unusual:
    """Notes inputs unlike the training data, or stops at the first ones."""

    percentile: float
    stop: bool

    def note(self, jobs: Sequence[_Job], verdicts: Sequence[Verdict], result: BatchResult) -> None:
        """Take in what was found out about a batch.

        Raises:
            InputError: there are some, and ``stop`` is set.
        """
        judged = zip(jobs, verdicts, strict=True)
        found = [
            f"{job.source}: {verdict}" for job, verdict in judged if verdict.percentile >= self.percentile
        ]
        result.unusual += found
        if found and self.stop:
            raise InputError(
                f"{len(found)} of {len(jobs)} images are unusual; the first: {found[0]}",
                remedy="leave them out, or only list them: --check warn",
            )


def _check_targets(jobs: Sequence[_Job]) -> None:
    """Two inputs that differ only in their suffix, and outputs on top of inputs, would lose data."""
    owners: dict[Path, Path] = {}
    for job in jobs:
        if job.target in owners:
            raise InputError(
                f"{owners[job.target]} and {job.source} would both become {job.target}",
                remedy="rename one of them",
            )
        owners[job.target] = job.source
    # Links are followed folder by folder: a set of every input's real path would cost a look at the disk and
    # memory for each.
    real: dict[Path, Path] = {}
    targets = {_real(job.target.parent, real) for job in jobs}
    sources = {place for job in jobs if (place := real_file(job.source, real)).parent in targets}
    for job in jobs:
        if sources and _real(job.target.parent, real) / job.target.name in sources:
            raise InputError(f"{job.target} would replace an input", remedy="choose another --out")


def _real(folder: Path, known: dict[Path, Path]) -> Path:
    """A folder with its links followed; each is looked up once."""
    if folder not in known:
        known[folder] = folder.resolve()
    return known[folder]


def real_file(path: Path, known: dict[Path, Path]) -> Path:
    """A file with its links followed; ``known`` keeps the folders that were looked up."""
    return path.resolve() if path.is_symlink() else _real(path.parent, known) / path.name


def _run(
    translator: Translator,
    jobs: Sequence[_Job],
    code: torch.Tensor | None,
    result: BatchResult,
    unusual: _Unusual | None,
    *,
    strict: bool,
    resize: bool,
    batch_size: int,
) -> list[tuple[Image.Image, Image.Image]]:
    """Decode the next batch and write the last one while the model computes; at most three batches are in
    memory.
    """
    shown: list[tuple[Image.Image, Image.Image]] = []
    batches = [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]
    with progress_bar() as bar, ThreadPoolExecutor(4) as threads:
        task = bar.add_task("rebuilding" if code is None else "translating", total=len(jobs))
        writing: list[Future[None]] = []
        for batch, decoded in _ahead(threads, batches):
            images, kept = [], []
            for job, future in zip(batch, decoded, strict=True):
                try:
                    images.append(future.result())
                    kept.append(job)
                except DataError as error:
                    result.unreadable.append(error.what)
                    if strict:
                        _finish(writing)
                        raise
            _finish(writing)
            writing = []
            if images:
                made, verdicts = compute(translator, images, code, judged=unusual is not None)
                if unusual is not None:
                    unusual.note(kept, verdicts, result)
                shown += list(zip(images, made, strict=True))[: GRID_ROWS - len(shown)]
                writing = [
                    threads.submit(_write, picture, job.target, image.size if resize else None)
                    for picture, job, image in zip(made, kept, images, strict=True)
                ]
                result.written += [job.target for job in kept]
            bar.advance(task, len(batch))
        _finish(writing)
    return shown


def _ahead(
    threads: ThreadPoolExecutor, batches: Sequence[Sequence[_Job]]
) -> Iterator[tuple[Sequence[_Job], list[Future[Image.Image]]]]:
    """Each batch with its images being decoded; decoding of the next batch has begun when one is handed
    out.
    """
    following: list[Future[Image.Image]] = []
    for index, batch in enumerate(batches):
        current = following or [threads.submit(open_image, job.source) for job in batch]
        following = []
        if index + 1 < len(batches):
            following = [threads.submit(open_image, job.source) for job in batches[index + 1]]
        yield batch, current


def _finish(writing: Sequence[Future[None]]) -> None:
    """Wait for writes; a failed one raises here."""
    for future in writing:
        future.result()


def scaled(picture: Image.Image, size: tuple[int, int] | None) -> Image.Image:
    """A picture at (width, height); as it is where that is None."""
    return picture.resize(size, Image.Resampling.LANCZOS) if size else picture


def _write(picture: Image.Image, target: Path, size: tuple[int, int] | None) -> None:
    pictures.save(scaled(picture, size), target, COMPRESSION)
