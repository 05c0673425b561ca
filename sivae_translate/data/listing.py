"""Listing the image files of a folder, in the same order on every machine."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.utils.errors import DataError

P = TypeVar("P")
_FOREIGN = {"__MACOSX", "Thumbs.db", "desktop.ini"}
"""Names that systems add to folders and zip files; they are never images, whatever their extension."""


def list_images(inputs: Sequence[Path]) -> list[tuple[Path, Path]]:
    """List the images of a batch translation.

    Args:
        inputs: files, whatever their extension, and folders, searched for images with all sub-folders.

    Returns:
        For each image, its path and its path relative to the input folder (a file's name for a file): the
        path of its translation inside the output folder.

    Raises:
        DataError: an input is missing or a folder has no images, or two images have the same relative path.
    """
    return distinct(image for given in map(Path, inputs) for image in _expand(given))


def distinct(images: Iterable[tuple[P, P]]) -> list[tuple[P, P]]:
    """Images and their relative paths, as a list.

    Raises:
        DataError: two images have the same relative path.
    """
    sources: dict[P, P] = {}
    for path, relative in images:
        if relative in sources:
            raise DataError(
                f"{sources[relative]} and {path} would both be written to '{relative}'",
                remedy="translate them into different folders, or rename one",
            )
        sources[relative] = path
    return [(path, relative) for relative, path in sources.items()]


def _expand(given: Path) -> Iterator[tuple[Path, Path]]:
    if not given.exists():
        raise DataError(f"there is no file or folder {given}", remedy="check the path")
    if not given.is_dir():
        yield given, Path(given.name)
        return
    images = images_below(given)
    if not images:
        raise DataError(
            f"there is no image in {given}: {contents(given)}",
            remedy=f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}",
        )
    yield from ((path, Path(name)) for name, path in images.items())


def is_image(name: str) -> bool:
    """Whether a file name has the extension of an image."""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and dot + suffix.lower() in IMAGE_SUFFIXES


def is_visible(name: str) -> bool:
    """Whether a file or folder is neither hidden nor added by a system."""
    return not name.startswith(".") and name not in _FOREIGN


def scan(folder: Path) -> tuple[list[str], list[str]]:
    """Sorted names of the visible sub-folders and of the other visible files directly in a folder.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.name: _is_folder(entry) for entry in entries if is_visible(entry.name)}
    except OSError as error:
        raise _unlistable(error) from error
    names = sorted(kinds)
    return [name for name in names if kinds[name]], [name for name in names if not kinds[name]]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def subfolders(folder: Path) -> dict[str, Path]:
    """Name to path of a folder's visible sub-folders; see `scan`."""
    return {name: folder / name for name in scan(folder)[0]}


def holds_image(folder: Path) -> bool:
    """Whether a folder or one of its sub-folders has an image; see `images_below`."""
    return any(is_image(parts[-1]) for parts in files_below(folder))


def images_below(folder: Path) -> dict[str, Path]:
    """Images in a folder and all its sub-folders, by relative path, in the same order on every machine.

    Links are followed, but each real folder is read once, and parents of the folder never.

    Raises:
        DataError: a folder cannot be listed.
    """
    files = sorted(parts for parts in files_below(folder) if is_image(parts[-1]))
    return {name: folder / name for name in map("/".join, files)}


def files_below(folder: Path) -> Iterator[tuple[str, ...]]:
    """Parts of the relative paths of all visible files.

    Links are followed, since data sets are often assembled from links.
    """
    visited = {identity for above in Path(os.path.realpath(folder)).parents if (identity := _identity(above))}
    for where, folders, files in os.walk(folder, onerror=_raise_unlistable, followlinks=True):
        identity = _identity(Path(where))
        if (
            identity is None or identity in visited
        ):  # deleted meanwhile, or a link to a folder that was read already
            folders.clear()
            continue
        visited.add(identity)
        folders[:] = sorted(name for name in folders if is_visible(name))
        parts = Path(where).relative_to(folder).parts
        yield from ((*parts, name) for name in files if is_visible(name))


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode, equal for all paths to a folder; None if it cannot be read."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _raise_unlistable(error: OSError) -> None:
    raise _unlistable(error) from error


def _unlistable(error: OSError) -> DataError:
    return DataError(
        f"cannot list the folder {error.filename}: {error.strerror}", remedy="change its permissions"
    )


def contents(folder: Path) -> str:
    """Describe what a folder without images contains."""
    names = [parts[-1] for parts in files_below(folder)]
    return f"its {len(names)} files are {count_endings(names)}" if names else "it has no files"


def left_out(inputs: Sequence[Path]) -> str:
    """Count the files in folders that are not images, by extension.

    Args:
        inputs: folders; files and missing paths are skipped.

    Returns:
        See `count_endings`.
    """
    return count_endings(name for name in names_below(inputs) if not is_image(name))


def names_below(inputs: Sequence[Path]) -> Iterator[str]:
    """Names of all visible files in folders; files and missing paths are skipped."""
    return (parts[-1] for given in inputs if given.is_dir() for parts in files_below(given))


def count_endings(names: Iterable[str]) -> str:
    """Count files by extension, listing the five most frequent: "3 .psd, 1 .txt"; empty without files."""
    endings = Counter(Path(name).suffix.lower() or "without an extension" for name in names)
    ranked = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    others = sum(number for _, number in ranked[5:])
    named = [f"{number} {ending}" for ending, number in ranked[:5]]
    return ", ".join([*named, f"{others} others"] if others else named)
