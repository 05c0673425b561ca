"""What a data set is to the library: an object that loads it and knows how it is evaluated."""

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
"""What a benchmark translates to: the mean style of a domain, or the style of a reference image."""
VALIDATION = "val"
"""Key of the order in which training cars or pairs are taken for validation."""


class Source(ABC):
    """A data set. A subclass loads it; `register_source` makes it known under its name.

    Attributes:
        name: what ``data.name`` says.
        needs_root: it reads files below ``data.root``; false for a set that is drawn.
        style_kinds: what its benchmark translates to.
        supports_validation: ``data.validation_size`` can take training images with truths for validation.
    """

    name: ClassVar[str]
    needs_root: ClassVar[bool] = True
    style_kinds: ClassVar[tuple[StyleKind, ...]] = ("domain",)
    supports_validation: ClassVar[bool] = False

    @abstractmethod
    def load(self, config: DataConfig) -> DomainData:
        """The data set.

        Raises:
            ConfigError: a setting does not suit it.
            DataError: its files are missing, incomplete or damaged.
        """

    def load_tests(self, config: DataConfig) -> DomainData:
        """The data set for an evaluation, which may have no training images where it is not split.

        Raises:
            ConfigError: see `load`.
            DataError: see `load`.
        """
        return self.load(config)

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """Training images with the truths that no unsupervised method may see, for supervised bounds.

        Images that ``config.validation_size`` takes out of training are left out.

        Returns:
            uint8 (D, N, H, W, C); image n shows the same content in each of the D domains.

        Raises:
            ConfigError: the set has no pairs.
            DataError: see `load`.
        """
        raise ConfigError(
            f"there are no true pairs of {config.name}",
            remedy="name glyphs, glyphs-colour, cars3d, facades, emoji, doom or doom-depth",
        )


class ArchivedSource(Source):
    """A published set, in a folder, a zip file, or a folder with that zip file in it.

    Attributes:
        origin: what to get, and from whom.
    """

    origin: ClassVar[str]

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`; a missing set's error says where to get it."""
        return self.load_files(self.files(config), config)

    @abstractmethod
    def load_files(self, files: Files, config: DataConfig) -> DomainData:
        """The data set in these files."""

    def files(self, config: DataConfig) -> Files:
        """The files below ``data.root``.

        Raises:
            ConfigError: ``data.root`` is not set.
            DataError: there is nothing there.
        """
        root = require_root(config, self.remedy)
        if not root.exists():
            raise DataError(f"there is no folder or zip file {root} with {config.name}", remedy=self.remedy)
        return list_files(root)

    def missing(self, files: Files, what: str) -> DataError:
        """The error for a set that is not in its folder."""
        return DataError(f"{files.root} holds no {what}", remedy=self.remedy)

    @property
    def remedy(self) -> str:
        """How to get the set."""
        return (
            f"get {self.origin}; name its folder or zip file by --root (benchmark) or --data (train); "
            "docs/data.md has the addresses"
        )


def require_root(config: DataConfig, remedy: str = "") -> Path:
    """``data.root``.

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
    """Raises ConfigError when validation would take more than half of the training images."""
    if config.validation_size > available // 2:
        raise ConfigError(
            f"data.validation_size is {config.validation_size}, but {config.name} has {available} "
            f"training {what}",
            remedy="take half of them at most",
        )


def as_array(image: Image.Image, config: DataConfig) -> np.ndarray:
    """An image as the model sees it: uint8 (size, size, channels)."""
    return ImageProcessor.of(config).prepare(image).pixels
