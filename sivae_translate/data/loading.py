"""Loading the data that a configuration names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.domains import DomainData, read
from sivae_translate.data.listing import list_images
from sivae_translate.data.sources import get_source, idx, source_names
from sivae_translate.utils.errors import ConfigError, DataError
from sivae_translate.utils.progress import track
from sivae_translate.utils.seeds import check_seed


class UnreadableWarning(UserWarning):
    """An image cannot be read and is skipped."""


def load_data(config: DataConfig, *, for_tests: bool = False) -> DomainData:
    """The data set that a configuration names.

    Args:
        config: the settings.
        for_tests: test images alone suffice; in a folder without splits, all images are test images.

    Raises:
        ConfigError: the data set is unknown, needs ``data.root``, or does not support
            ``data.validation_size``.
        DataError: the folder's layout is not supported, or too many of its images are unreadable.
    """
    source = get_source(config.name)
    if config.validation_size and not source.supports_validation:
        able = ", ".join(name for name in source_names() if get_source(name).supports_validation)
        raise ConfigError(f"data.validation_size is for {able}, not for {config.name}", remedy="omit it")
    return source.load_tests(config) if for_tests else source.load(config)


def at_root(config: DataConfig, root: Path) -> DataConfig:
    """The same settings for data in a folder, which replaces a generated data set."""
    name = config.name if get_source(config.name).needs_root else "folder"
    return config.model_copy(update={"name": name, "root": root})


def load_images(
    root: Path,
    config: DataConfig,
    limit: int | None = None,
    seed: int = 0,
    problems: list[str] | None = None,
) -> np.ndarray:
    """Images without domains: all images below a folder, or the test images of its idx files.

    Args:
        root: the folder.
        config: how images are made square.
        limit: most images to load; if there are more, a random choice.
        seed: seed of the random choice.
        problems: takes path and reason of each unreadable image; if it is None, one warning lists them.

    Returns:
        uint8 (N, size, size, channels).

    Raises:
        DataError: the folder is missing or none of its images can be read.
        InputError: the seed is negative or too large.
    """
    if any(root.glob("*-idx3-ubyte*")):
        padded = idx.pad(idx.read_split(root, "test")[0], config.image_size)
        chosen = _choose(len(padded), limit, seed)
        return np.repeat(padded[chosen][..., None], config.channels, axis=3)
    paths = [path for path, _ in list_images([root])]
    images, skipped = [], []
    for index in track(_choose(len(paths), limit, seed), f"reading {root.name}"):
        try:
            images.append(read(paths[index], config))
        except DataError as error:
            skipped.append(error.what)
    if not images:
        raise DataError(f"none of the images in {root} can be read", remedy="name a folder with images")
    _report(skipped, problems)
    return np.stack(images)


def load_test_images(
    config: DataConfig,
    limit: int | None = None,
    seed: int = 0,
    problems: list[str] | None = None,
) -> np.ndarray:
    """Test images of all domains of a data set in random order, at most ``limit``.

    Arguments are as for `load_images`.

    Returns:
        uint8 (N, size, size, channels).

    Raises:
        ConfigError: see `load_data`.
        DataError: see `load_data`, or the set has no test images.
        InputError: the seed is negative or too large.
    """
    data = load_data(config)
    data.require_tests()
    _report(data.unreadable, problems)
    images = [source[index] for source in data.test for index in range(len(source))]
    chosen = np.random.default_rng(check_seed(seed)).permutation(len(images))[:limit]
    return np.stack([images[index] for index in chosen])


def _report(skipped: Sequence[str], problems: list[str] | None) -> None:
    """Hand over what could not be read, or warn of it."""
    if problems is not None:
        problems.extend(skipped)
    elif skipped:
        listed = "\n  ".join(skipped)
        warnings.warn(f"skipped {len(skipped)} files:\n  {listed}", UnreadableWarning, stacklevel=3)


def _choose(count: int, limit: int | None, seed: int) -> list[int]:
    """Sorted indices below ``count``, at most ``limit``, chosen at random."""
    if limit is None or count <= limit:
        return list(range(count))
    return sorted(np.random.default_rng(check_seed(seed)).choice(count, limit, replace=False).tolist())
