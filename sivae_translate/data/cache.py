"""Decoded images on disk: a set is decoded once, and every later start maps its pixels into memory.

A cache is a folder of two files: ``index.json`` names every image file with what tells that it has changed,
``pixels.npy`` holds the images as the model sees them. What has not changed since is taken from there, what
has, and what could not be read, is decoded anew. A checksum over both tells a damaged cache. `keep_arrays`
keeps what is made, not read.
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
"""Smaller sets are decoded in a second, and leave nothing on disk."""
AHEAD = 64
"""Images handed to the decoding threads at a time."""


@dataclass(frozen=True)
class Decoded:
    """The readable images of some files.

    Attributes:
        pixels: uint8 (N, size, size, channels), in memory or mapped into it.
        kept: indices of the files that they come from, in order.
        problems: why the others could not be read.
    """

    pixels: np.ndarray
    kept: tuple[int, ...]
    problems: tuple[str, ...] = ()


_Stamp: TypeAlias = tuple[int, int, int, int]
"""Of a file: size, times of the last change of its content and of its inode in nanoseconds, and the inode: a
tool that copies may set the time of the content, but not the others."""


class _DamageError(Exception):
    """A cache is not as it was written."""


@dataclass(frozen=True)
class _Stored:
    """What an earlier start has left.

    Attributes:
        stamps: of each file, by its path.
        rows: of each file that could be read, its row among the pixels.
        pixels: uint8 (N, size, size, channels).
    """

    stamps: dict[str, _Stamp]
    rows: dict[str, int]
    pixels: np.ndarray

    def row(self, path: Path, stamp: _Stamp) -> int | None:
        """The row of a file that has not changed; None where it must be decoded."""
        return self.rows.get(str(path)) if self.stamps.get(str(path)) == stamp else None


def default_folder() -> Path:
    """Where caches lie unless ``data.cache`` says otherwise: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sivae-translate"


def decode(paths: Sequence[Path], config: DataConfig, description: str) -> Decoded:
    """Images of files as the model sees them, from the cache where they are there and have not changed.

    A damaged cache is made anew, which a line says; where none can be written, the images are only kept in
    memory.

    Args:
        paths: the files.
        config: how they are made square, and where caches lie.
        description: for the progress bar.
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
    """Whether a cache has all that there is: these files, and nothing new could be decoded."""
    now = dict(zip(map(str, paths), stamps, strict=True))
    return stored.stamps == now and not any(isinstance(image, np.ndarray) for image in fresh)


def _decoded(path: Path, config: DataConfig) -> np.ndarray | str:
    """One file's image, or why there is none."""
    try:
        return read(path, config)
    except DataError as error:
        return error.what


def _decode_all(paths: Sequence[Path], config: DataConfig) -> list[np.ndarray | str]:
    return [_decoded(path, config) for path in paths]


def _threaded(paths: Sequence[Path], config: DataConfig, description: str) -> list[np.ndarray | str]:
    """The same for many, by as many threads as there are processors; Pillow decodes without Python's lock."""
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
    """Everything from the cache, in the files' order."""
    kept, pixels = [row for row in rows if row is not None], stored.pixels
    if kept != list(range(len(pixels))):
        pixels = pixels[kept]
    places = tuple(index for index, row in enumerate(rows) if row is not None)
    return Decoded(pixels, places, tuple(map(str, problems)))


def _stamp(path: Path) -> _Stamp:
    """What changes with a file; zeros for a file that is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _key(paths: Sequence[Path], config: DataConfig) -> str:
    """Name of the cache: the folder that holds the files, and how they are made square."""
    common = os.path.commonpath([path.parent.absolute() for path in paths])
    text = json.dumps([FORMAT, common, config.image_size, config.channels, config.fit, config.white_level])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _load_or_nothing(folder: Path, config: DataConfig) -> _Stored:
    """A cache; an empty one where there is none, or, with a line that says so, where it is damaged."""
    stored = _whole_or_none(folder, lambda: _load(folder, config))
    return _Stored({}, {}, np.empty(0, np.uint8)) if stored is None else stored


def _whole_or_none(folder: Path, load: Callable[[], T]) -> T | None:
    """What is loaded from a cache; None where there is none or, with a line that says so, it is damaged."""
    try:
        return load()
    except FileNotFoundError:
        pass
    except (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, _DamageError):
        console.print(f"the cache {folder} is damaged; it is made anew", highlight=False, soft_wrap=True)
    return None


def _load(folder: Path, config: DataConfig) -> _Stored:
    """A cache; besides what is raised here, any error of JSON and numpy.

    Raises:
        _DamageError: it is not as it was written.
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
    """Write a cache, whole or not at all.

    Raises:
        OutputError: it cannot be written.
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
    """Arrays that take long to make: read where they are there and whole, else made and kept.

    A damaged folder is made anew, which a line says; where none can be written, the arrays are only returned.

    Args:
        folder: where they lie; its name holds everything that they depend on.
        make: makes them, by name.

    Returns:
        The arrays, mapped into memory where they were there.
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
    """Arrays of `keep_arrays`; besides what is raised here, any error of JSON and numpy.

    Raises:
        FileNotFoundError: there are none.
        _DamageError: they are not as they were written.
    """
    checksums = json.loads((folder / "index.json").read_text(encoding="utf-8"))["checksums"]
    if not all((folder / f"{name}.npy").is_file() for name in checksums):
        raise _DamageError
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in checksums}
    if any(zlib.crc32(np.ascontiguousarray(arrays[name]).data) != checksums[name] for name in arrays):
        raise _DamageError
    return arrays
