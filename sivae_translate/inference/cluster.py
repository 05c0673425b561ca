"""Translation on a Ray cluster: streaming, one model per actor, and errors of single files in a manifest.

Inputs and outputs are anything that fsspec supports: folders, s3://, gs://, memory://. A unit of work is a
batch of files: an actor reads them, translates them and writes each translation atomically. When an actor
dies, Ray starts another one and gives it the batch again; since outputs do not depend on who writes them,
nothing is lost or duplicated.
"""

from __future__ import annotations

import logging
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, get_args

import torch
from PIL import Image

from sivae_translate.data.extras import with_alpha
from sivae_translate.data.processor import Placement, Prepared, as_batch
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.arguments import PERCENTILE, Options, Request, unusual
from sivae_translate.inference.large import translate_one
from sivae_translate.inference.remote import (
    RemoteJob,
    clean_up,
    left_out,
    list_existing,
    list_jobs,
    put,
    read_extras,
    read_image,
)
from sivae_translate.inference.translator import StyleLike, Translator
from sivae_translate.models.hub import locate
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.encoding import PNG, Encoding
from sivae_translate.utils.errors import DataError, InputError, SivaeError
from sivae_translate.utils.extras import import_optional
from sivae_translate.utils.progress import progress_bar
from sivae_translate.utils.text import printable

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.parquet"
COLUMNS = ("source", "target", "status", "reason", "unusual")
"""Of the manifest."""
BLOCKS = 10_000
"""Most blocks that Ray has to track; a block of a large job holds several batches."""

Status = Literal["written", "existing", "unreadable"]
Row = dict[str, str]
"""A row of the manifest."""


@dataclass
class ClusterResult:
    """The outcome of a translation on a cluster.

    Attributes:
        manifest: Parquet file with a row per file: source, target, status (written, existing, unreadable),
            reason (of unreadable files), unusual (score and reason; empty if typical or not checked).
        counts: number of files of each status, and of ``unusual`` ones.
        left_out: files in the input folders that are not images, counted by extension; empty if none.
    """

    manifest: str
    counts: dict[str, int] = field(default_factory=dict)
    left_out: str = ""


def translate_on_cluster(
    run: str | Path,
    inputs: Sequence[str],
    style: StyleLike,
    out: str,
    *,
    overwrite: bool = False,
    workers: int | None = None,
    dtype: Precision = "auto",
    encoding: Encoding = PNG,
    **options: Unpack[Options],
) -> ClusterResult:
    """Translate files and folders into ``out``, keeping sub-folders and names, and write a manifest.

    Connects to the cluster of ``RAY_ADDRESS``, or starts one here. A repeated call does what is missing.

    Args:
        run: run folder, model file or pretrained name.
        inputs: fsspec paths of files and folders; folders are searched recursively.
        style: see `Translator.__call__`.
        out: fsspec path of the output folder.
        overwrite: replace existing outputs.
        workers: number of actors; by default one per GPU, or one per processor.
        dtype: precision of matrix products.
        encoding: format and quality of the outputs.
        options: see `sivae_translate.inference.arguments.Request`. A batch is a unit of work; ``check``
            records inputs unlike the training data, and ``raise`` is not supported.

    Raises:
        ConfigError: Ray is not installed.
        InputError: an unknown style or argument, or outputs would replace inputs or each other.
        DataError: an input is missing.
        OutputError: ``out`` cannot be written to.
    """
    request = _checked(Request(**options), workers)
    ray = _ray()
    settings = _settings(run, style, request, dtype, encoding)
    jobs = list_jobs(inputs, out, encoding.suffix)
    there = list_existing(jobs, out)
    existing = set() if overwrite else there
    clean_up(jobs)
    rows = [_row(job, "existing") for job in jobs if job.target in existing]
    rows += _translate_all(ray, [job for job in jobs if job.target not in existing], settings, workers)
    return replace(_summarise(rows, posixpath.join(out, MANIFEST)), left_out=left_out(inputs))


def _checked(request: Request, workers: int | None) -> Request:
    """A request that can be sent to workers, with its mask.

    Raises:
        InputError: an argument is not one of a cluster's choices, or the mask is no image.
        DataError: the mask cannot be read.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}", remedy="give 1 or more, or omit it")
    if request.check == "raise":
        raise InputError(
            "check 'raise' is not supported on a cluster", remedy="--check warn lists unusual images"
        )
    if request.bits != 8:
        raise InputError("a cluster writes 8 bits per channel", remedy="omit bits, or use the local engine")
    return request.with_mask_read()


def _summarise(rows: Sequence[Row], manifest: str) -> ClusterResult:
    """Write the manifest and count its rows."""
    write_manifest(manifest, rows)
    counts = {status: sum(row["status"] == status for row in rows) for status in get_args(Status)}
    return ClusterResult(manifest, {**counts, "unusual": sum(bool(row["unusual"]) for row in rows)})


def _settings(
    run: str | Path, style: StyleLike, request: Request, dtype: Precision, encoding: Encoding
) -> _Settings:
    """The settings of the actors, with the style, which is computed once.

    Raises:
        InputError: an unknown style, or the check is on but the model has no calibration.
    """
    translator = Translator.from_pretrained(run, device="cpu", dtype=dtype)
    threshold = translator.engine.threshold(request.percentile) if request.checks else PERCENTILE
    code = translator.style_code(style).cpu()
    return _Settings(locate(run).read_bytes(), code, request, threshold, dtype, encoding)


def _translate_all(
    ray: Any, jobs: Sequence[RemoteJob], settings: _Settings, workers: int | None
) -> list[Row]:
    ray.init(ignore_reinit_error=True, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    rows = []
    with progress_bar() as bar:
        task = bar.add_task("translating", total=len(jobs))
        for row in _stream(ray, jobs, settings, workers):
            rows.append(row)
            bar.advance(task)
    return rows


@dataclass(frozen=True)
class _Settings:
    """The settings of an actor; the model is sent as bytes, since a cluster may have no shared disk."""

    model: bytes
    style: torch.Tensor
    request: Request
    percentile: float
    dtype: Precision
    encoding: Encoding


class _Actor:
    """Translates batches of files."""

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "model.safetensors")
            place.write_bytes(settings.model)
            self.translator = Translator.from_pretrained(place, dtype=settings.dtype)
        self.style = settings.style.to(self.translator.device)

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        """Translate a block of rows with source and target; returns rows of the manifest."""
        jobs = [
            RemoteJob(_unpacked(source), _unpacked(target))
            for source, target in zip(block["source"], block["target"], strict=True)
        ]
        rows = self._translate(jobs)
        return {name: [_packed(row[name]) for row in rows] for name in COLUMNS}

    def _translate(self, jobs: Sequence[RemoteJob]) -> list[Row]:
        rows, readable, prepared = [], [], []
        for job in jobs:
            try:
                prepared.append(self._prepare(job.source))
                readable.append(job)
            except (SivaeError, OSError) as error:
                rows.append(_row(job, "unreadable", reason=getattr(error, "what", str(error))))
        if not readable:
            return rows
        outputs, verdicts = self.translator.engine.process(
            as_batch(prepared), self.style, check=self.settings.request.checks
        )
        flagged = unusual(verdicts, self.settings.percentile)
        for index, (job, picture, output) in enumerate(zip(readable, prepared, outputs, strict=True)):
            try:
                made = self._finished(job, picture.placement, to_pil(output))
            except DataError as error:
                rows.append(_row(job, "unreadable", reason=error.what))
                continue
            put(job.target, self.settings.encoding.encode(made))
            rows.append(_row(job, "written", unusual=str(flagged.get(index, ""))))
        return rows

    def _prepare(self, source: str) -> Prepared:
        """Read a file and prepare it for the model.

        Raises:
            DataError: it is not a readable image.
            InputError: its size cannot be kept.
            OSError: the file cannot be read.
        """
        processor = self.translator.processor
        prepared = processor.prepare_plain(read_image(source, processor.file_reading))
        if self.settings.request.keeps_size:
            self.settings.encoding.require_fits(prepared.placement.size)
        return prepared

    def _finished(self, job: RemoteJob, placement: Placement, square: Image.Image) -> Image.Image:
        """What is written for a file whose square was translated.

        Raises:
            DataError: the file cannot be read again, in its full size.
        """
        request, processor = self.settings.request, self.translator.processor
        if not request.keeps_size:
            return square
        if request.is_simple and placement.is_whole:
            made = processor.restore(square, placement)
        else:
            picture = read_image(job.source, processor.reading)
            made = translate_one(self.translator.engine, processor, picture, self.style, request).picture
        if request.keeps_alpha and self.settings.encoding.has_alpha:
            made = with_alpha(made, read_extras(job.source, processor.reading).alpha)
        return made


def _row(job: RemoteJob, status: Status, reason: str = "", unusual: str = "") -> Row:
    return {
        "source": job.source,
        "target": job.target,
        "status": status,
        "reason": reason,
        "unusual": unusual,
    }


def _stream(ray: Any, jobs: Sequence[RemoteJob], settings: _Settings, workers: int | None) -> Iterator[Row]:
    """Rows of the manifest, in the order of their completion."""
    if not jobs:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actors = workers or gpus or int(resources.get("CPU", 1))
    batches = -(-len(jobs) // settings.request.batch_size)
    items = [{"source": _packed(job.source), "target": _packed(job.target)} for job in jobs]
    data = ray.data.from_items(items, override_num_blocks=min(batches, BLOCKS)).map_batches(
        _Actor,
        batch_size=settings.request.batch_size,
        compute=ray.data.ActorPoolStrategy(size=min(actors, batches)),
        fn_constructor_args=(settings,),
        **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
    )
    yield from ({name: _unpacked(row[name]) for name in COLUMNS} for row in data.iter_rows())


def _packed(text: str) -> bytes:
    """Encode a text for Ray, whose strings must be UTF-8, unlike file names."""
    return text.encode("utf-8", "surrogatepass")


def _unpacked(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")


def write_manifest(url: str, rows: Sequence[Row]) -> None:
    """Write a Parquet file with a row per file, ordered by source.

    Raises:
        OutputError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(rows, key=lambda row: row["source"])
    columns = {name: pa.array([printable(row[name]) for row in ordered], pa.string()) for name in COLUMNS}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    put(url, sink.getvalue().to_pybytes())


def _ray() -> Any:
    """Import Ray with its data library.

    Raises:
        ConfigError: it is not installed.
    """
    import_optional("ray.data", "--engine ray needs Ray", "'sivae-translate[ray]'")
    import ray

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its own plans and progress
    return ray
