"""Finding and checking the image files of each domain of a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.data.cache import default_folder
from sivae_translate.data.layouts import LAYOUTS, UNLABELLED, Domains, recognise
from sivae_translate.data.listing import contents, left_out
from sivae_translate.data.lists import is_list, read_list
from sivae_translate.data.unpacking import unpacked
from sivae_translate.utils.errors import DataError


@dataclass(frozen=True)
class DomainFolders:
    """The image files of a data set.

    Attributes:
        root: the folder that was searched.
        train: domain name, in sorted order, to its files; without labels the only name is `UNLABELLED`.
        test: the same for test images; empty if there are none. It may contain domains that are not in
            ``train``.
        notes: folders that are not used, missing test folders, and the number of files that are not images.
    """

    root: Path
    train: Domains
    test: Domains
    notes: tuple[str, ...] = ()


def find_domains(root: Path, *, for_tests: bool = False, cache: Path | None = None) -> DomainFolders:
    """Recognise a data folder's layout and list its images.

    The supported layouts are ``root/<domain>/*``; ``root/train/<domain>/*`` with ``root/test/<domain>/*``;
    ``root/<domain>/train/*`` with ``root/<domain>/test/*``; ``root/trainA`` and so on with ``root/testA``;
    and images directly in ``root`` or ``root/train``. ``Training``, ``train_a`` and ``A-train`` are
    understood, too, and ``val`` is the test split if there is no other. Sub-folders of a domain are
    searched; hidden files and folders are skipped, symbolic links are followed.

    Args:
        root: the folder, a zip file of such a folder, or a list of images (`read_list`).
        for_tests: test images alone suffice; if no folder is called train or test, all images are test
            images.
        cache: where a zip file is unpacked; None is the user's cache folder.

    Raises:
        DataError: the folder is missing or is a file; it has no image; a folder looks like a split but fits
            no layout; there are images both beside and inside sub-folders; a domain has fewer than 2 images.
    """
    root = Path(root)
    if root.suffix.lower() == ".zip" and root.is_file():
        root = unpacked(root, cache or default_folder())
    if is_list(root):
        layout = read_list(root)
    else:
        _require_folder(root)
        layout = recognise(root)
    train, test = layout.train, layout.test
    if for_tests and not layout.has_splits:
        train, test = {}, train
    if not any(train.values()) and not (for_tests and any(test.values())):
        what = "training image" if not for_tests else "image"
        has = contents(root) if not any(test.values()) else "it has test images only"
        raise DataError(f"there is no {what} in {root}: {has}", remedy=f"arrange {LAYOUTS}")
    _require_two(root, train, "")
    _require_two(root, test, "test ")
    if UNLABELLED in test and train and UNLABELLED not in train:
        raise DataError(
            f"{root} has a folder for each domain's training images, but its test images are not sorted by "
            "domain",
            remedy="sort the test images into folders named like the domains, or move them away",
        )
    others = left_out([root])
    notes = (*layout.notes, f"skipped, not images: {others}") if others else layout.notes
    return DomainFolders(root, train, test, notes)


def _require_folder(root: Path) -> None:
    if not root.exists():
        raise DataError(f"there is no folder {root}", remedy=f"check the path; it should contain {LAYOUTS}")
    if not root.is_dir():
        raise DataError(
            f"{root} is neither a folder nor a list (.csv, .tsv, .jsonl) nor a zip file",
            remedy=f"name a folder that contains {LAYOUTS}",
        )


def _require_two(root: Path, domains: Domains, kind: str) -> None:
    few = {name: len(paths) for name, paths in domains.items() if len(paths) < 2}
    if not few:
        return
    counts = {0: "has no image", 1: "has only 1 image"}
    named = [
        (f"{kind}domain '{name}'" if name else f"the {kind}folder") + f" {counts[number]}"
        for name, number in few.items()
    ]
    listed = ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
    raise DataError(
        f"in {root}, {listed}",
        remedy="a domain needs at least 2 images, and 200 or more to learn from; add some or remove "
        "the folder. "
        f"The supported layouts are {LAYOUTS}",
    )
