"""Image folders, one per domain (see `sivae_translate.data.folders` for the layouts)."""

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
from sivae_translate.utils.selection import spread

SAMPLE = 32
"""How many files of a domain are sampled to determine the range of their values."""


class Folder(Source):
    """Your own images."""

    name = "folder"

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: the folder's layout is not supported, too many of its images are unreadable, or
                ``data.pairs`` is set but test images have no names in common.
        """
        return _load(config, find_domains(require_root(config), cache=config.cache))

    def load_tests(self, config: DataConfig) -> DomainData:
        """See `Source.load_tests`: if no folder is called train or test, all images are test images.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: see `load`.
        """
        return _load(config, find_domains(require_root(config), for_tests=True, cache=config.cache))


def _load(config: DataConfig, folders: DomainFolders) -> DomainData:
    """Load the images of folders; see `Folder.load`."""
    train_files, test_files = folders.train, folders.test
    if not config.labels or UNLABELLED in {*train_files, *test_files}:
        train_files, test_files = _as_one(train_files), _as_one(test_files)
    problems: list[str] = []
    train = _training_images(train_files, config, problems)
    domains = tuple(train_files) or tuple(test_files)
    complete = all(name in test_files for name in domains)
    test = [_decode(name, test_files[name], config, problems) for name in domains if complete]
    # Files of a pair may have different extensions
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
    """Notes on domains whose 16-bit files use only a small part of their range.

    Up to `SAMPLE` evenly spread files of each domain are read; for 8-bit files, only the header.
    """
    notes = []
    for name, files in domains.items():
        paths = list(files.values())
        chosen = [paths[index] for index in spread(len(paths), SAMPLE)]
        values = [value for path in chosen if (value := brightest_value(path)) is not None]
        if note := describe(values):
            notes.append(f"{name}: {note}" if name else note)
    return notes


@dataclass(frozen=True)
class _Named:
    """Images and their names, which are their paths below the domain's folder."""

    images: ImageSource
    names: tuple[str, ...]


def _as_one(domains: Mapping[str, Files]) -> dict[str, Files]:
    """Merge the files of all domains into one unlabelled domain; empty if there are none."""
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
    """Decoded images, or files to decode on access if ``config.cache_megabytes`` is too small for them."""
    total = config.image_size**2 * config.channels * sum(map(len, domains.values()))
    if total > config.cache_megabytes * 2**20:
        return tuple(
            _Named(FileImages(tuple(some.values()), config), tuple(some)) for some in domains.values()
        )
    return tuple(_decode(name, some, config, problems) for name, some in domains.items())


def _decode(domain: str, files: Files, config: DataConfig, problems: list[str]) -> _Named:
    """Decode a domain's files; unreadable ones are skipped and added to ``problems``."""
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
    """Raise DataError unless two or more domains share some name and no domain has a name twice."""
    if len(ids) < 2 or not set.intersection(*map(set, ids)):
        raise DataError(
            f"data.pairs is set, but no file name is shared by the test images of all domains in "
            f"{'; '.join([str(folders.root), *folders.notes])}",
            remedy="give the images of a pair the same name in test/<domain> of each domain, or do not set "
            "data.pairs",
        )
    for some in ids:
        twice = [name for name, count in Counter(some).items() if count > 1]
        if twice:
            raise DataError(
                f"data.pairs is set, but {len(twice)} names in {folders.root} belong to several test images "
                f"of one domain, such as '{twice[0]}'",
                remedy="give the images of a domain different names; extensions do not count",
            )
