"""Which files are the images of which domain, found and checked before anything is trained or translated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sivae_translate.data.image import IMAGE_SUFFIXES
from sivae_translate.data.listing import contents, images_below, is_image, subfolders, visible
from sivae_translate.utils.errors import DataError

UNLABELLED = ""
"""The name of the only domain when nothing says which domain an image belongs to."""

LAYOUTS = (
    "one folder a domain, FOLDER/<domain>/*, or FOLDER/train/<domain>/* with FOLDER/test/<domain>/*, "
    "or FOLDER/trainA, FOLDER/trainB with FOLDER/testA, FOLDER/testB; "
    "or images directly in FOLDER for training without labels. Images end in "
    f"{', '.join(sorted(IMAGE_SUFFIXES))}"
)

# Folders beside "train" that hold another part of the same data, not another domain
_SPLITS = {"train", "test", "val", "valid", "validation"}


Files = Mapping[str, Path]
"""Images of a domain by their paths below the domain's folder, in a stable order."""


@dataclass(frozen=True)
class DomainFolders:
    """The image files of a data set.

    Attributes:
        root: the folder that was searched.
        train: domain name, in sorted order, to its files; the only name is `UNLABELLED` without labels.
        test: the same for test images; empty when there are none. It may name domains that are not in
            ``train``.
    """

    root: Path
    train: dict[str, Files]
    test: dict[str, Files]


def find_domains(root: Path) -> DomainFolders:
    """Recognise a data folder's layout and list its images.

    Understood are ``root/train/<domain>/*`` (with ``root/test/<domain>/*``), ``root/<domain>/*``,
    ``root/trainA`` and so on for every letter (with ``root/testA``), and images directly in ``root`` or
    ``root/train``. A domain's folder is searched through all its sub-folders; hidden files and folders are
    skipped, symbolic links are followed.

    Raises:
        DataError: the folder is missing or is a file; it has no image; images lie both beside and inside
            sub-folders; a domain has fewer than 2 images.
    """
    root = Path(root)
    _require_folder(root)
    train, test = _split(root)
    if not any(train.values()):
        raise DataError(
            f"there is no training image in {root}: {contents(root)}", remedy=f"arrange {LAYOUTS}"
        )
    _require_two(root, train, "")
    _require_two(root, test, "test ")
    if UNLABELLED in test and UNLABELLED not in train:
        raise DataError(
            f"the training images of {root} lie in one folder a domain, but its test images directly "
            f"in {root / 'test'}",
            remedy="sort the test images into folders with the names of the domains, or move them away",
        )
    return DomainFolders(root, train, test)


def _require_folder(root: Path) -> None:
    if not root.exists():
        raise DataError(f"there is no folder {root}", remedy=f"check the path; it should hold {LAYOUTS}")
    if not root.is_dir():
        raise DataError(f"{root} is a file, not a folder", remedy=f"name a folder that holds {LAYOUTS}")


_Domains = dict[str, Files]


def _split(root: Path) -> tuple[_Domains, _Domains]:
    """Training and test images by domain, not yet checked."""
    folders = subfolders(root)
    if any(re.fullmatch("train[A-Z]", name) for name in folders):
        return _lettered(folders, "train"), _lettered(folders, "test")
    if "train" in folders and (subfolders(folders["train"]) or set(folders) <= _SPLITS):
        return _domains(folders["train"]), _domains(folders["test"]) if "test" in folders else {}
    # Without folders inside it, a "train" among other folders is a domain of locomotives
    return _domains(root), {}


def _lettered(folders: Mapping[str, Path], split: str) -> _Domains:
    """``trainA`` and so on to domains "A" and so on."""
    return {name[-1]: _files(path) for name, path in folders.items() if re.fullmatch(f"{split}[A-Z]", name)}


def _files(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path for path in images_below(folder)}


def _domains(folder: Path) -> _Domains:
    """Sub-folders as domains, or the images directly in the folder as one domain without a label.

    Raises:
        DataError: there are both.
    """
    direct = {path.name: path for path in visible(folder) if is_image(path.name) and not path.is_dir()}
    named = {name: _files(path) for name, path in subfolders(folder).items()}
    if not direct:
        return named
    filled = [name for name, paths in named.items() if paths]
    if filled:
        raise DataError(
            f"{folder} holds images both directly ({next(iter(direct))}, {len(direct)} in all) and in "
            f"sub-folders ({filled[0]})",
            remedy="move the former into the folder of their domain, or out of the data",
        )
    return {UNLABELLED: direct}


def _require_two(root: Path, domains: Mapping[str, Files], kind: str) -> None:
    few = {name: len(paths) for name, paths in domains.items() if len(paths) < 2}
    if not few:
        return
    counts = {0: "has no image", 1: "has only 1 image"}
    named = [
        (f"{kind}domain '{name}'" if name else f"the {kind}folder") + f" {counts[number]}"
        for name, number in few.items()
    ]
    listed = ", ".join(named[:5]) + (f" and {len(named) - 5} more like these" if len(named) > 5 else "")
    raise DataError(
        f"in {root}, {listed}",
        remedy="a domain needs at least 2 images, and 200 or more to learn from; add some or remove "
        "the folder. "
        f"Understood are {LAYOUTS}",
    )
