"""From a configuration to a data set: folders, glyphs, idx files, and the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.cache import decode
from sivae_translate.data.domains import ArrayImages, DomainData, FileImages, ImageSource, read
from sivae_translate.data.folders import UNLABELLED, find_domains, list_images
from sivae_translate.data.sources import glyphs, idx
from sivae_translate.data.sources.benchmarks import BENCHMARKS, PAIRED, load_benchmark
from sivae_translate.utils.errors import ConfigError, DataError
from sivae_translate.utils.progress import track


def load_data(config: DataConfig) -> DomainData:
    """The data set that a configuration names.

    Raises:
        ConfigError: ``data.root`` is missing for folder data, or ``data.validation_size`` is set
            where nothing can be held out.
        DataError: the folder has no usable layout, or too many of its images are unreadable.
    """
    if config.validation_size and config.name not in PAIRED:
        raise ConfigError(
            f"data.validation_size is for {', '.join(PAIRED)}, not for {config.name}", remedy="leave it out"
        )
    if config.name.startswith("glyphs"):
        return _load_glyphs(config)
    if config.name in BENCHMARKS:
        return load_benchmark(config)
    if config.root is None:
        raise ConfigError(
            "data.root is not set", remedy="name the folder: --data FOLDER, or data.root in the config"
        )
    return _load_idx(config, config.root) if config.name == "idx" else _load_folders(config)


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
        DataError: the folder is missing, holds no images, or one that cannot be read.
    """
    if any(root.glob("*-idx3-ubyte*")):
        padded = idx.pad(idx.read_split(root, "test")[0], config.image_size)
        chosen = _chosen(len(padded), limit, seed)
        return np.repeat(padded[chosen][..., None], config.channels, axis=3)
    paths = [path for path, _ in list_images([root])]
    return np.stack(
        [read(paths[i], config) for i in track(_chosen(len(paths), limit, seed), f"reading {root.name}")]
    )


def load_test_images(config: DataConfig, limit: int | None = None, seed: int = 0) -> np.ndarray:
    """The test images of a data set's domains in a random order, at most ``limit``: uint8 (N, size, size,
    channels).

    Raises:
        ConfigError: see `load_data`.
        DataError: see `load_data`, or the set has no test images.
    """
    images = [source[index] for source in load_data(config).test for index in range(len(source))]
    if not images:
        raise DataError("the data has no test images", remedy="name a folder with unseen images")
    chosen = np.random.default_rng(seed).permutation(len(images))[:limit]
    return np.stack([images[index] for index in chosen])


def _chosen(count: int, limit: int | None, seed: int) -> list[int]:
    """Some of the indices below ``count``, in order."""
    if limit is None or count <= limit:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, limit, replace=False).tolist())


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
        test_ids=tuple(
            tuple(f"{name or 'image'}-{i}" for i in range(len(test[name]))) for name in train if name in test
        ),
    )


def _load_folders(config: DataConfig) -> DomainData:
    assert config.root is not None
    folders = find_domains(config.root)
    train_paths, test_paths = folders.train, folders.test
    if not config.labels or list(train_paths) == [UNLABELLED]:
        train_paths = {UNLABELLED: tuple(path for paths in train_paths.values() for path in paths)}
        test_paths = (
            {UNLABELLED: tuple(path for paths in test_paths.values() for path in paths)} if test_paths else {}
        )
    per_image = config.image_size**2 * config.channels
    total = per_image * sum(map(len, train_paths.values()))
    problems: list[str] = []
    if total <= config.cache_megabytes * 2**20:
        train: list[ImageSource] = [
            _decode(name, paths, config, problems)[0] for name, paths in train_paths.items()
        ]
    else:
        train = [FileImages(paths, config) for paths in train_paths.values()]
    test = [_decode(name, test_paths[name], config, problems) for name in train_paths if name in test_paths]
    ids = tuple(tuple(path.stem for path in kept) for _, kept in test)
    paired = config.pairs and len(test) == len(train)
    if config.pairs and not (paired and len(ids) > 1 and set.intersection(*map(set, ids))):
        raise DataError(
            "data.pairs is set, but no file name is common to the test images of all domains in "
            f"{config.root}",
            remedy="give the two images of a pair the same name, in test/<domain> of each domain, or "
            "leave it out",
        )
    return DomainData(
        domains=tuple(train_paths),
        train=tuple(train),
        test=tuple(source for source, _ in test) if len(test) == len(train) else (),
        test_ids=ids if len(test) == len(train) else (),
        paired=paired,
        unreadable=tuple(problems),
    )


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


def _load_glyphs(config: DataConfig) -> DomainData:
    split = glyphs.split(config.split_seed)
    domains = tuple(glyphs.FONTS)
    coloured = config.name == "glyphs-colour"
    if coloured and config.channels == 1:
        raise ConfigError(
            "glyphs-colour has 3 channels, but data.channels is 1", remedy="set --data.channels 3"
        )

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
