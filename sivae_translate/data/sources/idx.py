"""The idx files of MNIST and its relatives: ``train-images-idx3-ubyte[.gz]`` and so on."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import named, require_small, unzip
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.layouts import UNLABELLED
from sivae_translate.data.sources.base import Source, require_root
from sivae_translate.utils.errors import DataError

UNSIGNED_BYTE = 8
SPLITS = {"train": "train", "test": "t10k"}
FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")
"""Prefixes of the file names of each split."""


class Idx(Source):
    """One domain per class, or a single domain without labels."""

    name = "idx"

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: a file is missing or damaged, or the images are larger than ``data.image_size``.
        """
        root = require_root(config)
        train, test = (_by_class(root, split, config) for split in ("train", "test"))
        tested = [name for name in train if name in test]
        return DomainData(
            domains=tuple(train),
            train=tuple(train.values()),
            test=tuple(test[name] for name in tested),
            test_ids=tuple(
                tuple(f"{name or 'image'}-{i}" for i in range(len(test[name]))) for name in tested
            ),
        )


def _by_class(root: Path, split: str, config: DataConfig) -> dict[str, ArrayImages]:
    """A split's images by class, or all of them in one unlabelled domain."""
    images, classes = read_split(root, split)
    array = np.repeat(pad(images, config.image_size)[..., None], config.channels, axis=3)
    if classes is None or not config.labels:
        return {UNLABELLED: ArrayImages(array)}
    return {str(label): ArrayImages(array[classes == label]) for label in np.unique(classes)}


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Read an idx file of unsigned bytes, gzipped or not.

    Args:
        path: the file.
        rank: number of dimensions: 3 for images, 1 for labels.

    Returns:
        uint8, with the shape given in the header.

    Raises:
        DataError: the file is missing, truncated, too large, or has another format.
    """
    with named(str(path)):
        require_small(path.stat().st_size, str(path))
        raw = path.read_bytes()
    return parse(raw, rank, str(path))


def parse(raw: bytes, rank: int, name: str) -> np.ndarray:
    """Parse the content of an idx file, see `read_idx`; ``name`` is for errors.

    Raises:
        DataError: the content is truncated, too long, or has another format.
    """
    packed, start = raw[:2] == b"\x1f\x8b", 4 + 4 * rank
    head = unzip(raw, name, start) if packed else raw[:start]
    if len(head) < start or head[:3] != bytes([0, 0, UNSIGNED_BYTE]) or head[3] != rank:
        raise DataError(
            f"{name} is not a {rank}-dimensional idx file of unsigned bytes",
            remedy="name a folder with the published files",
        )
    shape = struct.unpack(f">{rank}I", head[4:])
    size = math.prod(shape)
    require_small(size, name)
    data = unzip(raw, name, start + size + 1) if packed else raw
    values = np.frombuffer(data, dtype=np.uint8, offset=start)
    if values.size != size or not size:
        raise DataError(
            f"{name} is damaged: its header says {size} bytes, and {values.size} or more follow",
            remedy="download the file again",
        )
    return values.reshape(shape)


def read_split(root: Path, split: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Read images (N, H, W) uint8 and labels (N,) uint8, or None if there is no label file.

    Args:
        root: folder with the published files.
        split: ``train`` or ``test``.

    Raises:
        DataError: the images are missing, a file is damaged, or there are not as many labels as images.
    """
    images, labels = (_find(root, f"{SPLITS[split]}-{what}") for what in FILES)
    if images is None:
        raise DataError(
            f"{root} has no {SPLITS[split]}-images-idx3-ubyte or .gz",
            remedy="Fashion-MNIST: Debian package dataset-fashion-mnist; MNIST: its authors' four "
            "files, in one folder",
        )
    pixels, classes = read_idx(images, 3), read_idx(labels, 1) if labels else None
    if classes is not None:
        check_pair(pixels, classes, str(root))
    return pixels, classes


def check_pair(images: np.ndarray, labels: np.ndarray, root: str) -> None:
    """Raise DataError unless there are as many labels as images; ``root`` is for the error."""
    if len(images) != len(labels):
        raise DataError(
            f"{len(images)} images but {len(labels)} labels in {root}", remedy="download the files again"
        )


def _find(root: Path, name: str) -> Path | None:
    return next((path for path in (root / name, root / f"{name}.gz") if path.is_file()), None)


def pad(images: np.ndarray, size: int) -> np.ndarray:
    """Centre images (N, H, W) on a black background: (N, size, size); nothing is resampled.

    Raises:
        DataError: the images are larger than ``size``.
    """
    _, height, width = images.shape
    if max(height, width) > size:
        raise DataError(
            f"images of {width} x {height} px do not fit into {size} px",
            remedy="set a larger --data.image-size",
        )
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(images, ((0, 0), (top, size - height - top), (left, size - width - left)))
