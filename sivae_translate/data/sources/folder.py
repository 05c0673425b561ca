"""Folders of images: one folder a domain (see `sivae_translate.data.folders` for the layouts)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from sivae_translate.data.folders import UNLABELLED, find_domains
from sivae_translate.data.sources.base import Source
from sivae_translate.utils.errors import ConfigError, DataError

Paths = Mapping[str, Sequence[Path]]
"""Domain name to files."""


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
        if config.root is None:
            raise ConfigError(
                "data.root is not set", remedy="name the folder: --data FOLDER, or data.root in the config"
            )
        folders = find_domains(config.root)
        train_paths: Paths = folders.train
        test_paths: Paths = folders.test
        if not config.labels or list(train_paths) == [UNLABELLED]:
            train_paths, test_paths = _as_one(train_paths), _as_one(test_paths)
        problems: list[str] = []
        train = _training_images(train_paths, config, problems)
        names = [name for name in train_paths if name in test_paths]
        test = [_decode(name, test_paths[name], config, problems) for name in names]
        complete = len(test) == len(train)
        ids = tuple(
            tuple(folders.identity(path, name) for path in paths)
            for name, (_, paths) in zip(names, test, strict=True)
        )
        if config.pairs:
            _check_pairs(config.root, ids if complete else ())
        return DomainData(
            domains=tuple(train_paths),
            train=train,
            test=tuple(images for images, _ in test) if complete else (),
            test_ids=ids if complete else (),
            truth=PairedTruth() if config.pairs else None,
            unreadable=tuple(problems),
        )


def _as_one(paths: Paths) -> Paths:
    """All domains' files as those of one without a label; nothing of nothing."""
    return {UNLABELLED: tuple(path for some in paths.values() for path in some)} if paths else {}


def _training_images(paths: Paths, config: DataConfig, problems: list[str]) -> tuple[ImageSource, ...]:
    """Decoded images, or files where these would take more memory than ``config.cache_megabytes``."""
    total = config.image_size**2 * config.channels * sum(map(len, paths.values()))
    if total > config.cache_megabytes * 2**20:
        return tuple(FileImages(tuple(some), config) for some in paths.values())
    return tuple(_decode(name, some, config, problems)[0] for name, some in paths.items())


def _decode(
    domain: str, paths: Sequence[Path], config: DataConfig, problems: list[str]
) -> tuple[ArrayImages, tuple[Path, ...]]:
    """Decode a domain's files; unreadable ones are added to ``problems`` and left out."""
    decoded = decode(paths, config, f"reading {domain or 'images'}")
    problems += decoded.problems
    check_unreadable(problems, config.max_unreadable)
    if len(decoded.kept) < 2:
        raise DataError(
            f"domain '{domain}' has {len(decoded.kept)} readable images of {len(paths)} files; "
            f"the first problem: {problems[0]}",
            remedy="a domain needs at least 2 readable images, and 200 or more to learn from",
        )
    return ArrayImages(decoded.pixels), tuple(paths[index] for index in decoded.kept)


def _check_pairs(root: Path, ids: Sequence[Sequence[str]]) -> None:
    """Raises DataError unless some name is common to all domains, of which there are at least two, and no
    domain has a name twice.
    """
    if len(ids) < 2 or not set.intersection(*map(set, ids)):
        raise DataError(
            f"data.pairs is set, but no file name is common to the test images of all domains in {root}",
            remedy="give the two images of a pair the same name, in test/<domain> of each domain, or "
            "leave it out",
        )
    for some in ids:
        twice = [name for name, count in Counter(some).items() if count > 1]
        if twice:
            raise DataError(
                f"data.pairs is set, but {len(twice)} names in {root} belong to several test images of one "
                f"domain, such as '{twice[0]}'",
                remedy="give each image of a domain a name of its own; endings do not count",
            )
