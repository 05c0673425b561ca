"""A data set: domains, their training images, and test images whose translations have a known truth.

Everything that training, evaluation and the translator want to know about data goes through `DomainData`; folders and glyphs
are two ways to make one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data import glyphs, idx
from sivae_translate.data.folders import UNLABELLED, find_domains
from sivae_translate.data.images import open_image, to_array
from sivae_translate.errors import ConfigError, DataError
from sivae_translate.progress import track


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
        test_ids: one tuple a domain: the content that each test image shows (a letter, a file's stem). Equal ids in two
            domains are a pair when ``paired`` is set.
        paired: whether the truth of a translation is known.
        unreadable: path and reason of each image that was skipped while the set was read.
    """

    domains: tuple[str, ...]
    train: tuple[ImageSource, ...]
    test: tuple[ImageSource, ...] = ()
    test_ids: tuple[tuple[str, ...], ...] = ()
    paired: bool = False
    unreadable: tuple[str, ...] = ()
    painted: Callable[[int, int, int, int], np.ndarray] | None = field(default=None, repr=False)

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


def load_data(config: DataConfig) -> DomainData:
    """The data set that a configuration names.

    Raises:
        ConfigError: ``data.root`` is missing for folder data.
        DataError: the folder has no usable layout, or too many of its images are unreadable.
    """
    if config.name.startswith("glyphs"):
        return _load_glyphs(config)
    if config.root is None:
        raise ConfigError("data.root is not set", remedy="name the folder: --data FOLDER, or data.root in the config")
    return _load_idx(config, config.root) if config.name == "idx" else _load_folders(config)


def _load_idx(config: DataConfig, root: Path) -> DomainData:
    """One domain a class, or one without labels."""

    def domains(split: str) -> dict[str, ArrayImages]:
        images, classes = idx.read_split(root, split)
        array = np.repeat(idx.pad(images, config.image_size)[..., None], config.channels, axis=3)
        if classes is None or not config.labels:
            return {UNLABELLED: ArrayImages(array)}
        return {str(label): ArrayImages(array[classes == label]) for label in np.unique(classes)}

    train, test = domains("train"), domains("test")
    return DomainData(
        domains=tuple(train),
        train=tuple(train.values()),
        test=tuple(test[name] for name in train if name in test),
        test_ids=tuple(tuple(f"{name or 'image'}-{i}" for i in range(len(test[name]))) for name in train if name in test),
    )


def _load_folders(config: DataConfig) -> DomainData:
    assert config.root is not None
    folders = find_domains(config.root)
    train_paths, test_paths = folders.train, folders.test
    if not config.labels or list(train_paths) == [UNLABELLED]:
        train_paths = {UNLABELLED: tuple(path for paths in train_paths.values() for path in paths)}
        test_paths = {UNLABELLED: tuple(path for paths in test_paths.values() for path in paths)} if test_paths else {}
    per_image = config.image_size**2 * config.channels
    total = per_image * sum(map(len, train_paths.values()))
    problems: list[str] = []
    if total <= config.cache_megabytes * 2**20:
        train: list[ImageSource] = [_decode(name, paths, config, problems)[0] for name, paths in train_paths.items()]
    else:
        train = [FileImages(paths, config) for paths in train_paths.values()]
    test = [_decode(name, test_paths[name], config, problems) for name in train_paths if name in test_paths]
    ids = tuple(tuple(path.stem for path in kept) for _, kept in test)
    shared = len(ids) > 1 and bool(set.intersection(*map(set, ids)))
    return DomainData(
        domains=tuple(train_paths),
        train=tuple(train),
        test=tuple(source for source, _ in test) if len(test) == len(train) else (),
        test_ids=ids if len(test) == len(train) else (),
        paired=shared and len(test) == len(train),
        unreadable=tuple(problems),
    )


def _decode(
    domain: str, paths: Sequence[Path], config: DataConfig, problems: list[str]
) -> tuple[ArrayImages, tuple[Path, ...]]:
    """Decode a domain's files; unreadable ones are added to ``problems`` and left out."""
    images, kept = [], []
    for path in track(paths, f"reading {domain or 'images'}"):
        try:
            images.append(read(path, config))
            kept.append(path)
        except DataError as error:
            problems.append(error.what)
            check_unreadable(problems, config.max_unreadable)
    if len(images) < 2:
        raise DataError(
            f"domain '{domain}' has {len(images)} readable images of {len(paths)} files; the first problem: {problems[0]}",
            remedy="a domain needs at least 2 readable images, and 200 or more to learn from",
        )
    return ArrayImages(np.stack(images)), tuple(kept)


def check_unreadable(problems: Sequence[str], limit: int) -> None:
    """Give up when more images are unreadable than the configuration tolerates.

    Raises:
        DataError: ``len(problems) > limit``.
    """
    if len(problems) > limit:
        listed = "\n    ".join(problems[:5])
        raise DataError(
            f"{len(problems)} images cannot be read, more than data.max_unreadable = {limit}; the first of them:\n    {listed}",
            remedy="remove or repair them, or raise --data.max-unreadable",
        )


def _load_glyphs(config: DataConfig) -> DomainData:
    split = glyphs.split(config.split_seed)
    domains = tuple(glyphs.FONTS)
    coloured = config.name == "glyphs-colour"
    if coloured and config.channels == 1:
        raise ConfigError("glyphs-colour has 3 channels, but data.channels is 1", remedy="set --data.channels 3")

    def images(domain: str, codes: tuple[int, ...]) -> ArrayImages:
        grey = glyphs.draw_many(domain, codes, config.image_size)
        if not coloured:
            return ArrayImages(np.repeat(grey[..., None], config.channels, axis=3))
        colours = (glyphs.draw_colours(config.split_seed, domain, code) for code in codes)
        return ArrayImages(np.stack([glyphs.paint(g, c) for g, c in zip(grey, colours, strict=True)]))

    def painted(_: int, letter: int, style_domain: int, style_letter: int) -> np.ndarray:
        name = domains[style_domain]
        colours = glyphs.draw_colours(config.split_seed, name, split.test[style_letter])
        return glyphs.paint(glyphs.draw(name, split.test[letter], config.image_size), colours)

    train = {domain: images(domain, split.train[domain]) for domain in track(domains, "drawing glyphs")}
    if not config.labels:
        train = {UNLABELLED: ArrayImages(np.concatenate([source.array for source in train.values()]))}
    return DomainData(
        domains=tuple(train),
        train=tuple(train.values()),
        test=tuple(images(domain, split.test) for domain in domains),
        test_ids=tuple(tuple(map(chr, split.test)) for _ in domains),
        paired=True,
        painted=painted if coloured else None,
    )
