"""From a configuration to images."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.domains import DomainData, read
from sivae_translate.data.listing import list_images
from sivae_translate.data.sources import get_source, idx, source_names
from sivae_translate.utils.errors import ConfigError, DataError
from sivae_translate.utils.progress import track


class UnreadableWarning(UserWarning):
    """An image cannot be read, and is left out."""


def load_data(config: DataConfig, *, for_tests: bool = False) -> DomainData:
    """The data set that a configuration names.

    Args:
        config: the settings.
        for_tests: only its test images matter; a folder without training and test folders is all test.

    Raises:
        ConfigError: no data set has that name, ``data.root`` is missing where the set needs it, or
            ``data.validation_size`` is set where there are no pairs to take.
        DataError: the folder has no usable layout, or too many of its images are unreadable.
    """
    source = get_source(config.name)
    if config.validation_size and not source.supports_validation:
        able = ", ".join(name for name in source_names() if get_source(name).supports_validation)
        raise ConfigError(f"data.validation_size is for {able}, not for {config.name}", remedy="leave it out")
    return source.load_tests(config) if for_tests else source.load(config)


def at_root(config: DataConfig, root: Path) -> DataConfig:
    """The same settings for the data in a folder, which takes the place of a data set that is drawn."""
    name = config.name if get_source(config.name).needs_root else "folder"
    return config.model_copy(update={"name": name, "root": root})


def load_images(root: Path, config: DataConfig, limit: int | None = None, seed: int = 0) -> np.ndarray:
    """Images without domains: those anywhere below a folder, or the test images of idx files in it.

    Args:
        root: the folder.
        config: how they are made square.
        limit: take so many of them, chosen at random, when there are more.
        seed: of the choice.

    Returns:
        uint8 (N, size, size, channels).

    Raises:
        DataError: the folder is missing, or holds no image that can be read; others are a warning each.
    """
    if any(root.glob("*-idx3-ubyte*")):
        padded = idx.pad(idx.read_split(root, "test")[0], config.image_size)
        chosen = _choose(len(padded), limit, seed)
        return np.repeat(padded[chosen][..., None], config.channels, axis=3)
    paths = [path for path, _ in list_images([root])]
    images = []
    for index in track(_choose(len(paths), limit, seed), f"reading {root.name}"):
        try:
            images.append(read(paths[index], config))
        except DataError as error:
            warnings.warn(f"left out: {error.what}", UnreadableWarning, stacklevel=2)
    if not images:
        raise DataError(f"no image in {root} can be read", remedy="name a folder with images")
    return np.stack(images)


def load_test_images(config: DataConfig, limit: int | None = None, seed: int = 0) -> np.ndarray:
    """The test images of a data set's domains in a random order, at most ``limit``.

    Returns:
        uint8 (N, size, size, channels).

    Raises:
        ConfigError: see `load_data`.
        DataError: see `load_data`, or the set has no test images.
    """
    data = load_data(config)
    data.require_tests()
    images = [source[index] for source in data.test for index in range(len(source))]
    chosen = np.random.default_rng(seed).permutation(len(images))[:limit]
    return np.stack([images[index] for index in chosen])


def _choose(count: int, limit: int | None, seed: int) -> list[int]:
    """Some of the indices below ``count``, in order."""
    if limit is None or count <= limit:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, limit, replace=False).tolist())
