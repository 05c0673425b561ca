"""The benchmark domain pairs, as their authors publish them; splits are fixed, no test truth is trained on.

- ``cars3d``: ``data.root`` holds ``car_NNN_mesh.mat`` (Reed et al. 2015), or the same as 4 x 24 sheets
  (``.webp``, ``.png``). 163 cars to train, 20 to test; near twins stay on one side. A domain is a car,
  content is one of 96 viewpoints.
- ``facades``: ``{train,test}/{photo,label}/NNN.jpg``, or pix2pix's ``{train,val}/N.jpg``, side by side.
  Photos of the first half of the training facades, labels of the other half.
- ``emoji``: ``{train,test}/{noto,openmoji}/CODE.webp``. Each domain has one half of the training code points.
- ``digits``: ``mnist/`` and ``usps/``: idx files or ``mnist_10k.npz``, and ``zip.train.gz`` and
  ``zip.test.gz`` or ``usps.npz``. As published; of MNIST's ten thousand alone, every fifth is the test.

A folder, a zip file, or a folder with that zip file in it will do.

``data.validation_size`` leaves the test images alone: that many cars, or facades or code points in both
domains, are taken from the training set and tested instead. Settings are chosen on those.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.domains import ArrayImages, DomainData, ImageSource, ranked
from sivae_translate.data.image import IMAGE_SUFFIXES, open_image, to_array
from sivae_translate.data.sources import idx
from sivae_translate.utils.errors import ConfigError, DataError
from sivae_translate.utils.progress import track

CARS = 183
TEST_CARS = 20
TWINS = ((12, 57), (30, 113), (154, 157))
"""Cars, counted from 0 in the order of their names, that are all but equal."""
ELEVATIONS, AZIMUTHS = 4, 24
CAR_PIXELS = 64

SOURCES = {
    "cars3d": "Cars3D, car_NNN_mesh.mat in nips2015-analogy-data.tar.gz (Reed et al. 2015)",
    "facades": "the CMP Facade Database, for instance as pix2pix's facades.tar.gz",
    "emoji": "Noto Emoji and OpenMoji, drawn at 64 px on white as "
    "{train,test}/{noto,openmoji}/CODEPOINT.webp",
    "digits": "MNIST's four idx files in mnist/, and zip.train.gz and zip.test.gz of the ESL book's "
    "site in usps/",
}

PLACE = "name its folder or zip file by --root (benchmark) or --data (train); docs/data.md has the addresses"
BENCHMARKS = tuple(SOURCES)
PAIRED = ("cars3d", "facades", "emoji")
"""Sets whose training images have truths, for supervised bounds and ``data.validation_size`` alone."""
HELD_OUT = "val"
"""Key of the order in which training cars or pairs are held out."""


# ---- files, in a folder or a zip


@dataclass(frozen=True)
class Files:
    """Files below a root, by their path relative to it with forward slashes.

    Attributes:
        root: folder or zip file.
        readers: relative path to a function that reads the file.
    """

    root: Path
    readers: Mapping[str, Callable[[], bytes]]

    def below(self, folder: str) -> dict[str, str]:
        """Stem to path of the images in the folders of that name (``train/photo``), wherever these lie."""
        found = {}
        for name in sorted(self.readers):
            path = PurePosixPath(name)
            if path.suffix.lower() in IMAGE_SUFFIXES and f"/{path.parent}".endswith(f"/{folder}"):
                found[path.stem] = name
        return found

    def named(self, ending: str) -> str | None:
        """The first path that ends in this."""
        return next((name for name in sorted(self.readers) if f"/{name}".endswith(f"/{ending}")), None)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            DataError: it cannot be read, or the zip file is damaged there.
        """
        try:
            return self.readers[name]()
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"cannot read {self.root}/{name}: {error}", remedy="copy it again") from error

    def image(self, name: str) -> Image.Image:
        """A file as an image.

        Raises:
            DataError: it is not readable as one.
        """
        stream = io.BytesIO(self.read(name))
        stream.name = f"{self.root}/{name}"
        return open_image(stream)


def list_files(root: Path) -> Files:
    """All files of a folder and of the zip files directly in it, or of a zip file.

    Raises:
        DataError: there is nothing there, or a zip file is damaged.
    """
    if root.is_dir():
        readers = {
            path.relative_to(root).as_posix(): path.read_bytes
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
        for archive in sorted(root.glob("*.zip")):
            readers |= _zipped(archive)
        return Files(root, readers)
    if not root.exists():
        raise DataError(f"there is no folder or zip file {root}", remedy="check the path")
    return Files(root, _zipped(root))


def _zipped(path: Path) -> dict[str, Callable[[], bytes]]:
    """Readers of a zip file's members; they keep it open, since opening it means reading its whole
    directory.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read {path}: {error}", remedy="name a folder or a zip file; copy it again"
        ) from error
    return {info.filename: partial(archive.read, info) for info in archive.infolist() if not info.is_dir()}


# ---- the sets


def load_benchmark(config: DataConfig) -> DomainData:
    """The benchmark that ``config.name`` names.

    Raises:
        ConfigError: ``data.root`` is missing, or ``data.validation_size`` cannot be had.
        DataError: the files are not there, incomplete, or damaged; the message says where to get them.
    """
    if config.root is None:
        raise ConfigError(
            f"data.root is not set for {config.name}",
            remedy=f"get {SOURCES[config.name]}; {PLACE}",
        )
    loaders = {"cars3d": _cars3d, "facades": _facades, "emoji": _emoji, "digits": _digits}
    if not config.root.exists():
        raise DataError(
            f"there is no folder or zip file {config.root} with {config.name}",
            remedy=f"get {SOURCES[config.name]}; {PLACE}",
        )
    return loaders[config.name](list_files(config.root), config)


def _missing(name: str, files: Files, what: str) -> DataError:
    return DataError(f"{files.root} holds no {what}", remedy=f"get {SOURCES[name]}; {PLACE}")


def load_pairs(config: DataConfig) -> np.ndarray:
    """Training images with the truths that no unsupervised method may see, for supervised bounds; none that
    are held out.

    Returns:
        uint8 (D, N, H, W, C); image n shows the same content in each of the D domains.

    Raises:
        ConfigError: the set has no pairs, or see `load_benchmark`.
        DataError: see `load_benchmark`.
    """
    if config.root is None or config.name not in PAIRED:
        raise ConfigError(
            f"there are no true pairs of {config.name}",
            remedy="name glyphs, glyphs-colour, cars3d, facades or emoji",
        )
    files = list_files(config.root)
    if config.name == "cars3d":
        train = _cars3d(files, config.model_copy(update={"labels": True})).train
        return np.stack([np.stack([source[view] for view in range(len(source))]) for source in train])
    images = (_facade_halves if config.name == "facades" else _emoji_halves)(files, config)["train"]
    shared = sorted(_shared(images) - _held_out(images, config))
    return np.stack([np.stack([found[stem] for stem in shared]) for found in images.values()])


_Halves = dict[str, dict[str, dict[str, np.ndarray]]]
"""Split, domain, stem to image."""


def _facades(files: Files, config: DataConfig) -> DomainData:
    """Photo and label; of every training facade one of the two is seen."""
    halves = _facade_halves(files, config)
    shared = sorted(_shared(halves["train"]))
    middle = len(shared) // 2
    return _two_domains(halves, {"photo": shared[:middle], "label": shared[middle:]}, config)


def _facade_halves(files: Files, config: DataConfig) -> _Halves:
    """All facades, in whichever layout they lie there."""
    halves = {
        split: _side_by_side(files, names, config)
        for split, names in (("train", ("train",)), ("test", ("val", "test")))
    }
    if not all(halves.values()):
        halves = {
            split: {d: _images(files, files.below(f"{split}/{d}"), config) for d in ("photo", "label")}
            for split in ("train", "test")
        }
    if not all(images for domains in halves.values() for images in domains.values()):
        raise _missing("facades", files, "train/photo, train/label, test/photo and test/label")
    return halves


def _side_by_side(
    files: Files, splits: Sequence[str], config: DataConfig
) -> dict[str, dict[str, np.ndarray]]:
    """pix2pix's layout: one file a facade, the photo on its left, the label map on its right. Empty where it
    is not this.
    """
    found = next((below for split in splits if (below := files.below(split))), {})
    domains: dict[str, dict[str, np.ndarray]] = {"photo": {}, "label": {}}
    for stem, name in found.items():
        both = files.image(name)
        if both.width != 2 * both.height:
            return {}
        half = both.height
        for domain, left in (("photo", 0), ("label", half)):
            domains[domain][stem] = _array(both.crop((left, 0, left + half, half)), config)
    return domains if found else {}


def _emoji(files: Files, config: DataConfig) -> DomainData:
    """Noto and OpenMoji; of every training code point one of the two is seen."""
    halves = _emoji_halves(files, config)
    order = ranked(_shared(halves["train"]), "0:emoji")
    middle = len(order) // 2
    return _two_domains(halves, {"noto": sorted(order[:middle]), "openmoji": sorted(order[middle:])}, config)


def _emoji_halves(files: Files, config: DataConfig) -> _Halves:
    """All code points."""
    names = {
        split: {d: files.below(f"{split}/{d}") for d in ("noto", "openmoji")} for split in ("train", "test")
    }
    if not all(found for domains in names.values() for found in domains.values()):
        raise _missing("emoji", files, "train/noto, train/openmoji, test/noto and test/openmoji")
    return {
        split: {d: _images(files, found, config) for d, found in domains.items()}
        for split, domains in names.items()
    }


def _shared(images: Mapping[str, Mapping[str, np.ndarray]]) -> set[str]:
    """Stems that every domain has."""
    return set.intersection(*(set(found) for found in images.values()))


def _held_out(images: Mapping[str, Mapping[str, np.ndarray]], config: DataConfig) -> set[str]:
    """Training stems that are tested instead of the test's.

    Raises:
        ConfigError: too few would be left.
    """
    shared = _shared(images)
    _check_hold_out(config, len(shared), "pairs")
    return set(ranked(shared, HELD_OUT)[: config.validation_size])


def _check_hold_out(config: DataConfig, available: int, what: str) -> None:
    if config.validation_size > available // 2:
        raise ConfigError(
            f"data.validation_size is {config.validation_size}, but {config.name} has {available} "
            f"training {what}",
            remedy="hold out half of them at most",
        )


def _check_no_leak(images: _Halves, train: Mapping[str, Sequence[str]]) -> None:
    """Raises DataError when a test image lies among the training images, under the same name in either
    domain.
    """
    leaked = [
        stem
        for domain, stems in train.items()
        for stem in stems
        if any(
            stem in tested and np.array_equal(tested[stem], images["train"][other][stem])
            for other, tested in images["test"].items()
        )
    ]
    if leaked:
        raise DataError(
            f"{len(leaked)} training images are test images, too: {', '.join(leaked[:5])}",
            remedy="get the data set again; its splits have no image in common",
        )


def _two_domains(images: _Halves, train: Mapping[str, Sequence[str]], config: DataConfig) -> DomainData:
    """Paired test data, and training data without a pair.

    Raises:
        ConfigError: see `_held_out`.
        DataError: the test images of the two domains are not pairs.
    """
    domains = tuple(train)
    if held := _held_out(images["train"], config):
        train = {domain: [stem for stem in stems if stem not in held] for domain, stems in train.items()}
        images = images | {
            "test": {domain: {stem: images["train"][domain][stem] for stem in held} for domain in domains}
        }
    else:
        _check_no_leak(images, train)
    test = [sorted(images["test"][domain]) for domain in domains]
    if test[0] != test[1]:
        odd = sorted(set(test[0]) ^ set(test[1]))[:5]
        raise DataError(f"test images without a partner: {', '.join(odd)}", remedy="get the data set again")
    return DomainData(
        domains=domains,
        train=tuple(ArrayImages(np.stack([images["train"][d][stem] for stem in train[d]])) for d in domains),
        test=tuple(ArrayImages(np.stack([images["test"][d][stem] for stem in test[0]])) for d in domains),
        test_ids=(tuple(test[0]),) * 2,
        paired=True,
    )


def _images(files: Files, names: Mapping[str, str], config: DataConfig) -> dict[str, np.ndarray]:
    return {stem: _array(files.image(name), config) for stem, name in track(list(names.items()), "reading")}


def _array(image: Image.Image, config: DataConfig) -> np.ndarray:
    return to_array(image, config.image_size, config.channels, config.fit)


# ---- Cars3D


def held_out_cars(names: Mapping[str, int], count: int, key: str) -> tuple[int, ...]:
    """Indices of so many cars: whole groups of twins or single cars, in the pseudo-random order of their
    names.

    Args:
        names: cars to choose from, a name to an index.
        count: how many.
        key: of the order.
    """
    twin = {car: pair for pair in TWINS for car in pair}
    chosen: list[int] = []
    for name in ranked(names, key):
        group = twin.get(names[name], (names[name],))
        if names[name] not in chosen and len(chosen) + len(group) <= count:
            chosen += group
    return tuple(sorted(chosen))


def _cars3d(files: Files, config: DataConfig) -> DomainData:
    """A domain is a car, content is its viewpoint."""
    names = sorted(name for name in files.readers if PurePosixPath(name).name.startswith("car_"))
    if len(names) != CARS:
        raise _missing("cars3d", files, f"{CARS} files car_NNN_mesh.mat or .webp, but {len(names)}")
    labels = [PurePosixPath(name).stem for name in names]
    held = held_out_cars({str(car): car for car in range(CARS)}, TEST_CARS, "0:cars3d")
    seen = [car for car in range(CARS) if car not in held]
    if config.validation_size:
        _check_hold_out(config, len(seen), "cars")
        held = held_out_cars({labels[car]: car for car in seen}, config.validation_size, HELD_OUT)
        seen = [car for car in seen if car not in held]
    views = tuple(f"elevation {e}, azimuth {a}" for e in range(ELEVATIONS) for a in range(AZIMUTHS))
    cars = [_car(files, name, config) for name in track(names, "reading cars")]
    train: tuple[ImageSource, ...] = tuple(ArrayImages(cars[car]) for car in seen)
    domains = tuple(labels[car] for car in seen)
    if not config.labels:
        train, domains = (ArrayImages(np.concatenate([cars[car] for car in seen])),), ("",)
    return DomainData(
        domains=domains,
        train=train,
        test=tuple(ArrayImages(cars[car]) for car in held),
        test_ids=(views,) * len(held),
        paired=True,
        test_names=tuple(labels[car] for car in held),
        turns=(tuple(range(AZIMUTHS)) * ELEVATIONS, AZIMUTHS),
    )


def _car(files: Files, name: str, config: DataConfig) -> np.ndarray:
    """The 96 images of a car, elevation by elevation: uint8 (96, size, size, channels).

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
    return np.stack([_array(Image.fromarray(tile), config) for tile in tiles.reshape(-1, *tiles.shape[2:])])


def _from_mat(raw: bytes, name: str) -> np.ndarray:
    """(elevation, azimuth, H, W, 3) of the published archive, whose ``im`` is (H, W, 3, azimuth,
    elevation).
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        images = loadmat(io.BytesIO(raw))["im"]
    except (MatReadError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"cannot read {name}: {error}", remedy="get the data set again") from error
    if images.shape[2:] != (3, AZIMUTHS, ELEVATIONS):
        raise DataError(
            f"{name} has the shape {images.shape}, not (H, W, 3, 24, 4)", remedy="get the data set again"
        )
    return np.ascontiguousarray(images.transpose(4, 3, 0, 1, 2)).astype(np.uint8)


# ---- digits


USPS_MARGIN = 3
"""Pixels put around USPS's 16: its digits fill the frame, MNIST's 20 of 28. Size would otherwise be most of
the difference."""


def _digits(files: Files, config: DataConfig) -> DomainData:
    """MNIST, and USPS with a margin like MNIST's."""
    sets = {"mnist": _mnist(files), "usps": _usps(files)}
    margin = ((0, 0), (USPS_MARGIN, USPS_MARGIN), (USPS_MARGIN, USPS_MARGIN))
    sets["usps"] = {
        split: (np.pad(images, margin), labels) for split, (images, labels) in sets["usps"].items()
    }

    def images(pixels: np.ndarray) -> ArrayImages:
        sized = [_array(Image.fromarray(image), config) for image in pixels]
        return ArrayImages(np.stack(sized))

    return DomainData(
        domains=tuple(sets),
        train=tuple(images(s["train"][0]) for s in sets.values()),
        test=tuple(images(s["test"][0]) for s in sets.values()),
        test_ids=tuple(tuple(f"{name}-{i}" for i in range(len(s["test"][0]))) for name, s in sets.items()),
        classes=tuple((s["train"][1].astype(np.int64), s["test"][1].astype(np.int64)) for s in sets.values()),
    )


_Splits = dict[str, tuple[np.ndarray, np.ndarray]]


def _mnist(files: Files) -> _Splits:
    published = {
        split: [files.named(f"{start}-{what}") or files.named(f"{start}-{what}.gz") for what in idx.FILES]
        for split, start in idx.SPLITS.items()
    }
    if any(published["train"]):
        return {split: _idx_pair(files, names) for split, names in published.items()}
    name = files.named("mnist_10k.npz")
    if name is None:
        raise _missing("digits", files, "MNIST")
    arrays = _npz(files, name)
    # The file may be sorted by digit: a split into a first and a last part would then hold back whole digits.
    held = np.arange(len(arrays["labels"])) % 5 == 4
    return {
        split: (arrays["images"][mask], arrays["labels"][mask])
        for split, mask in (("train", ~held), ("test", held))
    }


def _idx_pair(files: Files, names: Sequence[str | None]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels from the two files of a split.

    Raises:
        DataError: one is missing or damaged, or they differ in number.
    """
    found = [name for name in names if name is not None]
    if len(found) < len(names):
        raise _missing("digits", files, "four idx files of MNIST")
    images, labels = (idx.parse(files.read(name), f"{files.root}/{name}") for name in found)
    idx.check_pair(images, labels, str(files.root))
    return images, labels


def _usps(files: Files) -> _Splits:
    name = files.named("usps.npz")
    if name is not None:
        arrays = _npz(files, name)
        return {"train": (arrays["train"], arrays["train_y"]), "test": (arrays["test"], arrays["test_y"])}
    names = {split: files.named(f"zip.{split}.gz") for split in ("train", "test")}
    found = {split: name for split, name in names.items() if name is not None}
    if len(found) < 2:
        raise _missing("digits", files, "USPS")
    return {split: _from_lines(files.read(name), f"{files.root}/{name}") for split, name in found.items()}


def _from_lines(raw: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The ESL book's gzipped lines: a digit, then 256 pixels from -1 (ground) to 1.

    Raises:
        DataError: the file is damaged.
    """
    try:
        numbers = np.loadtxt(io.BytesIO(gzip.decompress(raw)), ndmin=2).reshape(-1, 257)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read {name}: {error}", remedy="get the data set again") from error
    pixels = np.rint((numbers[:, 1:] + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, 16, 16), numbers[:, 0].astype(np.int64)


def _npz(files: Files, name: str) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(files.read(name)), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read {files.root}/{name}: {error}", remedy="copy it again") from error
