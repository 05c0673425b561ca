"""Translating on a cluster, through Ray Data: streaming, one model an actor, per-file errors in a manifest
and not in a crash.

Inputs and outputs are anything that fsspec knows: folders, s3://, gs://, memory://. Each batch of files is
one unit of work; an actor reads its files, translates them and writes PNG files, each of which appears whole
or not at all. When an actor dies, Ray starts another and gives it the batch again; since an output is the
same whoever writes it, nothing is lost or doubled.
"""

from __future__ import annotations

import io
import logging
import posixpath
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from PIL import Image

from sivae_translate.data.image import IMAGE_SUFFIXES, open_image
from sivae_translate.inference.folders import COMPRESSION, compute, real_file, scaled
from sivae_translate.inference.translator import PERCENTILE, StyleLike, Translator, check_choices
from sivae_translate.models.weights import find_model
from sivae_translate.utils.choices import Check, Precision
from sivae_translate.utils.errors import ConfigError, DataError, InputError, OutputError
from sivae_translate.utils.progress import progress_bar

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.parquet"
BLOCKS = 10_000
"""At most so many blocks for Ray to keep books on; a block of a large job holds several batches."""

Status = Literal["written", "existing", "unreadable"]


@dataclass(frozen=True)
class Job:
    """One file's way."""

    source: str
    target: str


@dataclass
class ClusterResult:
    """What became of the files.

    Attributes:
        manifest: Parquet file with a row a file: source, target, status (written, existing, unreadable),
            reason of an unreadable one, unusual (score and reason, empty where it is usual or not checked).
        counts: files of each status, and ``unusual``.
    """

    manifest: str
    counts: dict[str, int] = field(default_factory=dict)


def translate_on_cluster(
    run: str | Path,
    inputs: Sequence[str],
    style: StyleLike,
    out: str,
    *,
    overwrite: bool = False,
    size: Literal["model", "input"] = "model",
    batch_size: int = 64,
    check: Check = "off",
    percentile: float = PERCENTILE,
    workers: int | None = None,
    dtype: Precision = "auto",
) -> ClusterResult:
    """Translate files and folders into ``out``, keeping sub-folders and names; results are PNG files and
    manifest.parquet.

    Connects to the cluster that ``RAY_ADDRESS`` names, or starts one on this machine. The style is computed
    once. Called again, it translates only what is missing.

    Args:
        run: run folder, model file or pretrained name.
        inputs: files and folders, searched recursively, as fsspec names them.
        style: see `Translator.__call__`.
        out: output folder, as fsspec names it.
        overwrite: replace outputs that exist.
        size: ``model`` or ``input``.
        batch_size: files in a unit of work.
        check: ``warn`` notes inputs unlike the training data; ``raise`` is for one machine.
        percentile: see `Translator.__call__`.
        workers: actors; left out: one a GPU, or one a processor.
        dtype: of each worker's matrix products.

    Raises:
        ConfigError: Ray is not installed.
        InputError: an unknown style or argument, two inputs with one output, or an output that would replace
            an input.
        DataError: an input is missing.
        OutputError: ``out`` cannot be written to.
    """
    check_choices("pil", size, check, batch_size)
    if check == "raise":
        raise InputError(
            "check 'raise' stops at an image, which a cluster cannot", remedy="--check warn lists them"
        )
    ray = _ray()
    translator = Translator.from_pretrained(run, device="cpu", dtype=dtype)
    if check != "off":
        translator.engine.require_calibration(percentile)
    code = translator.style_code(style)
    jobs = list_jobs(inputs, out)
    there = set() if overwrite else _existing(out)
    todo = [job for job in jobs if job.target not in there]
    rows = [_row(job, "existing") for job in jobs if job.target in there]
    ray.init(ignore_reinit_error=True, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    settings = _Settings(
        model=find_model(run).read_bytes(),
        style=code.cpu(),
        batch_size=batch_size,
        resize=size == "input",
        check=check != "off",
        percentile=percentile,
        dtype=dtype,
    )
    with progress_bar() as bar:
        task = bar.add_task("translating", total=len(todo))
        for row in _stream(ray, todo, settings, workers):
            rows.append(row)
            bar.advance(task)
    manifest = posixpath.join(out, MANIFEST)
    _write_manifest(manifest, rows)
    counts = {
        status: sum(row["status"] == status for row in rows)
        for status in ("written", "existing", "unreadable")
    }
    return ClusterResult(manifest, {**counts, "unusual": sum(bool(row["unusual"]) for row in rows)})


def list_jobs(inputs: Sequence[str], out: str) -> list[Job]:
    """Every input image with its output.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: two inputs would become one output, or an output would replace an input.
    """
    jobs: dict[str, Job] = {}
    for given in inputs:
        for source, relative in _expand(given):
            target = posixpath.join(out, posixpath.splitext(relative)[0] + ".png")
            if target in jobs:
                raise InputError(
                    f"{jobs[target].source} and {source} would both become {target}",
                    remedy="rename one of them",
                )
            jobs[target] = Job(source, target)
    folders: dict[Path, Path] = {}
    targets = {_place(target, folders) for target in jobs}
    if replaced := next(
        (job.source for job in jobs.values() if _place(job.source, folders) in targets), None
    ):
        raise InputError(f"{replaced} would be replaced by an output", remedy="choose another --out")
    return list(jobs.values())


def _place(name: str, folders: dict[Path, Path]) -> str:
    """What a file is called whichever way it was named: its real path on this machine, else with its
    protocol.
    """
    fs, path = _filesystem(name)
    return str(real_file(Path(path), folders)) if _is_local(fs) else str(fs.unstrip_protocol(path))


def _expand(given: str) -> Iterator[tuple[str, str]]:
    """Sources and their paths relative to the folder that was named, in order."""
    fs, path = _filesystem(given)
    if fs.isfile(path):
        yield _name(fs, path), posixpath.basename(path)
        return
    if not fs.exists(path):
        raise DataError(f"there is no file or folder {given}", remedy="check the path")
    found = sorted(name for name in fs.find(path) if posixpath.splitext(name)[1].lower() in IMAGE_SUFFIXES)
    if not found:
        raise DataError(
            f"there is no image in {given}", remedy=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    yield from ((_name(fs, name), posixpath.relpath(name, path)) for name in found)


def _name(fs: Any, path: str) -> str:
    """What a file is called outside its file system: a plain path on this machine, else with its protocol."""
    return path if _is_local(fs) else str(fs.unstrip_protocol(path))


def _is_local(fs: Any) -> bool:
    protocols: tuple[str, ...] = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
    return "file" in protocols


def _existing(out: str) -> set[str]:
    """Outputs that are there, named as `list_jobs` names them."""
    fs, path = _filesystem(out)
    fs.invalidate_cache()  # the workers' files are not in this process's listings
    return (
        {posixpath.join(out, posixpath.relpath(name, path)) for name in fs.find(path)}
        if fs.exists(path)
        else set()
    )


def _filesystem(url: str) -> tuple[Any, str]:
    """Fsspec's file system and the path in it.

    Raises:
        ConfigError: no such file system is installed.
    """
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot open {url}: {error}", remedy="install fsspec's package for it, such as s3fs"
        ) from error
    return fs, path.rstrip("/") or "/"


@dataclass(frozen=True)
class _Settings:
    """What an actor needs to know; the model travels as bytes, since a cluster may share no disk."""

    model: bytes
    style: torch.Tensor
    batch_size: int
    resize: bool
    check: bool
    percentile: float
    dtype: Precision


class _Actor:
    """Translates batches of files."""

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "model.safetensors")
            place.write_bytes(settings.model)
            self.translator = Translator.from_pretrained(place, dtype=settings.dtype)
        self.style = settings.style.to(self.translator.device)

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, list[str]]:
        """Rows with source and target to rows of the manifest."""
        jobs = [
            Job(str(source), str(target))
            for source, target in zip(block["source"], block["target"], strict=True)
        ]
        rows = self._translate(jobs)
        return {
            name: [row[name] for row in rows] for name in ("source", "target", "status", "reason", "unusual")
        }

    def _translate(self, jobs: Sequence[Job]) -> list[dict[str, str]]:
        rows, kept, images = [], [], []
        for job in jobs:
            try:
                images.append(_read(job.source))
                kept.append(job)
            except (DataError, OSError) as error:
                rows.append(_row(job, "unreadable", reason=getattr(error, "what", str(error))))
        if not kept:
            return rows
        pictures, verdicts = compute(self.translator, images, self.style, judged=self.settings.check)
        unusual = [
            str(verdict) if verdict.percentile >= self.settings.percentile else "" for verdict in verdicts
        ]
        for job, image, picture, told in zip(
            kept, images, pictures, unusual or [""] * len(kept), strict=True
        ):
            _write(scaled(picture, image.size if self.settings.resize else None), job.target)
            rows.append(_row(job, "written", unusual=told))
        return rows


def _row(job: Job, status: Status, reason: str = "", unusual: str = "") -> dict[str, str]:
    return {
        "source": job.source,
        "target": job.target,
        "status": status,
        "reason": reason,
        "unusual": unusual,
    }


def _read(url: str) -> Image.Image:
    fs, path = _filesystem(url)
    stream = io.BytesIO(fs.cat_file(path))
    stream.name = url
    return open_image(stream)


def _write(picture: Image.Image, url: str) -> None:
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", compress_level=COMPRESSION)
    _put(url, encoded.getvalue())


def _put(url: str, content: bytes) -> None:
    """Write a file, whole or not at all: object stores do so by themselves, elsewhere it is renamed into
    place.

    Raises:
        OutputError: it cannot be written.
    """
    fs, path = _filesystem(url)
    temporary = f"{posixpath.dirname(path)}/.{posixpath.basename(path)}.{uuid.uuid4().hex}.tmp"
    try:
        if not _is_local(fs):
            fs.pipe_file(path, content)
            return
        fs.makedirs(posixpath.dirname(path), exist_ok=True)
        fs.pipe_file(temporary, content)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {url}: {error}", remedy="free space, or choose another --out"
        ) from error


def _stream(
    ray: Any, jobs: Sequence[Job], settings: _Settings, workers: int | None
) -> Iterator[dict[str, str]]:
    """Rows of the manifest as they come."""
    if not jobs:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actors = workers or gpus or int(resources.get("CPU", 1))
    batches = -(-len(jobs) // settings.batch_size)
    items = [{"source": job.source, "target": job.target} for job in jobs]
    data = ray.data.from_items(items, override_num_blocks=min(batches, BLOCKS)).map_batches(
        _Actor,
        batch_size=settings.batch_size,
        compute=ray.data.ActorPoolStrategy(size=min(actors, batches)),
        fn_constructor_args=(settings,),
        **({"num_gpus": 1} if gpus else {"num_cpus": 1}),
    )
    yield from data.iter_rows()


def _write_manifest(url: str, rows: Sequence[dict[str, str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("source", "target", "status", "reason", "unusual")
    ordered = sorted(rows, key=lambda row: row["source"])
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({name: pa.array([row[name] for row in ordered], pa.string()) for name in columns}), sink
    )
    _put(url, sink.getvalue().to_pybytes())


def _ray() -> Any:
    """Ray with its data library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray", remedy="pip install 'sivae-translate[ray]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # plans and progress of its own
    return ray
