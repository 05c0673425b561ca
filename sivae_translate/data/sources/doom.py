"""Doom: game frames against label maps (``doom``) or depth (``doom-depth``), with exact truths.

Freedoom 2's maps 1 to 20 are for training, 21 to 30 for testing. The training maps, ranked by SHA-256,
alternate between the two domains, so no images are paired. A test pair shows the same moment. The pictures
are rendered once (`doom_views` chooses the views, `doom_engine` renders them) and kept in the data cache, one
folder per map; once they are cached, ViZDoom is not needed.

Label maps have the colours of `doom_views.PALETTE`. Depth is grey: 255 (1 - sqrt(d / 1870)) at distance d in
map units, so near is bright; the sky and everything farther is black.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from os import cpu_count
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.cache import default_folder, keep_arrays
from sivae_translate.data.domains import ArrayImages, DomainData, PairedTruth, ranked
from sivae_translate.data.sources import doom_engine
from sivae_translate.data.sources.base import Source, as_array, check_validation_size
from sivae_translate.data.sources.doom_views import FAR, PALETTE, RULES, View, World, choose_views

TRAINING_MAPS = tuple(f"map{number:02}" for number in range(1, 21))
TEST_MAPS = tuple(f"map{number:02}" for number in range(21, 31))
TRAINING_VIEWS = 200
"""Views of each training map; fewer if the map has not enough that are worth keeping."""
TEST_VIEWS = 30
"""Views of each test map; see `TRAINING_VIEWS`."""
FORMAT = 2
"""Incremented when the same settings give other pixels."""


class Doom(Source):
    """Frames and label maps."""

    name = "doom"
    needs_root = False
    supports_validation = True
    domains: ClassVar[tuple[str, str]] = ("frames", "labels")

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: more than half of the training maps are to be for validation.
            DataError: the pictures are not cached, and ViZDoom is missing or cannot run.
        """
        train, test = self.maps(config)
        views = TRAINING_VIEWS if config.validation_size else TEST_VIEWS
        counts = {name: TRAINING_VIEWS for names in train.values() for name in names}
        shown = self.render(counts | dict.fromkeys(test, views), config)
        held = {name: {kind: images[:TEST_VIEWS] for kind, images in shown[name].items()} for name in test}
        return DomainData(
            domains=self.domains,
            train=tuple(_images(shown, names, domain, config) for domain, names in train.items()),
            train_ids=tuple(_ids(shown, names) for names in train.values()),
            test=tuple(_images(held, test, domain, config) for domain in self.domains),
            test_ids=(_ids(held, test),) * 2,
            truth=PairedTruth(),
        )

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """See `Source.load_pairs`."""
        names = sorted(name for maps in self.maps(config)[0].values() for name in maps)
        shown = self.render(dict.fromkeys(names, TRAINING_VIEWS), config)
        return np.stack([_images(shown, names, domain, config).array for domain in self.domains])

    def maps(self, config: DataConfig) -> tuple[dict[str, list[str]], list[str]]:
        """Training maps of each domain and test maps, or ``validation_size`` training maps in their place.

        Raises:
            ConfigError: more than half of the training maps are to be for validation.
        """
        check_validation_size(config, len(TRAINING_MAPS), "maps")
        order = ranked(TRAINING_MAPS, f"{config.split_seed}:maps")
        rest, validation = np.split(np.array(order), [len(order) - config.validation_size])
        train = {domain: sorted(rest[place::2].tolist()) for place, domain in enumerate(self.domains)}
        return train, sorted(validation.tolist()) or list(TEST_MAPS)

    def open(self, name: str) -> AbstractContextManager[World]:
        """Open a map for rendering."""
        return doom_engine.open_map(name)

    def render(self, counts: dict[str, int], config: DataConfig) -> dict[str, dict[str, np.ndarray]]:
        """Render pictures of maps, or read them from the cache.

        Args:
            counts: number of views of each map.
            config: size and seed of the pictures, and the cache folder.

        Returns:
            Map to domain to pictures: frames uint8 (N, S, S, 3), classes and depth uint8 (N, S, S).
        """
        with ThreadPoolExecutor(cpu_count()) as threads:  # each game is a separate process
            jobs = {name: threads.submit(self._render, name, views, config) for name, views in counts.items()}
            return {name: job.result() for name, job in jobs.items()}

    def _render(self, name: str, views: int, config: DataConfig) -> dict[str, np.ndarray]:
        def make() -> dict[str, np.ndarray]:
            seed = int.from_bytes(hashlib.sha256(f"{config.split_seed}:{name}".encode()).digest()[:8])
            with self.open(name) as world:
                chosen = choose_views(world, views, np.random.default_rng(seed))
            return draw(chosen, config.image_size)

        return keep_arrays(cache_folder(config) / f"{name}-{views}", make)


class DoomDepth(Doom):
    """Frames and depth."""

    name = "doom-depth"
    domains = ("frames", "depth")


def cache_folder(config: DataConfig) -> Path:
    """The cache folder; its name contains everything that the pictures depend on."""
    made_by = {name: getattr(doom_engine, name) for name in sorted(dir(doom_engine)) if name.isupper()}
    made_by = {name: value for name, value in made_by.items() if isinstance(value, int | float | str)}
    key = repr((FORMAT, asdict(RULES), made_by, config.split_seed, config.image_size))
    folder = config.cache or default_folder()
    return folder / f"doom-{config.image_size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def draw(views: Sequence[View], size: int) -> dict[str, np.ndarray]:
    """Turn views into pictures.

    Args:
        views: views with at least ``size`` pixels per side.
        size: side S in pixels.

    Returns:
        Frames, uint8 (N, S, S, 3), and depth, uint8 (N, S, S), both downscaled by averaging; labels, uint8
        (N, S, S), indices into `doom_views.CLASSES`, which are never averaged.
    """
    average, pick = Image.Resampling.BOX, Image.Resampling.NEAREST
    return {
        "frames": _resized([view.frame for view in views], size, average, (3,)),
        "labels": _resized([view.classes for view in views], size, pick),
        "depth": _resized([grey(view.distance) for view in views], size, average),
    }


def grey(distance: np.ndarray) -> np.ndarray:
    """Distances in map units as uint8 greys of the same shape; infinity is 0."""
    share = np.sqrt(np.minimum(distance, FAR) / FAR)
    greys: np.ndarray = np.round(255 * (1 - share)).astype(np.uint8)
    return greys


def _resized(
    images: Iterable[np.ndarray], size: int, how: Image.Resampling, channels: tuple[int, ...] = ()
) -> np.ndarray:
    resized = [np.asarray(Image.fromarray(image).resize((size, size), how)) for image in images]
    empty = np.empty((0, size, size, *channels), np.uint8)
    return np.stack(resized) if resized else empty


def _images(
    shown: dict[str, dict[str, np.ndarray]], names: Sequence[str], domain: str, config: DataConfig
) -> ArrayImages:
    """The pictures of maps as the model sees them."""
    images = np.concatenate([shown[name][domain] for name in names])
    if domain == "labels":
        images = np.array(list(PALETTE.values()), np.uint8)[images]
    elif domain == "depth":
        images = np.repeat(images[..., None], 3, axis=3)
    if config.channels == 1:
        images = np.stack([as_array(Image.fromarray(image), config) for image in images])
    return ArrayImages(images)


def _ids(shown: dict[str, dict[str, np.ndarray]], names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name}-{place:03}" for name in names for place in range(len(shown[name]["frames"])))
