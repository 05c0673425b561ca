"""A data set: domains, their training images, and test images whose translations have a known truth.

Training, evaluation and the translator know data as a `DomainData`. The data sets in
`sivae_translate.data.sources` make one; `DomainData.of` makes one from any images.
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
    """Images that are decoded at each access, for sets that do not fit into memory."""

    paths: tuple[Path, ...]
    config: DataConfig

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return read(self.paths[index], self.config)


Place = tuple[int, int]
"""A test image: index of its domain, index within the domain."""


class Truth(Protocol):
    """What the translation of a test image should be."""

    def __call__(self, data: DomainData, content: Place, style: Place | int) -> np.ndarray | None:
        """The true translation.

        Args:
            data: the data set.
            content: the source.
            style: the target domain, or a reference image.

        Returns:
            uint8 (H, W, C), or None where it is not known.
        """


@dataclass(frozen=True)
class PairedTruth:
    """Test images with equal ids in two domains show the same content; each is the other's translation."""

    def __call__(self, data: DomainData, content: Place, style: Place | int) -> np.ndarray | None:
        """The target domain's test image with the id of the source."""
        target = style if isinstance(style, int) else style[0]
        ids, source_id = data.test_ids[target], data.test_ids[content[0]][content[1]]
        return data.test[target][ids.index(source_id)] if source_id in ids else None


@dataclass(frozen=True)
class ContentLabels:
    """Labels of the content, for classifiers and probes; training never sees them.

    Attributes:
        test: one array a test domain, the label of each of its images.
        train: the same for the training images; empty where only test images have labels.
        period: labels are places on a circle of so many (viewpoints); None for classes.
    """

    test: tuple[np.ndarray, ...]
    train: tuple[np.ndarray, ...] = ()
    period: int | None = None


@dataclass(frozen=True)
class DomainData:
    """Domains with their images.

    Attributes:
        domains: the domains' names.
        train: one source a domain.
        test: one source a test domain; empty when there is no test data.
        test_ids: one tuple a test domain: the content that each image shows (a letter, a file's stem).
        truth: what translations should be; None where that is not known.
        labels: labels of the content; None where there are none.
        new_domains: names of the test domains where they are not the training domains (new cars).
        unreadable: path and reason of each image that was skipped while the set was read.
        train_ids: one tuple a domain: names of its training images that stay when others come or go (paths
            below the domain's folder, digests of the content); empty where their positions are their names.
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
        """A data set from images in memory or files.

        Args:
            train: domain name to its training images: paths, PIL images, or arrays (H, W), (H, W, 1) or
                (H, W, 3) as uint8 or as float in [0, 1].
            test: the same for test images, of the same domains.
            config: size, channels and fit of the images; the defaults if left out.
            pairs: the test images at one position of every domain show the same content.

        Raises:
            DataError: there are no domains; a domain has fewer than two images; ``test`` has other domains;
                ``pairs`` is set and its domains differ in their number of images.
            InputError: an image cannot be understood.

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
        """Names of each domain's training images; see ``train_ids``."""
        return self.train_ids or tuple(tuple(map(str, range(len(source)))) for source in self.train)

    def require_tests(self) -> None:
        """Raises DataError, with what is missing, where there are no test images of each domain."""
        if not self.test:
            raise DataError(
                f"the data has no test images{':' if self.notes else ''} {'; '.join(self.notes)}".rstrip(),
                remedy="lay it out as train/<domain> and test/<domain>, or name a folder with unseen images",
            )

    def truth_of(self, content: Place, style: Place | int) -> np.ndarray | None:
        """What the translation of a test image should be.

        Args:
            content: (domain index, test index) of the source.
            style: target domain's index, or (domain index, test index) of a reference image.

        Returns:
            uint8 (H, W, C), or None where it is not known.
        """
        return None if self.truth is None else self.truth(self, content, style)


def _names_by_content(source: ImageSource) -> Iterator[str]:
    """A name for each image, which it keeps wherever it stands; equal images are numbered."""
    count: Counter[str] = Counter()
    for index in range(len(source)):
        digest = hashlib.sha256(source[index].tobytes()).hexdigest()[:24]
        count[digest] += 1
        yield f"{digest}-{count[digest]}"


def _check_domains(
    train: Mapping[str, Sequence[ImageLike]], test: Mapping[str, Sequence[ImageLike]] | None, pairs: bool
) -> None:
    if not train:
        raise DataError("there are no domains", remedy="give a domain's name and its images, at least once")
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
            "pairs are set, but the domains have not the same number of test images",
            remedy="put the images of a pair at the same position of every domain, or leave pairs out",
        )


def read(path: Path, config: DataConfig) -> np.ndarray:
    """One file as the model sees it: uint8 (size, size, channels).

    Raises:
        DataError: the file is not a readable image.
    """
    return ImageProcessor.of(config).prepare(path).pixels


def check_unreadable(problems: Sequence[str], limit: int) -> None:
    """Give up when more images are unreadable than the configuration tolerates.

    Raises:
        DataError: ``len(problems) > limit``.
    """
    if len(problems) > limit:
        listed = "\n    ".join(problems[:5])
        raise DataError(
            f"{len(problems)} images cannot be read, more than data.max_unreadable = {limit}; the "
            f"first of them:\n    {listed}",
            remedy="remove or repair them, or raise --data.max-unreadable",
        )
