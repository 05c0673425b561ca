"""Translation and reconstruction of folders: resumable, and existing files are kept unless requested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np
from PIL import Image
from torch import Tensor

from sivae_translate.data.listing import left_out
from sivae_translate.data.processor import Prepared, as_batch
from sivae_translate.data.tensors import to_pixels
from sivae_translate.inference.arguments import PERCENTILE, Options, Request, unusual
from sivae_translate.inference.codec import Codec
from sivae_translate.inference.codec_pool import check_workers, codec_for
from sivae_translate.inference.jobs import Job, is_there, plan_jobs
from sivae_translate.inference.relations import LocalPlaces
from sivae_translate.inference.singles import Singles
from sivae_translate.inference.translator import StyleLike, Translator
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils import pictures
from sivae_translate.utils.encoding import PNG, Encoding
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.files import remove_leftovers, require_writable
from sivae_translate.utils.progress import console, progress_bar

GRID_ROWS = 16
"""Pairs in a comparison grid."""
EXAMPLE = 256
"""Longer side of large pictures in it, in pixels."""


@dataclass
class BatchResult:
    """The outcome of a folder's translation.

    Attributes:
        written: output files made by this call.
        existing: output files that existed already and were kept.
        unreadable: path and reason of each input without an output: it could not be read, or its size could
            not be kept.
        unusual: path, percentile and reason of each input unlike the training data; empty without the check.
        left_out: files in the input folders that are not images, counted by extension; empty if none.
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
    metadata: bool = False,
    grid: Path | None = None,
    encoding: Encoding = PNG,
    workers: int | None = None,
    **options: Unpack[Options],
) -> BatchResult:
    """Translate files and folders into ``out``, keeping sub-folders and names.

    Outputs are written atomically, so repeating an interrupted call completes it.

    Args:
        translator: the model.
        inputs: files and folders.
        style: see `Translator.__call__`; None keeps each image's own style and so reconstructs it.
        out: output folder.
        overwrite: replace existing outputs; otherwise they are kept.
        strict: stop at the first unreadable file, and immediately if a folder has files that are not images.
        metadata: outputs have the EXIF data and the resolution of their inputs.
        grid: also write a picture of the first sources, as the model sees them, and their translations.
        encoding: format and quality of the outputs.
        workers: processes that decode and encode, or 0 for threads; see `codec_for`.
        options: see `sivae_translate.inference.arguments.Request`. ``check`` lists inputs unlike the training
            data, or stops at the first of them.

    Raises:
        InputError: an unknown style or argument, or outputs would replace their own inputs.
        DataError: an input is missing, or ``strict`` is set and a file is unreadable or not an image.
        OutputError: ``out`` cannot be written to.
    """
    request = Request(**options).with_mask_read()
    check_workers(workers)
    encoding.require_bits(request.bits)
    jobs = plan_jobs(inputs, out, encoding.suffix)
    result = BatchResult(left_out=_check_left_out(inputs, strict))
    threshold = translator.engine.threshold(request.percentile) if request.checks else PERCENTILE
    code = None if style is None else translator.style_code(style)
    missing = _missing(jobs, overwrite, result)
    _require_places(out, grid, jobs)
    codec = codec_for(translator.processor, encoding, len(missing), workers)
    singles = Singles(translator, code, encoding, request, metadata)
    work = _FolderWork(translator, code, codec, request, singles, strict, threshold, result)
    return work.run(missing, grid)


def _require_places(out: Path, grid: Path | None, jobs: Sequence[Job]) -> None:
    """Raise InputError or OutputError if outputs or a grid cannot be written, or it would replace one."""
    if grid is not None:
        places = LocalPlaces()
        place = places.file(grid)
        if any(places.file(job.target) == place for job in jobs if job.target.name == place.name):
            raise InputError(f"--grid {grid} has an output's name", remedy="choose another file name")
        pictures.require_place(grid, (job.source for job in jobs if job.source.name == place.name))
    require_writable(out)


def _missing(jobs: Sequence[Job], overwrite: bool, result: BatchResult) -> list[Job]:
    """The jobs whose outputs do not exist yet, or all jobs to overwrite; existing outputs are recorded.

    Raises:
        InputError: a folder has the name of an output.
    """
    result.existing += [job.target for job in jobs if is_there(job.target) and not overwrite]
    existing = set(result.existing)
    return [job for job in jobs if job.target not in existing]


def _check_left_out(inputs: Sequence[Path], strict: bool) -> str:
    """Count files that are not images; see `left_out`.

    Raises:
        DataError: there are some and ``strict`` is set.
    """
    others = left_out(inputs)
    if others and strict:
        raise DataError(f"not images: {others}", remedy="move them out of the folder, or turn strict off")
    return others


@dataclass
class _FolderWork:
    """Decodes the next batch and writes the last one while the model computes.

    At most three prepared batches are in memory.
    """

    translator: Translator
    code: Tensor | None
    codec: Codec
    request: Request
    singles: Singles
    strict: bool
    percentile: float
    result: BatchResult = field(default_factory=BatchResult)
    examples: list[tuple[Image.Image, Image.Image]] = field(default_factory=list)
    left: list[Job] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], grid: Path | None) -> BatchResult:
        """Process all jobs and write the grid; see `translate_files` for the errors."""
        for folder in {job.target.parent for job in jobs}:
            remove_leftovers(folder)
        quick, size = ([] if self.singles.all else jobs), self.request.batch_size
        batches = [quick[start : start + size] for start in range(0, len(quick), size)]
        with progress_bar() as bar, self._threads() as threads:
            task = bar.add_task("rebuilding" if self.code is None else "translating", total=len(jobs))
            writing: list[Future[None]] = []
            for batch, futures in self._ahead(threads, batches):
                try:
                    readable, prepared = self._collect(batch, futures)
                    made = self._compute(readable, prepared) if readable else None
                finally:
                    _finish(writing)
                writing = [] if made is None else self._write(threads, readable, prepared, made)
                bar.advance(task, len(batch))
            _finish(writing)
            for job in jobs if self.singles.all else self.left:
                self._translate_single(job)
                bar.advance(task, int(self.singles.all))
        self._save_grid(grid)
        return self.result

    @contextmanager
    def _threads(self) -> Iterator[ThreadPoolExecutor]:
        """Threads that read and write; after an error, pending work is cancelled."""
        with closing(self.codec), ThreadPoolExecutor(self.codec.threads) as threads:
            try:
                yield threads
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                self.codec.abort()
                raise

    def _save_grid(self, path: Path | None) -> None:
        """Write a picture of the first sources and their translations, if there are any."""
        names = ["source", "rebuilt" if self.code is None else "translation"]
        if path is not None and not self.examples:
            console.print(f"no picture {path}: nothing was translated by this call", highlight=False)
        elif path is not None:
            rows = list(zip(*self.examples, strict=True))
            pictures.save(pictures.grid(rows, row_names=names, cell=96), path)

    def _ahead(
        self, threads: ThreadPoolExecutor, batches: Sequence[Sequence[Job]]
    ) -> Iterator[tuple[Sequence[Job], list[Future[list[Prepared | DataError]]]]]:
        """Yield batches that are being decoded, one batch ahead."""

        def start(batch: Sequence[Job]) -> list[Future[list[Prepared | DataError]]]:
            return [
                threads.submit(self.codec.read, [job.source for job in part]) for part in self._parts(batch)
            ]

        following = start(batches[0]) if batches else []
        for index, batch in enumerate(batches):
            current = following
            following = start(batches[index + 1]) if index + 1 < len(batches) else []
            yield batch, current

    def _parts(self, batch: Sequence[Job]) -> list[Sequence[Job]]:
        """The parts of a batch that a thread processes at a time."""
        size = self.codec.chunk(len(batch))
        return [batch[start : start + size] for start in range(0, len(batch), size)]

    def _collect(
        self, batch: Sequence[Job], futures: Sequence[Future[list[Prepared | DataError]]]
    ) -> tuple[list[Job], list[Prepared]]:
        """Collect the usable images of a batch and record the others.

        Raises:
            DataError: an image is not usable and ``strict`` is set.
        """
        readable, prepared = [], []
        results = (result for future in futures for result in future.result())
        for job, result in zip(batch, results, strict=True):
            try:
                if isinstance(result, DataError):
                    raise result
                self._require_fits(job, result.placement.size)
            except DataError as problem:
                self._note_unreadable(problem)
                continue
            if self.singles.include(job, result):
                self.left.append(job)
                continue
            readable.append(job)
            prepared.append(result)
        return readable, prepared

    def _require_fits(self, job: Job, size: tuple[int, int]) -> None:
        """Raise DataError if a picture of this width and height has to be written and cannot be."""
        try:
            if self.request.keeps_size:
                self.codec.encoding.require_fits(size)
        except InputError as error:
            raise DataError(f"{job.source}: {error.what}", remedy=error.remedy) from error

    def _note_unreadable(self, problem: DataError) -> None:
        """Record a picture that cannot be used; with ``strict``, it is an error."""
        self.result.unreadable.append(problem.what)
        if self.strict:
            raise problem

    def _translate_single(self, job: Job) -> None:
        """Translate a picture on its own."""
        try:
            picture = self.singles.read(job)
            self._require_fits(job, picture.size)
            if self.request.checks:
                seen = as_batch([self.translator.processor.prepare_plain(picture)])
                self._note_unusual([job], self.translator.engine.typicality(seen))
            made = self.singles.translate(job, picture)
        except DataError as problem:
            self._note_unreadable(problem)
            return
        self.result.written.append(job.target)
        if len(self.examples) < GRID_ROWS:
            self.examples.append((pictures.reduced(picture, EXAMPLE), pictures.reduced(made, EXAMPLE)))

    def _compute(self, jobs: Sequence[Job], prepared: Sequence[Prepared]) -> np.ndarray:
        """Translate a batch: uint8 (B, S, S, C)."""
        outputs, verdicts = self.translator.engine.process(
            as_batch(prepared), self.code, check=self.request.checks
        )
        self._note_unusual(jobs, verdicts)
        return to_pixels(outputs)

    def _write(
        self,
        threads: ThreadPoolExecutor,
        jobs: Sequence[Job],
        prepared: Sequence[Prepared],
        made: np.ndarray,
    ) -> list[Future[None]]:
        """Start writing a batch."""
        room = GRID_ROWS - len(self.examples)
        both = zip((picture.pixels for picture in prepared[:room]), made, strict=False)
        self.examples += [(pictures.from_array(source), pictures.from_array(image)) for source, image in both]
        self.result.written += [job.target for job in jobs]
        futures, start = [], 0
        for part in self._parts(jobs):
            taken = slice(start, start + len(part))
            placements = [
                picture.placement if self.request.keeps_size else None for picture in prepared[taken]
            ]
            targets = [job.target for job in part]
            futures.append(threads.submit(self.codec.write, made[taken], placements, targets))
            start += len(part)
        return futures

    def _note_unusual(self, jobs: Sequence[Job], verdicts: Sequence[Verdict]) -> None:
        """Record inputs unlike the training data.

        Raises:
            InputError: there are some and ``check`` is ``raise``.
        """
        flagged = [
            f"{jobs[index].source}: {verdict}"
            for index, verdict in unusual(verdicts, self.percentile).items()
        ]
        self.result.unusual += flagged
        if flagged and self.request.check == "raise":
            raise InputError(
                f"{len(flagged)} of {len(jobs)} images are unusual; the first is {flagged[0]}",
                remedy="remove them, or use --check warn to list them",
            )


def _finish(writing: Sequence[Future[None]]) -> None:
    """Wait for writes; the error of a failed one is raised here."""
    for future in writing:
        future.result()
