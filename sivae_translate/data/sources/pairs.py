"""Data sets of image pairs in two domains, trained on without using the pairs.

Training uses only one image of each pair. To choose settings without touching the test images,
``data.validation_size`` sets aside that many training pairs and tests on them instead.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files
from sivae_translate.data.domains import ArrayImages, DomainData, PairedTruth, ranked
from sivae_translate.data.sources.base import VALIDATION, ArchivedSource, as_array, check_validation_size
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.progress import track

Halves = dict[str, dict[str, dict[str, np.ndarray]]]
"""Images by split, domain and stem."""
SPLITS = ("train", "test")


class PairedSource(ArchivedSource):
    """A published data set of image pairs in two domains."""

    supports_validation = True

    @abstractmethod
    def halves(self, files: Files, config: DataConfig) -> Halves:
        """Load all images."""

    @abstractmethod
    def training_stems(self, shared: set[str]) -> dict[str, Sequence[str]]:
        """The stems of the training pairs whose image each domain uses."""

    def load_files(self, files: Files, config: DataConfig) -> DomainData:
        """Load paired test images and unpaired training images.

        Raises:
            ConfigError: validation would leave too few training pairs.
            DataError: the test images of the two domains are not pairs, or some are training images as well.
        """
        halves = self.halves(files, config)
        train = self.training_stems(_shared(halves["train"]))
        test = halves["test"]
        if taken := _validation(halves["train"], config):
            train = {domain: [stem for stem in stems if stem not in taken] for domain, stems in train.items()}
            test = {
                domain: {stem: images[stem] for stem in taken} for domain, images in halves["train"].items()
            }
        else:
            _check_no_leak(halves, train)
        return _without_pairs(halves["train"], train, test)

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """See `Source.load_pairs`."""
        images = self.halves(self.files(config), config)["train"]
        shared = sorted(_shared(images) - _validation(images, config))
        return np.stack([np.stack([by_stem[stem] for stem in shared]) for by_stem in images.values()])


def read_halves(source: ArchivedSource, files: Files, domains: tuple[str, str], config: DataConfig) -> Halves:
    """Read images laid out as ``{train,test}/{domain}/STEM``.

    Raises:
        DataError: one of the four folders is missing or empty, or an image cannot be read.
    """
    names = {split: {domain: files.below(f"{split}/{domain}") for domain in domains} for split in SPLITS}
    if not all(stems for by_domain in names.values() for stems in by_domain.values()):
        first, second = domains
        raise source.missing(files, f"train/{first}, train/{second}, test/{first} and test/{second}")
    return {
        split: {domain: _read(files, stems, config) for domain, stems in by_domain.items()}
        for split, by_domain in names.items()
    }


def _read(files: Files, names: Mapping[str, str], config: DataConfig) -> dict[str, np.ndarray]:
    return {stem: as_array(files.image(name), config) for stem, name in track(list(names.items()), "reading")}


def _shared(images: Mapping[str, Mapping[str, np.ndarray]]) -> set[str]:
    """Stems that every domain has."""
    return set.intersection(*(set(by_stem) for by_stem in images.values()))


def _validation(images: Mapping[str, Mapping[str, np.ndarray]], config: DataConfig) -> set[str]:
    """Training stems that are tested on instead of the test stems.

    Raises:
        ConfigError: too few would be left for training.
    """
    shared = _shared(images)
    check_validation_size(config, len(shared), "pairs")
    return set(ranked(shared, VALIDATION)[: config.validation_size])


def _check_no_leak(halves: Halves, train: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError if a test image is among the training images, by its name in either domain."""
    leaked = [
        stem
        for domain, stems in train.items()
        for stem in stems
        if any(
            stem in tested and np.array_equal(tested[stem], halves["train"][other][stem])
            for other, tested in halves["test"].items()
        )
    ]
    if leaked:
        raise DataError(
            f"{len(leaked)} training images are also test images: {', '.join(leaked[:5])}",
            remedy="download the data set again; its splits have no image in common",
        )


def _without_pairs(
    images: Mapping[str, Mapping[str, np.ndarray]],
    train: Mapping[str, Sequence[str]],
    test: Mapping[str, Mapping[str, np.ndarray]],
) -> DomainData:
    """Keep only the training images whose stems are in ``train``; keep all test images.

    Raises:
        DataError: the test images of the two domains are not pairs.
    """
    domains = tuple(train)
    stems = [sorted(test[domain]) for domain in domains]
    if stems[0] != stems[1]:
        odd = sorted(set(stems[0]) ^ set(stems[1]))[:5]
        raise DataError(
            f"test images without a partner: {', '.join(odd)}", remedy="download the data set again"
        )
    return DomainData(
        domains=domains,
        train=tuple(ArrayImages(np.stack([images[d][stem] for stem in train[d]])) for d in domains),
        test=tuple(ArrayImages(np.stack([test[d][stem] for stem in stems[0]])) for d in domains),
        test_ids=(tuple(stems[0]),) * 2,
        truth=PairedTruth(),
    )
