"""A data set: domains, their training images, and test images whose translations have a known truth.

Everything that training, evaluation and the translator want to know about data goes through `DomainData`;
`sivae_translate.data.sources.loading` makes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.image import open_image, to_array

T = TypeVar("T")


def ranked(items: Iterable[T], key: str) -> list[T]:
    """In a pseudo-random order that depends on the items' names and ``key`` alone, the same everywhere."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{key}:{item}".encode()).digest())


class ImageSource(Protocol):
    """A sequence of images of one size."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> np.ndarray:
        """Image as uint8 (H, W, C).

        Raises:
            DataError: the image cannot be read.
        """


@dataclass(frozen=True)
class ArrayImages:
    """Decoded images.

    Attributes:
        array: uint8 (N, H, W, C).
    """

    array: np.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> np.ndarray:
        image: np.ndarray = self.array[index]
        return image


@dataclass(frozen=True)
class FileImages:
    """Images decoded each time that they are asked for; for sets that do not fit into memory."""

    paths: tuple[Path, ...]
    config: DataConfig

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read(self.paths[index], self.config)


@dataclass(frozen=True)
class DomainData:
    """Domains with their images.

    Attributes:
        domains: the domains' names.
        train: one source a domain.
        test: one source a domain; empty when there is no test data.
        test_ids: one tuple a domain: the content that each test image shows (a letter, a file's stem). Equal
            ids in two domains are a pair when ``paired`` is set.
        paired: whether the truth of a translation is known.
        unreadable: path and reason of each image that was skipped while the set was read.
        test_names: the test domains' names where they are not the training domains (new cars, unlabelled
            training).
        turns: where contents are viewpoints, the place on the circle of each test image of a domain, and how
            many places there are; else None.
        classes: one pair a domain, class indices of its training and of its test images, where the classes
            are the content.
    """

    domains: tuple[str, ...]
    train: tuple[ImageSource, ...]
    test: tuple[ImageSource, ...] = ()
    test_ids: tuple[tuple[str, ...], ...] = ()
    paired: bool = False
    unreadable: tuple[str, ...] = ()
    test_names: tuple[str, ...] = ()
    turns: tuple[tuple[int, ...], int] | None = None
    classes: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=(), repr=False)
    painted: Callable[[int, int, int, int], np.ndarray] | None = field(default=None, repr=False)

    @property
    def tested(self) -> tuple[str, ...]:
        """Names of the test domains."""
        if self.test_names:
            return self.test_names
        same = len(self.domains) == len(self.test)
        return self.domains if same else tuple(f"domain {index}" for index in range(len(self.test)))

    def truth(self, content: tuple[int, int], style: tuple[int, int] | int) -> np.ndarray | None:
        """What the translation of a test image should be.

        Args:
            content: (domain index, test index) of the source.
            style: target domain's index, or (domain index, test index) of a reference image.

        Returns:
            uint8 (H, W, C), or None where it is not known.
        """
        target = style if isinstance(style, int) else style[0]
        if self.painted is not None:
            return None if isinstance(style, int) else self.painted(*content, *style)
        if not self.paired:
            return None
        wanted = self.test_ids[content[0]][content[1]]
        try:
            return self.test[target][self.test_ids[target].index(wanted)]
        except ValueError:
            return None


def read(path: Path, config: DataConfig) -> np.ndarray:
    """One file as the model sees it: uint8 (size, size, channels).

    Raises:
        DataError: the file is not a readable image.
    """
    return to_array(open_image(path), config.image_size, config.channels, config.fit)
