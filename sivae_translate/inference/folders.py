"""Translating and rebuilding folders: every image once, resumable, nothing overwritten unasked, nothing
lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from sivae_translate.data.listing import left_out
from sivae_translate.data.processor import ImageProcessor, Placement, Prepared, as_batch, require_whole
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.arguments import PERCENTILE, check_choices, unusual
from sivae_translate.inference.jobs import Job, is_there, plan_jobs
from sivae_translate.inference.relations import LocalPlaces
from sivae_translate.inference.translator import StyleLike, Translator
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils import pictures
from sivae_translate.utils.choices import Check
from sivae_translate.utils.encoding import PNG, Encoding
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.files import remove_leftovers, require_writable
from sivae_translate.utils.progress import progress_bar

GRID_ROWS = 16
"""Pairs in a comparison grid."""
THREADS = 4


@dataclass
class BatchResult:
    """What became of the files.

    Attributes:
        written: output files made by this call.
        existing: output files that were there already and were left alone.
        unreadable: path and reason of each input without an output: it could not be read, or its size could
            not be kept.
        unusual: path, percentile and reason of each input unlike the training data; empty where that
            is not checked.
        left_out: files in the input folders that are not images, counted by ending; nothing without them.
    """

    written: list[Path] = field(default_factory=list)
    existing: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    unusual: list[str] = field(default_factory=list)
    left_out: str = ""


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
    percentile: float | None = None,
    encoding: Encoding = PNG,
) -> BatchResult:
    """Translate files and folders into ``out``, keeping sub-folders and names.

    The style is computed once. Decoding and writing run in threads beside the model. Each output appears
    whole or not at all, so an interrupted call is finished by calling it again.

    Args:
        translator: the model.
        inputs: files and folders.
        style: see `Translator.__call__`; None keeps each image's own style, which rebuilds it.
        out: output folder.
        overwrite: replace outputs that exist; otherwise they are left alone.
        strict: stop at the first unreadable file, and at once where a folder has files that are not images.
        size: ``model`` or ``input``; see `Translator.__call__`.
        batch_size: images computed at a time.
        check: ``warn`` lists inputs unlike the training data, ``raise`` stops at the first of them.
        percentile: see `Translator.__call__`.
        grid: also write a picture of the first sources, as the model sees them, beside their translations.
        encoding: format and quality of the outputs.

    Raises:
        InputError: an unknown style or argument, or outputs would replace their own inputs.
        DataError: an input is missing, or a file is unreadable or no image and ``strict`` is set.
        OutputError: ``out`` cannot be written to.
    """
    check_choices("pil", size, check, batch_size)
    jobs = plan_jobs(inputs, out, encoding.suffix)
    result = BatchResult(left_out=_check_left_out(inputs, strict))
    threshold = translator.engine.threshold(percentile) if check != "off" else PERCENTILE
    code = None if style is None else translator.style_code(style)
    _require_place(grid, jobs)
    require_writable(out)
    work = _FolderWork(translator, code, encoding, size == "input", strict, check, threshold, result)
    work.run(_missing(jobs, overwrite, result), batch_size)
    work.save_grid(grid)
    return result


def _require_place(grid: Path | None, jobs: Sequence[Job]) -> None:
    """Raise InputError or OutputError if a grid cannot be written, or would replace an image."""
    if grid is None:
        return
    places = LocalPlaces()
    place = places.file(grid)
    if any(places.file(job.target) == place for job in jobs if job.target.name == place.name):
        raise InputError(f"--grid {grid} has an output's name", remedy="choose another file name")
    pictures.require_place(grid, (job.source for job in jobs if job.source.name == place.name))


def _missing(jobs: Sequence[Job], overwrite: bool, result: BatchResult) -> list[Job]:
    """The jobs whose outputs are not there yet, or all of them to overwrite; outputs that stay are noted.

    Raises:
        InputError: a folder has an output's name.
    """
    result.existing += [job.target for job in jobs if is_there(job.target) and not overwrite]
    existing = set(result.existing)
    return [job for job in jobs if job.target not in existing]


def _check_left_out(inputs: Sequence[Path], strict: bool) -> str:
    """Files that are not images; see `left_out`.

    Raises:
        DataError: there are some, and ``strict`` is set.
    """
    others = left_out(inputs)
    if others and strict:
        raise DataError(f"not images: {others}", remedy="move them out of the folder, or leave strict off")
    return others


@dataclass
class _FolderWork:
    """Decodes the next batch and writes the last one while the model computes.

    At most three batches are in memory, as the model sees them.
    """

    translator: Translator
    code: Tensor | None
    encoding: Encoding
    keep_size: bool
    strict: bool
    check: Check
    percentile: float
    result: BatchResult = field(default_factory=BatchResult)
    examples: list[tuple[Image.Image, Image.Image]] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], batch_size: int) -> None:
        """All jobs; see `translate_files` for what is raised."""
        for folder in {job.target.parent for job in jobs}:
            remove_leftovers(folder)
        batches = [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]
        with progress_bar() as bar, ThreadPoolExecutor(THREADS) as threads:
            task = bar.add_task("rebuilding" if self.code is None else "translating", total=len(jobs))
            writing: list[Future[None]] = []
            for batch, futures in self._ahead(threads, batches):
                try:
                    readable, prepared = self._collect(batch, futures)
                finally:
                    _finish(writing)
                writing = self._compute(threads, readable, prepared) if readable else []
                bar.advance(task, len(batch))
            _finish(writing)

    def save_grid(self, path: Path | None) -> None:
        """A picture of the first sources beside their translations, if there are any and a file is named."""
        names = ["source", "rebuilt" if self.code is None else "translation"]
        if path is not None and self.examples:
            rows = list(zip(*self.examples, strict=True))
            pictures.save(pictures.grid(rows, row_names=names, cell=96), path)

    def _ahead(
        self, threads: ThreadPoolExecutor, batches: Sequence[Sequence[Job]]
    ) -> Iterator[tuple[Sequence[Job], list[Future[Prepared]]]]:
        """Each batch while it is decoded; the next one is being decoded when one is handed out."""

        def start(batch: Sequence[Job]) -> list[Future[Prepared]]:
            return [threads.submit(self._prepare, job.source) for job in batch]

        following = start(batches[0]) if batches else []
        for index, batch in enumerate(batches):
            current = following
            following = start(batches[index + 1]) if index + 1 < len(batches) else []
            yield batch, current

    def _prepare(self, path: Path) -> Prepared:
        """A file as the model sees it.

        Raises:
            DataError: it cannot be read, or its size cannot be kept.
        """
        prepared = self.translator.processor.prepare(path)
        if self.keep_size:
            try:
                require_whole(prepared.placement)
                self.encoding.require_fits(prepared.placement.size)
            except InputError as error:
                raise DataError(f"{path}: {error.what}", remedy=error.remedy) from error
        return prepared

    def _collect(
        self, batch: Sequence[Job], futures: Sequence[Future[Prepared]]
    ) -> tuple[list[Job], list[Prepared]]:
        """What could be read of a batch; the rest is noted.

        Raises:
            DataError: an image could not be read, and ``strict`` is set.
        """
        readable, prepared = [], []
        for job, future in zip(batch, futures, strict=True):
            try:
                prepared.append(future.result())
                readable.append(job)
            except DataError as error:
                self.result.unreadable.append(error.what)
                if self.strict:
                    raise
        return readable, prepared

    def _compute(
        self, threads: ThreadPoolExecutor, jobs: Sequence[Job], prepared: Sequence[Prepared]
    ) -> list[Future[None]]:
        """Translate a batch and begin to write it."""
        outputs, verdicts = self.translator.engine.process(
            as_batch(prepared), self.code, check=self.check != "off"
        )
        self._note_unusual(jobs, verdicts)
        made = [to_pil(output) for output in outputs]
        room = GRID_ROWS - len(self.examples)
        sources = (pictures.from_array(picture.pixels) for picture in prepared[:room])
        self.examples += list(zip(sources, made, strict=False))
        self.result.written += [job.target for job in jobs]
        placements = [picture.placement if self.keep_size else None for picture in prepared]
        processor = self.translator.processor
        return [
            threads.submit(_write, processor, self.encoding, picture, placement, job.target)
            for picture, placement, job in zip(made, placements, jobs, strict=True)
        ]

    def _note_unusual(self, jobs: Sequence[Job], verdicts: Sequence[Verdict]) -> None:
        """Note inputs unlike the training data.

        Raises:
            InputError: there are some, and ``check`` is raise.
        """
        flagged = [
            f"{jobs[index].source}: {verdict}"
            for index, verdict in unusual(verdicts, self.percentile).items()
        ]
        self.result.unusual += flagged
        if flagged and self.check == "raise":
            raise InputError(
                f"{len(flagged)} of {len(jobs)} images are unusual; the first: {flagged[0]}",
                remedy="leave them out, or only list them: --check warn",
            )


def _finish(writing: Sequence[Future[None]]) -> None:
    """Wait for writes; a failed one raises here."""
    for future in writing:
        future.result()


def _write(
    processor: ImageProcessor,
    encoding: Encoding,
    picture: Image.Image,
    placement: Placement | None,
    target: Path,
) -> None:
    encoding.save(picture if placement is None else processor.restore(picture, placement), target)
