"""Folders of images: one folder a domain (see `sivae_translate.data.folders` for the layouts)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from sivae_translate.config import DataConfig
from sivae_translate.data.cache import decode
from sivae_translate.data.domains import (
    ArrayImages,
    DomainData,
    FileImages,
    ImageSource,
    PairedTruth,
    check_unreadable,
)
from sivae_translate.data.folders import DomainFolders, find_domains
from sivae_translate.data.layouts import UNLABELLED, Files
from sivae_translate.data.ranges import describe
from sivae_translate.data.reading import brightest_value
from sivae_translate.data.sources.base import Source, require_root
from sivae_translate.utils.errors import DataError

SAMPLE = 32
"""Files of a domain that are looked at for the range of their values."""


class Folder(Source):
    """Anyone's images."""

    name = "folder"

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: the folder has no usable layout, too many of its images are unreadable, or
                ``data.pairs`` is set where no two test images have the same name.
        """
        return _load(config, find_domains(require_root(config)))

    def load_tests(self, config: DataConfig) -> DomainData:
        """See `Source.load_tests`: where no folder is called train or test, all images are test images.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: see `load`.
        """
        return _load(config, find_domains(require_root(config), for_tests=True))


def _load(config: DataConfig, folders: DomainFolders) -> DomainData:
    """The images of folders; see `Folder.load`."""
    train_files, test_files = folders.train, folders.test
    if not config.labels or UNLABELLED in {*train_files, *test_files}:
        train_files, test_files = _as_one(train_files), _as_one(test_files)
    problems: list[str] = []
    train = _training_images(train_files, config, problems)
    domains = tuple(train_files) or tuple(test_files)
    complete = all(name in test_files for name in domains)
    test = [_decode(name, test_files[name], config, problems) for name in domains if complete]
    # Files of a pair may have different endings
    ids = tuple(tuple(str(PurePosixPath(name).with_suffix("")) for name in some.names) for some in test)
    if config.pairs:
        _check_pairs(folders, ids)
    dark = () if config.white_level else _dark_domains(train_files or test_files)
    return DomainData(
        domains=domains,
        train=tuple(some.images for some in train),
        train_ids=tuple(some.names for some in train),
        test=tuple(some.images for some in test),
        test_ids=ids,
        truth=PairedTruth() if config.pairs else None,
        unreadable=tuple(problems),
        notes=(*folders.notes, *dark),
    )


def _dark_domains(domains: Mapping[str, Files]) -> list[str]:
    """Notes on domains whose files of 16 bits use a small part of their range.

    A sample of `SAMPLE` files a domain, evenly spread, is looked at; of a file of 8 bits only the header.
    """
    notes = []
    for name, files in domains.items():
        paths = list(files.values())
        chosen = paths[:: max(1, len(paths) // SAMPLE)][:SAMPLE]
        values = [value for path in chosen if (value := brightest_value(path)) is not None]
        if note := describe(values):
            notes.append(f"{name}: {note}" if name else note)
    return notes


@dataclass(frozen=True)
class _Named:
    """Images, and the name of each: its path below the domain's folder."""

    images: ImageSource
    names: tuple[str, ...]


def _as_one(domains: Mapping[str, Files]) -> dict[str, Files]:
    """All domains' files as those of one without a label; nothing of nothing."""
    if not domains:
        return {}
    return {
        UNLABELLED: {
            f"{domain}/{name}" if domain else name: path
            for domain, files in domains.items()
            for name, path in files.items()
        }
    }


def _training_images(
    domains: Mapping[str, Files], config: DataConfig, problems: list[str]
) -> tuple[_Named, ...]:
    """Decoded images, or files where these would take more memory than ``config.cache_megabytes``."""
    total = config.image_size**2 * config.channels * sum(map(len, domains.values()))
    if total > config.cache_megabytes * 2**20:
        return tuple(
            _Named(FileImages(tuple(some.values()), config), tuple(some)) for some in domains.values()
        )
    return tuple(_decode(name, some, config, problems) for name, some in domains.items())


def _decode(domain: str, files: Files, config: DataConfig, problems: list[str]) -> _Named:
    """Decode a domain's files; unreadable ones are added to ``problems`` and left out."""
    decoded = decode(tuple(files.values()), config, f"reading {domain or 'images'}")
    problems += decoded.problems
    check_unreadable(problems, config.max_unreadable)
    if len(decoded.kept) < 2:
        raise DataError(
            f"domain '{domain}' has {len(decoded.kept)} readable images of {len(files)} files; "
            f"the first problem: {problems[0]}",
            remedy="a domain needs at least 2 readable images, and 200 or more to learn from",
        )
    names = tuple(files)
    return _Named(ArrayImages(decoded.pixels), tuple(names[index] for index in decoded.kept))


def _check_pairs(folders: DomainFolders, ids: Sequence[Sequence[str]]) -> None:
    """Raises DataError unless some name is common to all domains, of which there are at least two, and no
    domain has a name twice.
    """
    if len(ids) < 2 or not set.intersection(*map(set, ids)):
        raise DataError(
            f"data.pairs is set, but no file name is common to the test images of all domains in "
            f"{'; '.join([str(folders.root), *folders.notes])}",
            remedy="give the two images of a pair the same name, in test/<domain> of each domain, or "
            "leave it out",
        )
    for some in ids:
        twice = [name for name, count in Counter(some).items() if count > 1]
        if twice:
            raise DataError(
                f"data.pairs is set, but {len(twice)} names in {folders.root} belong to several test images "
                f"of one domain, such as '{twice[0]}'",
                remedy="give each image of a domain a name of its own; endings do not count",
            )
