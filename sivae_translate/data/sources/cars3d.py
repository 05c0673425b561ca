"""Cars3D: 183 car models, each from 4 elevations and 24 azimuths (Reed et al. 2015).

``data.root`` contains ``car_NNN_mesh.mat``, or the views as 4 x 24 sheets (``.webp``, ``.png``). 163 cars
are for training, 20 for testing; near-identical cars stay in the same split. A domain is a car, its content a
viewpoint. ``data.validation_size`` tests that many training cars instead of the test cars.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files, named
from sivae_translate.data.domains import (
    ArrayImages,
    ContentLabels,
    DomainData,
    ImageSource,
    PairedTruth,
    ranked,
)
from sivae_translate.data.sources.base import VALIDATION, ArchivedSource, as_array, check_validation_size
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.progress import track

CARS = 183
TEST_CARS = 20
TWINS = ((12, 57), (30, 113), (154, 157))
"""Near-identical cars, numbered from 0 in the order of their names."""
ELEVATIONS, AZIMUTHS = 4, 24
CAR_PIXELS = 64


class Cars3D(ArchivedSource):
    """A domain is a car, the content its viewpoint."""

    name = "cars3d"
    style_kinds = ("reference",)
    supports_validation = True
    origin = "Cars3D, car_NNN_mesh.mat in nips2015-analogy-data.tar.gz (Reed et al. 2015)"

    def load_files(self, files: Files, config: DataConfig) -> DomainData:
        """See `Source.load`."""
        names = sorted(name for name in files.readers if PurePosixPath(name).name.startswith("car_"))
        if len(names) != CARS:
            raise self.missing(files, f"{CARS} files car_NNN_mesh.mat or .webp; it has {len(names)}")
        labels = [PurePosixPath(name).stem for name in names]
        train_cars, test_cars = _split(labels, config)
        views = tuple(f"elevation {e}, azimuth {a}" for e in range(ELEVATIONS) for a in range(AZIMUTHS))
        cars = [_read_car(files, name, config) for name in track(names, "reading cars")]
        train: tuple[ImageSource, ...] = tuple(ArrayImages(cars[car]) for car in train_cars)
        domains = tuple(labels[car] for car in train_cars)
        if not config.labels:
            train, domains = (ArrayImages(np.concatenate([cars[car] for car in train_cars])),), ("",)
        azimuths = np.tile(np.arange(AZIMUTHS), ELEVATIONS)
        return DomainData(
            domains=domains,
            train=train,
            test=tuple(ArrayImages(cars[car]) for car in test_cars),
            test_ids=(views,) * len(test_cars),
            truth=PairedTruth(),
            labels=ContentLabels(test=(azimuths,) * len(test_cars), period=AZIMUTHS),
            new_domains=tuple(labels[car] for car in test_cars),
        )

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """See `Source.load_pairs`."""
        train = self.load(config.model_copy(update={"labels": True})).train
        return np.stack([np.stack([source[view] for view in range(len(source))]) for source in train])


def _split(labels: list[str], config: DataConfig) -> tuple[list[int], tuple[int, ...]]:
    """Choose training and test cars.

    Raises:
        ConfigError: validation would leave too few cars.
    """
    test = choose_cars({str(car): car for car in range(CARS)}, TEST_CARS, "0:cars3d")
    train = [car for car in range(CARS) if car not in test]
    if config.validation_size:
        check_validation_size(config, len(train), "cars")
        test = choose_cars({labels[car]: car for car in train}, config.validation_size, VALIDATION)
        train = [car for car in train if car not in test]
    return train, test


def choose_cars(names: Mapping[str, int], count: int, key: str) -> tuple[int, ...]:
    """Choose cars in a pseudo-random order; near-identical ones are chosen together.

    Args:
        names: name to index of the cars to choose from.
        count: number of cars.
        key: key of the pseudo-random order.

    Returns:
        Their indices.
    """
    twin = {car: pair for pair in TWINS for car in pair}
    chosen: list[int] = []
    for name in ranked(names, key):
        group = twin.get(names[name], (names[name],))
        if names[name] not in chosen and len(chosen) + len(group) <= count:
            chosen += group
    return tuple(sorted(chosen))


def _read_car(files: Files, name: str, config: DataConfig) -> np.ndarray:
    """Read the 96 images of a car, elevation by elevation: uint8 (96, size, size, channels).

    Raises:
        DataError: the file is damaged or has another shape.
    """
    if name.endswith(".mat"):
        tiles = _from_mat(files.read(name), f"{files.root}/{name}")
    else:
        sheet = np.asarray(files.image(name).convert("RGB"))
        if sheet.shape != (ELEVATIONS * CAR_PIXELS, AZIMUTHS * CAR_PIXELS, 3):
            raise DataError(
                f"{name} is {sheet.shape}, not 4 x 24 tiles of 64 px", remedy="get the data set again"
            )
        tiles = sheet.reshape(ELEVATIONS, CAR_PIXELS, AZIMUTHS, CAR_PIXELS, 3).transpose(0, 2, 1, 3, 4)
    return np.stack([as_array(Image.fromarray(tile), config) for tile in tiles.reshape(-1, *tiles.shape[2:])])


def _from_mat(raw: bytes, name: str) -> np.ndarray:
    """Views (elevation, azimuth, H, W, 3) from a published file, whose ``im`` has the axes reversed.

    ``im`` is (H, W, 3, azimuth, elevation).
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    with named(name, MatReadError):
        images = np.asarray(loadmat(io.BytesIO(raw))["im"])
    if images.shape[2:] != (3, AZIMUTHS, ELEVATIONS) or images.dtype.kind not in "uif":
        raise DataError(
            f"{name} has the shape {images.shape}, not (H, W, 3, 24, 4)", remedy="get the data set again"
        )
    return np.ascontiguousarray(images.transpose(4, 3, 0, 1, 2)).astype(np.uint8)
