"""A disk cache of decoded images: a data set is decoded once and memory-mapped at every later start.

A cache is a folder with two files: ``index.json`` lists the image files with a stamp that changes when they
do, ``pixels.npy`` holds the images as the model sees them. Unchanged images are read from the cache; changed
ones, and those that could not be read, are decoded again. A checksum over both files detects damage.
`keep_arrays` caches arrays that are computed rather than read.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.domains import read
from sivae_translate.utils.errors import DataError, OutputError
from sivae_translate.utils.files import replacing_folder
from sivae_translate.utils.progress import console, track

T = TypeVar("T")
FORMAT = 2
WORTH_KEEPING = 256
"""Smaller sets are decoded within a second and are not cached."""
AHEAD = 64
"""Number of images handed to the decoding threads at a time."""


@dataclass(frozen=True)
class Decoded:
    """The readable images of some files.

    Attributes:
        pixels: uint8 (N, size, size, channels), in memory or memory-mapped.
        kept: indices of the files that could be read, in order.
        problems: why the others could not be read.
    """

    pixels: np.ndarray
    kept: tuple[int, ...]
    problems: tuple[str, ...] = ()


_Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, modification time, inode change time (both in nanoseconds) and inode of a file. Copying tools may
preserve the modification time, but not the last two."""


class _DamageError(Exception):
    """A cache is damaged."""


@dataclass(frozen=True)
class _Stored:
    """The content of a cache.

    Attributes:
        stamps: path to stamp of each file.
        rows: path to row in ``pixels`` of each file that could be read.
        pixels: uint8 (N, size, size, channels).
    """

    stamps: dict[str, _Stamp]
    rows: dict[str, int]
    pixels: np.ndarray

    def row(self, path: Path, stamp: _Stamp) -> int | None:
        """The row of an unchanged file; None if it must be decoded."""
        return self.rows.get(str(path)) if self.stamps.get(str(path)) == stamp else None


def default_folder() -> Path:
    """The default of ``data.cache``: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sivae-translate"


def decode(paths: Sequence[Path], config: DataConfig, description: str) -> Decoded:
    """Images of files as the model sees them; unchanged ones come from the cache.

    A damaged cache is rebuilt, with a message; if no cache can be written, the images are kept in memory
    only.

    Args:
        paths: the image files.
        config: how images are made square, and the cache folder.
        description: label of the progress bar.
    """
    if len(paths) < WORTH_KEEPING:
        return _join([_decoded(path, config) for path in track(paths, description)], config)
    folder = (config.cache or default_folder()) / _key(paths, config)
    stamps = [_stamp(path) for path in paths]
    stored = _load_or_nothing(folder, config)
    rows = [stored.row(path, stamp) for path, stamp in zip(paths, stamps, strict=True)]
    missing = [path for path, row in zip(paths, rows, strict=True) if row is None]
    fresh = _threaded(missing, config, description)
    if _is_complete(stored, paths, stamps, fresh):
        return _mapped(stored, rows, fresh)
    following = iter(fresh)
    images = [next(following) if row is None else stored.pixels[row] for row in rows]
    decoded = _join(images, config)
    with suppress(OutputError):
        _save(folder, paths, stamps, decoded)
    return decoded


def _is_complete(
    stored: _Stored, paths: Sequence[Path], stamps: Sequence[_Stamp], fresh: Sequence[np.ndarray | str]
) -> bool:
    """Whether a cache is up to date: it has all these files, and no file needs to be decoded."""
    now = dict(zip(map(str, paths), stamps, strict=True))
    return stored.stamps == now and not any(isinstance(image, np.ndarray) for image in fresh)


def _decoded(path: Path, config: DataConfig) -> np.ndarray | str:
    """The image of a file, or the reason why it cannot be read."""
    try:
        return read(path, config)
    except DataError as error:
        return error.what


def _decode_all(paths: Sequence[Path], config: DataConfig) -> list[np.ndarray | str]:
    return [_decoded(path, config) for path in paths]


def _threaded(paths: Sequence[Path], config: DataConfig, description: str) -> list[np.ndarray | str]:
    """Decode many files, with one thread per processor; Pillow releases Python's lock."""
    chunks = [paths[start : start + AHEAD] for start in range(0, len(paths), AHEAD)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = [threads.submit(_decode_all, chunk, config) for chunk in chunks]
        return [image for part in track(parts, description) for image in part.result()]


def _join(images: Sequence[np.ndarray | str], config: DataConfig) -> Decoded:
    readable = [image for image in images if isinstance(image, np.ndarray)]
    shape = (0, config.image_size, config.image_size, config.channels)
    return Decoded(
        np.stack(readable) if readable else np.empty(shape, np.uint8),
        tuple(index for index, image in enumerate(images) if isinstance(image, np.ndarray)),
        tuple(image for image in images if isinstance(image, str)),
    )


def _mapped(stored: _Stored, rows: Sequence[int | None], problems: Sequence[np.ndarray | str]) -> Decoded:
    """All images from the cache, in the order of the files."""
    kept, pixels = [row for row in rows if row is not None], stored.pixels
    if kept != list(range(len(pixels))):
        pixels = pixels[kept]
    places = tuple(index for index, row in enumerate(rows) if row is not None)
    return Decoded(pixels, places, tuple(map(str, problems)))


def _stamp(path: Path) -> _Stamp:
    """The stamp of a file; zeros if it no longer exists."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _key(paths: Sequence[Path], config: DataConfig) -> str:
    """Name of the cache: the folder of the files, and how they are made square."""
    common = os.path.commonpath([path.parent.absolute() for path in paths])
    text = json.dumps([FORMAT, common, config.image_size, config.channels, config.fit, config.white_level])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _load_or_nothing(folder: Path, config: DataConfig) -> _Stored:
    """Load a cache; the result is empty if there is none or, with a message, if it is damaged."""
    stored = _whole_or_none(folder, lambda: _load(folder, config))
    return _Stored({}, {}, np.empty(0, np.uint8)) if stored is None else stored


def _whole_or_none(folder: Path, load: Callable[[], T]) -> T | None:
    """The result of ``load``; None if there is no cache or, with a message, if it is damaged."""
    try:
        return load()
    except FileNotFoundError:
        pass
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, _DamageError):
        console.print(f"the cache {folder} is damaged and will be rebuilt", highlight=False, soft_wrap=True)
    return None


def _load(folder: Path, config: DataConfig) -> _Stored:
    """Load a cache.

    Raises:
        _DamageError: the cache is damaged. JSON's and numpy's own errors are passed on.
    """
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    pixels: np.ndarray = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    files, side = index["files"], config.image_size
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (side, side, config.channels):
        raise _DamageError
    if index["checksum"] != _checksum(files, pixels):
        raise _DamageError
    stamps = {name: (int(a), int(b), int(c), int(d)) for name, ((a, b, c, d), _) in files.items()}
    return _Stored(stamps, {name: int(row) for name, (_, row) in files.items() if row is not None}, pixels)


def _checksum(files: dict[str, list[object]], pixels: np.ndarray) -> int:
    """CRC-32 of a cache."""
    total = zlib.crc32(json.dumps(files, sort_keys=True).encode())
    for start in range(0, len(pixels), AHEAD):
        total = zlib.crc32(np.ascontiguousarray(pixels[start : start + AHEAD]).data, total)
    return total


def _save(folder: Path, paths: Sequence[Path], stamps: Sequence[_Stamp], decoded: Decoded) -> None:
    """Write a cache atomically.

    Raises:
        OutputError: the cache cannot be written.
    """
    rows = {place: row for row, place in enumerate(decoded.kept)}
    files: dict[str, list[object]] = {
        str(path): [list(stamp), rows.get(place)]
        for place, (path, stamp) in enumerate(zip(paths, stamps, strict=True))
    }
    index = {"files": files, "checksum": _checksum(files, decoded.pixels)}
    with replacing_folder(folder) as temporary:
        np.save(temporary / "pixels.npy", decoded.pixels, allow_pickle=False)
        (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")


def keep_arrays(folder: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Cache arrays that take long to compute.

    A damaged folder is rebuilt, with a message; if none can be written, the arrays are only returned.

    Args:
        folder: the cache; its name must contain everything that the arrays depend on.
        make: computes the arrays, by name.

    Returns:
        The arrays, memory-mapped if they were cached.
    """
    stored = _whole_or_none(folder, lambda: _load_arrays(folder))
    if stored is not None:
        return stored
    arrays = {name: np.ascontiguousarray(array) for name, array in make().items()}
    with suppress(OutputError), replacing_folder(folder) as temporary:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        index = {"checksums": {name: zlib.crc32(array.data) for name, array in arrays.items()}}
        (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return arrays


def _load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Load the arrays of `keep_arrays`.

    Raises:
        FileNotFoundError: there is no such cache.
        _DamageError: the cache is damaged. JSON's and numpy's own errors are passed on.
    """
    checksums = json.loads((folder / "index.json").read_text(encoding="utf-8"))["checksums"]
    if not all((folder / f"{name}.npy").is_file() for name in checksums):
        raise _DamageError
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in checksums}
    if any(zlib.crc32(np.ascontiguousarray(arrays[name]).data) != checksums[name] for name in arrays):
        raise _DamageError
    return arrays
