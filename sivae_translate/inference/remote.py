"""Files wherever fsspec finds them: folders, s3://, gs://, memory://."""

from __future__ import annotations

import io
import posixpath
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import count_endings, is_image, is_visible
from sivae_translate.data.reading import Reading, open_image
from sivae_translate.inference.jobs import check_is_no_image_name, ignores_case, name_outputs, real_file
from sivae_translate.utils.errors import ConfigError, DataError, InputError, OutputError


@dataclass(frozen=True)
class RemoteJob:
    """An image and its output, as fsspec names them."""

    source: str
    target: str


def list_jobs(inputs: Sequence[str], out: str, suffix: str = ".png") -> list[RemoteJob]:
    """Every input image with its output, whose name ends in ``suffix``.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: two inputs would become one output, or an output would replace an input.
    """
    fs, folder = _filesystem(out)
    check_is_no_image_name(out, is_folder=fs.isdir(folder))
    images = [image for given in inputs for image in _expand(given)]
    sources = [source for source, _ in images]
    any_case = _is_local(fs) and ignores_case(Path(folder))
    names = name_outputs(sources, [place for _, place in images], any_case, suffix)
    jobs = {
        target: RemoteJob(source, target)
        for source, name in zip(sources, names, strict=True)
        for target in [posixpath.join(out, name)]
    }
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
    names = sorted(name for name in _visible_below(fs, path) if is_image(posixpath.basename(name)))
    if not names:
        raise DataError(
            f"there is no image in {given}", remedy=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    yield from ((_name(fs, name), posixpath.relpath(name, path)) for name in names)


def _visible_below(fs: Any, folder: str) -> list[str]:
    """Paths of the files in a folder and all its sub-folders, without hidden ones."""
    paths = fs.find(folder)
    return [path for path in paths if all(map(is_visible, posixpath.relpath(path, folder).split("/")))]


def left_out(inputs: Sequence[str]) -> str:
    """The files in folders that are not images by their names; see `listing.count_endings`."""
    folders = [(fs, path) for fs, path in map(_filesystem, inputs) if fs.isdir(path)]
    names = (posixpath.basename(name) for fs, path in folders for name in _visible_below(fs, path))
    return count_endings(name for name in names if not is_image(name))


def _name(fs: Any, path: str) -> str:
    """What a file is called outside its file system: a plain path on this machine, else with its protocol."""
    return path if _is_local(fs) else str(fs.unstrip_protocol(path))


def _is_local(fs: Any) -> bool:
    protocols: tuple[str, ...] = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
    return "file" in protocols


def list_existing(out: str) -> set[str]:
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


def read_image(url: str, reading: Reading) -> Image.Image:
    """An image file, read as a model's settings say.

    Raises:
        DataError: it is not a readable image.
        OSError: the file cannot be read.
    """
    fs, path = _filesystem(url)
    if _is_local(fs):
        return open_image(path, reading)
    stream = io.BytesIO(fs.cat_file(path))
    stream.name = url
    return open_image(stream, reading)


def put(url: str, content: bytes) -> None:
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
