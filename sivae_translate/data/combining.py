"""A data folder made of links: the domains of another one, and a new domain."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sivae_translate.data.folders import find_domains
from sivae_translate.data.layouts import UNLABELLED, recognise
from sivae_translate.data.listing import list_images
from sivae_translate.utils.errors import DataError, OutputError
from sivae_translate.utils.files import cannot_write, replacing_folder

SPLITS = ("train", "test")


def link_domains(root: Path, folder: Path, name: str, out: Path) -> None:
    """Make a data folder of links to the images of ``root`` and, as one more domain, of ``folder``.

    Args:
        root: data folder with domains, in any of the layouts.
        folder: images of the new domain; if it has the folders ``train`` and ``test``, these are its splits.
        name: name of the new domain.
        out: the new data folder, which must not exist.

    Raises:
        DataError: a folder has no images, the root has no domains, or one of that name already, or a domain's
            name cannot be that of a folder with images.
        OutputError: ``out`` exists, or cannot be written.
    """
    if out.exists():
        raise OutputError(f"{out} exists already", remedy="choose another --out, or resume that run")
    found = find_domains(root)
    if name in found.train or UNLABELLED in found.train:
        has = f"has a domain '{name}' already" if name in found.train else "has no domains"
        raise DataError(f"{root} {has}", remedy="choose another --name, or another run")
    parts: dict[str, dict[str, Mapping[str, Path]]] = {"train": {**found.train}, "test": {**found.test}}
    own = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
    for split, place in (own if len(own) == len(SPLITS) else {"train": folder}).items():
        parts[split][name] = {within.as_posix(): path for path, within in list_images([place])}
    if len(parts["test"]) < len(parts["train"]):
        parts["test"] = {}  # test images are used if every domain has some
    _require_folder_names(parts["train"])
    try:
        with replacing_folder(out) as temporary:
            for split, domains in parts.items():
                for domain, files in domains.items():
                    _link(files, temporary / split / domain)
            if lost := _lost(parts["train"], temporary):
                raise _unusable(name if name in lost else min(lost))
    except OSError as error:
        raise cannot_write(out, error) from error


def _require_folder_names(domains: Iterable[str]) -> None:
    """Raise DataError for domains whose folders would be hidden, or elsewhere."""
    for domain in domains:
        if domain.startswith(".") or "/" in domain or os.sep in domain:
            raise _unusable(domain)


def _lost(expected: Mapping[str, object], folder: Path) -> set[str]:
    """The domains that a folder should have and has not, such as those with the name of a split."""
    try:
        return {*expected} ^ {*recognise(folder).train}
    except DataError:
        return {*expected}


def _unusable(domain: str) -> DataError:
    return DataError(
        f"no folder of images can be called '{domain}'", remedy="choose another --name, or rename the domain"
    )


def _link(files: Mapping[str, Path], folder: Path) -> None:
    for within, path in files.items():
        place = folder / within
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.realpath(path))
