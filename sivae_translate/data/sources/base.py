"""The base class of data sets: objects that load the data and know how it is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files, list_files
from sivae_translate.data.domains import DomainData
from sivae_translate.data.processor import ImageProcessor
from sivae_translate.utils.errors import ConfigError, DataError

StyleKind = Literal["domain", "reference"]
"""What a benchmark translates to: a domain's mean style or the style of a reference image."""
VALIDATION = "val"
"""Key of the pseudo-random order in which training cars or pairs are taken for validation."""


class Source(ABC):
    """A data set. A subclass loads it; `register_source` adds it to the registry.

    Attributes:
        name: its name in ``data.name``.
        needs_root: it reads files below ``data.root``; false for a generated set.
        style_kinds: what its benchmark translates to.
        supports_validation: ``data.validation_size`` can set aside training images with known truths.
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True
    style_kinds: ClassVar[tuple[StyleKind, ...]] = ("domain",)
    supports_validation: ClassVar[bool] = False

    @abstractmethod
    def load(self, config: DataConfig) -> DomainData:
        """Load the data set.

        Raises:
            ConfigError: a setting does not fit the data set.
            DataError: its files are missing, incomplete or damaged.
        """

    def load_tests(self, config: DataConfig) -> DomainData:
        """Load the data set for an evaluation; a set without splits may have test images only.

        Raises:
            ConfigError: see `load`.
            DataError: see `load`.
        """
        return self.load(config)

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """Load true pairs of training images, for supervised bounds; unsupervised methods must not see them.

        Images that ``config.validation_size`` sets aside are excluded.

        Returns:
            uint8 (D, N, H, W, C); image n shows the same content in each of the D domains.

        Raises:
            ConfigError: the set has no pairs.
            DataError: see `load`.
        """
        raise ConfigError(
            f"{config.name} has no true pairs",
            remedy="name glyphs, glyphs-colour, cars3d, facades, emoji, doom or doom-depth",
        )


class ArchivedSource(Source):
    """A published data set in a folder, a zip file, or a folder that contains the zip file.

    Attributes:
        origin: what to download, and from whom.
    """

    origin: ClassVar[str]

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`; the error for missing files says where to get them."""
        return self.load_files(self.files(config), config)

    @abstractmethod
    def load_files(self, files: Files, config: DataConfig) -> DomainData:
        """Load the data set from its files."""

    def files(self, config: DataConfig) -> Files:
        """The files below ``data.root``.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: there is no such folder or file.
        """
        root = require_root(config, self.remedy)
        if not root.exists():
            raise DataError(f"there is no folder or zip file {root} with {config.name}", remedy=self.remedy)
        return list_files(root)

    def missing(self, files: Files, what: str) -> DataError:
        """The error to raise if the data set is not in its folder."""
        return DataError(f"{files.root} has no {what}", remedy=self.remedy)

    @property
    def remedy(self) -> str:
        """How to get the data set."""
        return (
            f"get {self.origin}; pass its folder or zip file as --root (benchmark) or --data (train); "
            "docs/data.md has the links"
        )


def require_root(config: DataConfig, remedy: str = "") -> Path:
    """``data.root``, which must be set.

    Raises:
        ConfigError: it is not set.
    """
    if config.root is None:
        raise ConfigError(
            f"data.root is not set for {config.name}",
            remedy=remedy or "name the folder: --data FOLDER, or data.root in the config",
        )
    return config.root


def check_validation_size(config: DataConfig, available: int, what: str) -> None:
    """Raise ConfigError if validation would take more than half of the training images."""
    if config.validation_size > available // 2:
        raise ConfigError(
            f"data.validation_size is {config.validation_size}, but {config.name} has {available} "
            f"training {what}",
            remedy="take at most half of them",
        )


def as_array(image: Image.Image, config: DataConfig) -> np.ndarray:
    """An image as the model sees it: uint8 (size, size, channels)."""
    return ImageProcessor.of(config).prepare(image).pixels
