"""Files on any fsspec file system: folders, s3://, gs://, memory://."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from PIL import Image

from sivae_translate.data.extras import Extras, extras_of
from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import (
    count_endings,
    distinct,
    is_image,
    is_visible,
    list_images,
    names_below,
)
from sivae_translate.data.reading import Reading, open_image
from sivae_translate.inference.jobs import check_is_no_image_name, ignores_case, name_outputs, refuse_folder
from sivae_translate.inference.relations import LocalPlaces, Places, check_relations, without_results
from sivae_translate.utils.errors import ConfigError, DataError, OutputError
from sivae_translate.utils.files import remove_leftovers, replacing


@dataclass(frozen=True)
class RemoteJob:
    """fsspec paths of an image and its output."""

    source: str
    target: str


def list_jobs(inputs: Sequence[str], out: str, suffix: str = ".png") -> list[RemoteJob]:
    """Pair every input image with its output, which has the extension ``suffix``; see `plan_jobs`.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: the outputs are not allowed there; see `plan_jobs`.
    """
    fs, folder = _filesystem(out)
    check_is_no_image_name(out, is_folder=fs.isdir(folder))
    places, folders = _UrlPlaces(), [given for given in inputs if _is_folder(given)]
    found = distinct(image for given in inputs for image in _expand(given))
    images = without_results(found, folders, out, places)
    sources = [source for source, _ in images]
    any_case = _is_local(fs) and ignores_case(Path(folder))
    names = name_outputs(sources, [place for _, place in images], any_case, suffix)
    jobs = [RemoteJob(source, posixpath.join(out, name)) for source, name in zip(sources, names, strict=True)]
    check_relations([(job.source, job.target) for job in jobs], folders, out, places)
    return jobs


class _UrlPlaces(Places[str]):
    """Real paths on this machine, and paths with their protocol elsewhere."""

    def __init__(self) -> None:
        self._local = LocalPlaces()

    def folder(self, path: str) -> PurePath:
        fs, inner = _filesystem(path)
        return self._local.folder(Path(inner)) if _is_local(fs) else PurePosixPath(fs.unstrip_protocol(inner))

    def home(self, path: str) -> PurePath:
        fs, inner = _filesystem(path)
        return self._local.home(Path(inner)) if _is_local(fs) else self.folder(path).parent

    def file(self, path: str) -> PurePath:
        fs, inner = _filesystem(path)
        return self._local.file(Path(inner)) if _is_local(fs) else self.folder(path)

    def name(self, path: str) -> str:
        return posixpath.basename(path)


def _is_folder(url: str) -> bool:
    fs, path = _filesystem(url)
    return bool(fs.isdir(path))


def _expand(given: str) -> Iterator[tuple[str, str]]:
    """Sources and their paths relative to the input folder, in order."""
    fs, path = _filesystem(given)
    if _is_local(fs):
        yield from ((str(source), place.as_posix()) for source, place in list_images([Path(path)]))
        return
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
    """Paths of the visible files in a folder and all its sub-folders."""
    paths = fs.find(folder)
    return [path for path in paths if all(map(is_visible, posixpath.relpath(path, folder).split("/")))]


def left_out(inputs: Sequence[str]) -> str:
    """Count the files in folders that are not images; see `listing.count_endings`."""
    names = (name for given in inputs for name in _other_names(given))
    return count_endings(name for name in names if not is_image(name))


def _other_names(given: str) -> Iterator[str]:
    """Names of the files in a folder; none if it is a file."""
    fs, path = _filesystem(given)
    if _is_local(fs):
        yield from names_below([Path(path)])
    elif fs.isdir(path):
        yield from map(posixpath.basename, _visible_below(fs, path))


def _name(fs: Any, path: str) -> str:
    """Full name of a file: a plain path on this machine, or a path with its protocol."""
    return path if _is_local(fs) else str(fs.unstrip_protocol(path))


def _is_local(fs: Any) -> bool:
    protocols: tuple[str, ...] = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
    return "file" in protocols


def list_existing(jobs: Sequence[RemoteJob], out: str) -> set[str]:
    """The outputs that exist already; empty files do not count.

    Raises:
        InputError: a folder has the name of an output.
    """
    fs, path = _filesystem(out)
    fs.invalidate_cache()  # the cached listings lack the workers' files
    if not fs.exists(path):
        return set()
    there = {
        posixpath.join(out, posixpath.relpath(name, path)): about
        for name, about in fs.find(path, withdirs=True, detail=True).items()
    }
    found = {job.target: there[job.target] for job in jobs if job.target in there}
    for target, about in found.items():
        refuse_folder(target, is_folder=about["type"] == "directory")
    return {target for target, about in found.items() if about["size"] != 0}


def clean_up(jobs: Sequence[RemoteJob]) -> None:
    """Remove leftovers of killed workers from the output folders; object stores have none."""
    for folder in {posixpath.dirname(job.target) for job in jobs}:
        fs, path = _filesystem(folder)
        if _is_local(fs):
            remove_leftovers(Path(path))


def _filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it.

    Raises:
        ConfigError: the file system is not installed.
    """
    from fsspec.core import url_to_fs
    from fsspec.implementations.local import LocalFileSystem

    if "://" not in url:  # a file name, which fsspec might misread as a URL
        return LocalFileSystem(), str(Path(url).absolute())
    try:
        fs, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"cannot open {url}: {error}", remedy="install its fsspec package, such as s3fs"
        ) from error
    return fs, path.rstrip("/") or "/"


def read_image(url: str, reading: Reading) -> Image.Image:
    """Read an image file with the given settings.

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


def read_extras(url: str, reading: Reading) -> Extras:
    """What an image file has besides colours.

    Raises:
        DataError: it is not a readable image.
        OSError: the file cannot be read.
    """
    fs, path = _filesystem(url)
    return extras_of(Path(path) if _is_local(fs) else io.BytesIO(fs.cat_file(path)), reading)


def put(url: str, content: bytes) -> None:
    """Write a file atomically, as object stores do themselves.

    Raises:
        OutputError: the file cannot be written.
    """
    fs, path = _filesystem(url)
    if _is_local(fs):
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content)
        return
    try:
        fs.pipe_file(path, content)
    except OSError as error:
        raise OutputError(
            f"cannot write {url}: {error}", remedy="free some space or choose another --out"
        ) from error
