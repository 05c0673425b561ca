"""Where outputs may be relative to inputs, on this machine and elsewhere.

An output folder may be inside an input folder: the images in it are then results. It must not be one of the
input folders or contain one, and no output may replace an input, even through links.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Generic, TypeVar

from sivae_translate.utils.errors import InputError

P = TypeVar("P")


class Places(ABC, Generic[P]):
    """The real places of files and folders, which are the same for all names of a file."""

    @abstractmethod
    def folder(self, path: P) -> PurePath:
        """The place of a folder."""

    @abstractmethod
    def home(self, path: P) -> PurePath:
        """The place of the folder that contains a file's name."""

    @abstractmethod
    def file(self, path: P) -> PurePath:
        """The place of a file, with links followed."""

    @abstractmethod
    def name(self, path: P) -> str:
        """The name of a file in its folder."""


class LocalPlaces(Places[Path]):
    """Real paths on this machine; each folder is resolved once, since it may have millions of files."""

    def __init__(self) -> None:
        self._folders: dict[Path, Path] = {}

    def folder(self, path: Path) -> Path:
        """See `Places`."""
        if path not in self._folders:
            self._folders[path] = Path(os.path.realpath(path))  # resolve() fails on a link to itself
        return self._folders[path]

    def home(self, path: Path) -> Path:
        """See `Places`."""
        return self.folder(path.parent)

    def file(self, path: Path) -> Path:
        """See `Places`."""
        return Path(os.path.realpath(path)) if path.is_symlink() else self.home(path) / path.name

    def name(self, path: Path) -> str:
        """See `Places`."""
        return path.name


def without_results(
    images: Sequence[tuple[P, str]], folders: Sequence[P], out: P, places: Places[P]
) -> list[tuple[P, str]]:
    """Remove images in ``out`` from the inputs, if it is inside an input folder.

    Args:
        images: files, and their paths below the input folder.
        folders: the inputs that are folders.
        out: the output folder.
        places: their real places.

    Raises:
        InputError: no image is left.
    """
    results = places.folder(out)
    if not any(places.folder(given) in results.parents for given in folders):
        return list(images)
    left = [(source, place) for source, place in images if not places.home(source).is_relative_to(results)]
    if not left:
        raise InputError(f"all images are in {out}, the output folder", remedy="choose another --out")
    return left


def check_relations(jobs: Sequence[tuple[P, P]], folders: Sequence[P], out: P, places: Places[P]) -> None:
    """Refuse outputs that would replace inputs or become inputs of the next call.

    Args:
        jobs: inputs and their outputs.
        folders: the inputs that are folders.
        out: the output folder.
        places: their real places.

    Raises:
        InputError: an output would replace an input, or be among the images of an input folder.
    """
    homes = {places.home(target) for _, target in jobs}
    # A set of all inputs' places would cost memory for each
    sources = {place for source, _ in jobs if (place := places.file(source)).parent in homes}
    for _, target in jobs:
        if sources and places.home(target) / places.name(target) in sources:
            raise InputError(f"{target} would replace an input", remedy="choose another --out")
    results = places.folder(out)
    for given in folders:
        root = places.folder(given)
        if root not in results.parents and any(home.is_relative_to(root) for home in homes):
            raise InputError(
                f"outputs would be among the images of {given}",
                remedy="choose another --out, such as a new folder inside it",
            )
