"""Digits: MNIST and USPS, as published.

``data.root`` contains ``mnist/`` (idx files or ``mnist_10k.npz``) and ``usps/`` (``zip.train.gz`` and
``zip.test.gz``, or ``usps.npz``). ``mnist_10k.npz`` has no split: every fifth image is for testing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files, named, require_small, unzip
from sivae_translate.data.domains import ArrayImages, ContentLabels, DomainData
from sivae_translate.data.sources import idx
from sivae_translate.data.sources.base import ArchivedSource, as_array

USPS_MARGIN = 3
"""Margin around USPS's 16 pixels: its digits fill the frame, MNIST's fill 20 of 28 pixels. Otherwise size
would be the main difference between the domains."""
TEXT_BYTES = 2**26
"""Most bytes of USPS's text files, more than they have; parsed, they take several times as much."""

_Splits = dict[str, tuple[np.ndarray, np.ndarray]]
"""Split to images (N, H, W) and labels (N,)."""


class Digits(ArchivedSource):
    """MNIST, and USPS with a margin like MNIST's."""

    name = "digits"
    origin = (
        "MNIST's four idx files in mnist/, and zip.train.gz and zip.test.gz of the ESL book's site in usps/"
    )

    def load_files(self, files: Files, config: DataConfig) -> DomainData:
        """See `Source.load`."""
        sets = {"mnist": self._mnist(files), "usps": self._usps(files)}
        margin = ((0, 0), (USPS_MARGIN, USPS_MARGIN), (USPS_MARGIN, USPS_MARGIN))
        sets["usps"] = {
            split: (np.pad(images, margin), labels) for split, (images, labels) in sets["usps"].items()
        }

        def images(split: str) -> tuple[ArrayImages, ...]:
            return tuple(
                ArrayImages(np.stack([as_array(Image.fromarray(image), config) for image in s[split][0]]))
                for s in sets.values()
            )

        def labels(split: str) -> tuple[np.ndarray, ...]:
            return tuple(s[split][1].astype(np.int64) for s in sets.values())

        test = images("test")
        return DomainData(
            domains=tuple(sets),
            train=images("train"),
            test=test,
            test_ids=tuple(
                tuple(f"{name}-{i}" for i in range(len(source)))
                for name, source in zip(sets, test, strict=True)
            ),
            labels=ContentLabels(train=labels("train"), test=labels("test")),
        )

    def _mnist(self, files: Files) -> _Splits:
        published = {
            split: [files.named(f"{start}-{what}") or files.named(f"{start}-{what}.gz") for what in idx.FILES]
            for split, start in idx.SPLITS.items()
        }
        if any(published["train"]):
            return {split: self._idx_pair(files, names) for split, names in published.items()}
        name = files.named("mnist_10k.npz")
        if name is None:
            raise self.missing(files, "MNIST")
        [(images, labels)] = _npz(files, name, ("images", "labels"))
        # The file may be sorted by digit, so a contiguous part would miss some digits.
        test = np.arange(len(labels)) % 5 == 4
        return {split: (images[mask], labels[mask]) for split, mask in (("train", ~test), ("test", test))}

    def _idx_pair(self, files: Files, names: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
        """Read images and labels from the two files of a split.

        Raises:
            DataError: a file is missing or damaged, or there are not as many labels as images.
        """
        present = [name for name in names if name is not None]
        if len(present) < len(names):
            raise self.missing(files, "four idx files of MNIST")
        images, labels = (
            idx.parse(files.read(name), rank, f"{files.root}/{name}")
            for name, rank in zip(present, (3, 1), strict=True)
        )
        idx.check_pair(images, labels, str(files.root))
        return images, labels

    def _usps(self, files: Files) -> _Splits:
        name = files.named("usps.npz")
        if name is not None:
            train, test = _npz(files, name, ("train", "train_y"), ("test", "test_y"))
            return {"train": train, "test": test}
        names = {split: files.named(f"zip.{split}.gz") for split in ("train", "test")}
        present = {split: name for split, name in names.items() if name is not None}
        if len(present) < 2:
            raise self.missing(files, "USPS")
        return {
            split: _from_lines(files.read(name), f"{files.root}/{name}") for split, name in present.items()
        }


def _from_lines(raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Parse the gzipped text of the ESL book: per line a digit and 256 pixels from -1 (background) to 1.

    Raises:
        DataError: the file is damaged.
    """
    with named(name):
        text = unzip(raw, name, TEXT_BYTES + 1)
        if len(text) > TEXT_BYTES:
            raise ValueError(f"it unpacks to more than {TEXT_BYTES:,} bytes")
        numbers = np.loadtxt(io.BytesIO(text), ndmin=2).reshape(-1, 257)
    pixels = np.rint((numbers[:, 1:] + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, 16, 16), numbers[:, 0].astype(np.int64)


def _npz(files: Files, name: str, *pairs: tuple[str, str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read images and labels from named arrays of an npz file.

    Raises:
        DataError: the file is damaged or too large, or an array is missing or has the wrong shape.
    """
    raw, path = io.BytesIO(files.read(name)), f"{files.root}/{name}"
    with named(path):
        require_small(sum(info.file_size for info in zipfile.ZipFile(raw).infolist()), path)
        with np.load(raw, allow_pickle=False) as arrays:
            loaded = [(arrays[images], arrays[labels]) for images, labels in pairs]
        for images, labels in loaded:
            if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
                raise ValueError(f"its arrays have the shapes {images.shape} and {labels.shape}")
    return loaded
