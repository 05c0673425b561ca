"""A data set: domains, their training images, and test images whose translations have a known truth.

Training, evaluation and the translator take data as a `DomainData`. The data sets in
`sivae_translate.data.sources` build one; `DomainData.of` builds one from any images.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.image import ImageLike
from sivae_translate.data.processor import ImageProcessor
from sivae_translate.utils.errors import DataError

T = TypeVar("T")


def ranked(items: Iterable[T], key: str) -> list[T]:
    """Items in a pseudo-random order that depends only on their names and ``key``, on every machine."""
    return sorted(
        items, key=lambda item: hashlib.sha256(f"{key}:{item}".encode("utf-8", "surrogatepass")).digest()
    )


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
    """Images that are decoded on access, for sets that do not fit into memory."""

    paths: tuple[Path, ...]
    config: DataConfig

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read(self.paths[index], self.config)


Place = tuple[int, int]
"""A test image: index of its domain, index within the domain."""


class Truth(Protocol):
    """The true translations of test images."""

    def __call__(self, data: DomainData, content: Place, style: Place | int) -> np.ndarray | None:
        """The true translation.

        Args:
            data: the data set.
            content: the source.
            style: the target domain, or a reference image.

        Returns:
            uint8 (H, W, C), or None if it is not known.
        """


@dataclass(frozen=True)
class PairedTruth:
    """Truth by ID: test images of two domains with the same ID are translations of each other."""

    def __call__(self, data: DomainData, content: Place, style: Place | int) -> np.ndarray | None:
        """The target domain's test image with the ID of the source."""
        target = style if isinstance(style, int) else style[0]
        ids, source_id = data.test_ids[target], data.test_ids[content[0]][content[1]]
        return data.test[target][ids.index(source_id)] if source_id in ids else None


@dataclass(frozen=True)
class ContentLabels:
    """Labels of the content, for classifiers and probes; training never sees them.

    Attributes:
        test: for each test domain, the labels of its images.
        train: the same for the training images; empty if only test images have labels.
        period: for positions on a circle (viewpoints), the number of positions; None for classes.
    """

    test: tuple[np.ndarray, ...]
    train: tuple[np.ndarray, ...] = ()
    period: int | None = None


@dataclass(frozen=True)
class DomainData:
    """Domains with their images.

    Attributes:
        domains: names of the domains.
        train: for each domain, its training images.
        test: for each test domain, its images; empty without test data.
        test_ids: for each test domain, the content that each image shows (a letter, a file's stem).
        truth: the true translations; None if they are not known.
        labels: labels of the content; None if there are none.
        new_domains: names of the test domains if they differ from the training domains (new cars).
        unreadable: path and reason of each image that could not be read.
        train_ids: for each domain, names of its training images that do not change when images are added or
            removed (paths below the domain's folder, digests of the content); empty if positions serve as
            names.
        notes: what a user should know about the set, such as folders that are not used.
    """

    domains: tuple[str, ...]
    train: tuple[ImageSource, ...]
    test: tuple[ImageSource, ...] = ()
    test_ids: tuple[tuple[str, ...], ...] = ()
    truth: Truth | None = field(default=None, repr=False)
    labels: ContentLabels | None = field(default=None, repr=False)
    new_domains: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    train_ids: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Mapping[str, Sequence[ImageLike]],
        test: Mapping[str, Sequence[ImageLike]] | None = None,
        *,
        config: DataConfig | None = None,
        pairs: bool = False,
    ) -> DomainData:
        """Build a data set from files or images in memory.

        Args:
            train: domain name to its training images: paths, PIL images, or arrays (H, W), (H, W, 1) or
                (H, W, 3) as uint8 or as float in [0, 1].
            test: test images of the same domains, in the same form.
            config: size, channels and fit of the images; the defaults if omitted.
            pairs: the test images at one position of every domain show the same content.

        Raises:
            DataError: there are no domains; a domain has fewer than two images; ``test`` has other domains;
                ``pairs`` is set and its domains differ in their number of images.
            InputError: an image has an unsupported type, shape or range.

        >>> noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
        >>> data = DomainData.of({"day": list(noise), "night": list(noise // 4)})
        >>> data.domains, len(data.train[1]), data.train[1][0].shape
        (('day', 'night'), 3, (64, 64, 3))
        """
        processor = ImageProcessor.of(config or DataConfig())
        _check_domains(train, test, pairs)

        def sources(images: Mapping[str, Sequence[ImageLike]]) -> tuple[ImageSource, ...]:
            return tuple(
                ArrayImages(np.stack([processor.prepare(image).pixels for image in images[name]]))
                for name in train
            )

        training = sources(train)
        return cls(
            domains=tuple(train),
            train=training,
            train_ids=tuple(tuple(_names_by_content(source)) for source in training),
            test=sources(test) if test else (),
            test_ids=tuple(tuple(str(i) for i in range(len(test[name]))) for name in train) if test else (),
            truth=PairedTruth() if pairs else None,
        )

    @property
    def test_domains(self) -> tuple[str, ...]:
        """Names of the test domains."""
        if self.new_domains:
            return self.new_domains
        same = len(self.domains) == len(self.test)
        return self.domains if same else tuple(f"domain {index}" for index in range(len(self.test)))

    @property
    def training_names(self) -> tuple[tuple[str, ...], ...]:
        """Names of each domain's training images, see ``train_ids``."""
        return self.train_ids or tuple(tuple(map(str, range(len(source)))) for source in self.train)

    def require_tests(self) -> None:
        """Raise DataError, saying what is missing, unless every domain has test images."""
        if not self.test:
            raise DataError(
                f"the data has no test images{':' if self.notes else ''} {'; '.join(self.notes)}".rstrip(),
                remedy="lay it out as train/<domain> and test/<domain>, or name a folder with unseen images",
            )

    def truth_of(self, content: Place, style: Place | int) -> np.ndarray | None:
        """The true translation of a test image.

        Args:
            content: (domain index, test index) of the source.
            style: index of the target domain, or (domain index, test index) of a reference image.

        Returns:
            uint8 (H, W, C), or None if it is not known.
        """
        return None if self.truth is None else self.truth(self, content, style)


def _names_by_content(source: ImageSource) -> Iterator[str]:
    """A name for each image that does not depend on its position; equal images are numbered."""
    count: Counter[str] = Counter()
    for index in range(len(source)):
        digest = hashlib.sha256(source[index].tobytes()).hexdigest()[:24]
        count[digest] += 1
        yield f"{digest}-{count[digest]}"


def _check_domains(
    train: Mapping[str, Sequence[ImageLike]], test: Mapping[str, Sequence[ImageLike]] | None, pairs: bool
) -> None:
    if not train:
        raise DataError("there are no domains", remedy="give at least one domain: its name and its images")
    for name, images in train.items():
        if len(images) < 2:
            raise DataError(
                f"domain '{name}' has {len(images)} images",
                remedy="a domain needs at least 2 images, and 200 or more to learn from",
            )
    if test is not None and set(test) != set(train):
        raise DataError(
            f"the training domains are {', '.join(train)}, the test domains {', '.join(test)}",
            remedy="give test images of the same domains, or none",
        )
    if pairs and len({len(images) for images in (test or {}).values()}) != 1:
        raise DataError(
            "pairs is set, but the domains have different numbers of test images",
            remedy="put the images of a pair at the same position in every domain, or omit pairs",
        )


def read(path: Path, config: DataConfig) -> np.ndarray:
    """Read a file as the model sees it: uint8 (size, size, channels).

    Raises:
        DataError: the file is not a readable image.
    """
    return ImageProcessor.of(config).prepare(path).pixels


def check_unreadable(problems: Sequence[str], limit: int) -> None:
    """Fail if more images are unreadable than the configuration allows.

    Raises:
        DataError: ``len(problems) > limit``.
    """
    if len(problems) > limit:
        listed = "\n    ".join(problems[:5])
        raise DataError(
            f"{len(problems)} images cannot be read, more than data.max_unreadable = {limit}; "
            f"the first are:\n    {listed}",
            remedy="remove or repair them, or raise --data.max-unreadable",
        )
