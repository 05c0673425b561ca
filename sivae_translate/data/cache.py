"""Decoded images on disk: a set is decoded once, and every later start maps its pixels into memory.

A cache is a folder of two files: ``index.json`` names every image file with its size and time of change,
``pixels.npy`` holds the images as the model sees them. What has not changed since is taken from there, what
has is decoded anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.domains import read
from sivae_translate.utils.errors import DataError, OutputError
from sivae_translate.utils.files import replacing_folder
from sivae_translate.utils.progress import track

FORMAT = 1
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


_Entry: TypeAlias = tuple[int, int, int, str]
"""Of a file: size, time of change, row among the pixels or -1, and then the reason why it cannot be read."""


def default_folder() -> Path:
    """Where caches lie unless ``data.cache`` says otherwise: the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sivae-translate"


def decode(paths: Sequence[Path], config: DataConfig, description: str) -> Decoded:
    """Images of files as the model sees them, from the cache where they are there and have not changed.

    A cache that cannot be read is made anew; where none can be written, the images are only kept in memory.

    Args:
        paths: the files.
        config: how they are made square, and where caches lie.
        description: for the progress bar.
    """
    if len(paths) < WORTH_KEEPING:
        return _join([_decoded(path, config) for path in track(paths, description)], config)
    folder = (config.cache or default_folder()) / _key(paths, config)
    stamps = [_stamp(path) for path in paths]
    index, pixels = _load(folder)
    known = [index.get(str(path)) for path in paths]
    current = [
        entry if entry and entry[:2] == stamp else None for entry, stamp in zip(known, stamps, strict=True)
    ]
    if all(current) and len(index) == len(paths):
        return _mapped([entry for entry in current if entry], pixels)
    missing = [path for path, entry in zip(paths, current, strict=True) if entry is None]
    fresh = iter(_threaded(missing, config, description))
    images = [_cached(entry, pixels) if entry else next(fresh) for entry in current]
    decoded = _join(images, config)
    with suppress(OutputError):
        _save(
            folder, dict(zip(map(str, paths), zip(stamps, images, strict=True), strict=True)), decoded.pixels
        )
    return decoded


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


def _mapped(entries: Sequence[_Entry], pixels: np.ndarray) -> Decoded:
    """Everything from the cache, whose rows are in the files' order."""
    kept = tuple(index for index, (_, _, row, _) in enumerate(entries) if row >= 0)
    if [entries[index][2] for index in kept] != list(range(len(pixels))):
        pixels = pixels[[entries[index][2] for index in kept]]  # the files' order has changed
    return Decoded(pixels, kept, tuple(reason for _, _, row, reason in entries if row < 0))


def _cached(entry: _Entry, pixels: np.ndarray) -> np.ndarray | str:
    image: np.ndarray | str = pixels[entry[2]] if entry[2] >= 0 else entry[3]
    return image


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; zeros for a file that is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _key(paths: Sequence[Path], config: DataConfig) -> str:
    """Name of the cache: the folder that holds the files, and how they are made square."""
    common = os.path.commonpath([path.parent.absolute() for path in paths])
    text = json.dumps([FORMAT, common, config.image_size, config.channels, config.fit])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _load(folder: Path) -> tuple[dict[str, _Entry], np.ndarray]:
    """What an earlier start has left; nothing where that is missing or damaged."""
    try:
        files = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
        index = {
            name: (int(size), int(time), int(row), str(why)) for name, (size, time, row, why) in files.items()
        }
    except (OSError, EOFError, ValueError, AttributeError, TypeError):
        return {}, np.empty(0, np.uint8)
    rows = max((row for _, _, row, _ in index.values()), default=-1) + 1
    return (index, pixels) if len(pixels) == rows else ({}, np.empty(0, np.uint8))


def _save(
    folder: Path, files: dict[str, tuple[tuple[int, int], np.ndarray | str]], pixels: np.ndarray
) -> None:
    """Write a cache, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    entries, row = {}, 0
    for name, (stamp, image) in files.items():
        readable = isinstance(image, np.ndarray)
        entries[name] = [*stamp, row if readable else -1, "" if readable else image]
        row += readable
    with replacing_folder(folder) as temporary:
        np.save(temporary / "pixels.npy", pixels, allow_pickle=False)
        (temporary / "index.json").write_text(json.dumps(entries), encoding="utf-8")
