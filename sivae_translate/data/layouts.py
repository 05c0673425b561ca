"""The layout of a data folder: which of its folders are domains and which are splits.

Names may have their usual spellings (`sivae_translate.data.split_names`). A folder that looks like a split
but fits no layout is an error: treating it as a domain would put test images into training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import holds_image, images_below, is_image, scan, subfolders
from sivae_translate.data.split_names import Part, SplitName, looks_misspelt, parse, partner
from sivae_translate.utils.errors import DataError

UNLABELLED = ""
"""Name of the only domain of a data set without labels."""

LAYOUTS = (
    "one folder per domain, FOLDER/<domain>/*, or FOLDER/train/<domain>/* with FOLDER/test/<domain>/*, "
    "or FOLDER/<domain>/train/* with FOLDER/<domain>/test/*, "
    "or FOLDER/trainA, FOLDER/trainB with FOLDER/testA, FOLDER/testB; "
    "or images directly in FOLDER for training without labels. Images end in "
    f"{', '.join(sorted(IMAGE_SUFFIXES))}"
)

Files = Mapping[str, Path]
"""Images of a domain, by their paths below the domain's folder, in a stable order."""
Domains = dict[str, Files]
"""Domain name to files."""


@dataclass(frozen=True)
class Layout:
    """The image files of a data folder by split and domain, before they are checked.

    Attributes:
        train: training images; all images if ``has_splits`` is false.
        test: images of test folders, or of validation folders if there are no test folders.
        notes: what is not used or missing.
        has_splits: some folder is called train, test or the like.
    """

    train: Domains
    test: Domains = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    has_splits: bool = True


Splits = Mapping[str, SplitName]
"""Folder names and their parsed meaning."""


def recognise(root: Path) -> Layout:
    """Recognise the layout of a folder: its training and test images by domain.

    Raises:
        DataError: a folder looks like a split but fits no layout, or there are images both beside and inside
            sub-folders.
    """
    names = scan(root)[0]
    splits = {name: split for name in names if (split := parse(name))}
    labelled = {name: split for name, split in splits.items() if split.label}
    whole = {name: split for name, split in splits.items() if not split.label}
    if _is_lettered(root, names, labelled):
        if _names_the_data(root, labelled):
            whole = {name: SplitName(split.part) for name, split in labelled.items()}
            return _split(root, whole, _unused(root, whole))
        return _lettered(root, labelled, _unused(root, labelled))
    if _is_split(root, names, splits):
        return _split(root, whole, _unused(root, whole))
    inner = {name: _whole(root / name) for name in names}
    _require_not_deeper(root, inner)
    if any(inner.values()):
        return _nested(root, inner, _unused(root, inner))
    return Layout(_domains(root), has_splits=False)


def _is_lettered(root: Path, names: Sequence[str], labelled: Splits) -> bool:
    """Whether folder names combine split and domain, as in ``trainA``.

    Raises:
        DataError: some do and others do not.
    """
    trained = {split.label.lower() for split in labelled.values() if split.part == "train"}
    tested = {split.label.lower() for split in labelled.values() if split.part != "train"}
    if len(trained) > 1 or trained & tested:
        return True
    letters = [name for name, split in labelled.items() if split.is_letter]
    tests = [name for name, split in labelled.items() if split.part != "train"]
    # A lone test_tube is an ordinary domain, and so is a train_station
    if not (letters or (trained and tests) or len(tests) > 1 or tested & {name.lower() for name in names}):
        return False
    named = letters or tests
    others = [name for name in names if name not in (letters or labelled) and holds_image(root / name)]
    if others:
        raise _unclear(root / named[0], f"{others[0]} beside it does not")
    return True


def _names_the_data(root: Path, labelled: Splits) -> bool:
    """Whether names like ``horse2zebra_train`` contain the data set's name, with the domains inside."""
    if len({split.label.lower() for split in labelled.values()}) > 1:
        return False
    letters = any(split.is_letter for split in labelled.values())
    inside = (folder for name in labelled for folder in subfolders(root / name).values())
    return not letters and any(map(holds_image, inside))


def _is_split(root: Path, names: Sequence[str], splits: Splits) -> bool:
    """Whether folders are splits, with domains or images inside.

    Raises:
        DataError: some are and others are not.
    """
    whole = [name for name, split in splits.items() if not split.label]
    train = [name for name in whole if splits[name].part == "train"]
    others = [name for name in names if name not in whole and holds_image(root / name)] if whole else []
    if not others or any(subfolders(root / name) for name in train):
        return bool(whole)
    if len(whole) > 1 or any(split.part != "train" for split in splits.values()):
        raise _unclear(root / whole[0], f"{others[0]} beside it does not")
    return False  # without sub-folders, a "train" among other folders is a domain of locomotives


def _lettered(root: Path, labelled: Splits, notes: Sequence[str]) -> Layout:
    """``trainA`` and ``testA``."""
    train, test, unused = _one_for_each(root, labelled)
    missing = _partners(train, test, {key: partner(name) for key, name in train.items()})
    label = {key: labelled[name].label for key, name in {**test, **train}.items()}
    return Layout(
        {label[key]: _files(root / name) for key, name in sorted(train.items())},
        {label[key]: _files(root / name) for key, name in sorted(test.items())},
        (*notes, *unused, *missing),
    )


def _split(root: Path, whole: Splits, notes: Sequence[str]) -> Layout:
    """``train/<domain>`` and ``test/<domain>``."""
    train, test, unused = _one_for_each(root, whole)
    training = _inside(root / train[""]) if train else {}
    spelling = {name.lower(): name for name in training}
    tested = {
        spelling.get(name.lower(), name): files
        for name, files in (_inside(root / test[""]) if test else {}).items()
    }
    missing: list[str] = []
    if training and tested and UNLABELLED not in {*training, *tested}:
        where = {name: f"{test['']}/{name}" for name in [*training, *tested]}
        missing = _partners(training, {name: where[name] for name in tested}, where)
    return Layout(training, tested, (*notes, *unused, *missing))


def _nested(root: Path, inner: Mapping[str, Splits], notes: Sequence[str]) -> Layout:
    """``<domain>/train`` and ``<domain>/test``.

    Raises:
        DataError: a domain has images outside its splits.
    """
    train: dict[str, Path] = {}
    test: dict[str, Path] = {}
    unused = list(notes)
    split = next(f"{domain}/{name}" for domain, whole in inner.items() for name in whole)
    for domain, whole in inner.items():
        folder = root / domain
        direct = [name for name in scan(folder)[1] if is_image(name)]
        if direct or (not whole and holds_image(folder)):
            raise _unclear(root / split, f"{domain} has images outside its splits")
        own, tested, left_out = _one_for_each(folder, whole)
        unused += [f"{domain}/{note}" for note in (*_unused(folder, whole), *left_out)]
        train.update((domain, folder / name) for name in own.values())
        test.update((domain, folder / name) for name in tested.values())
    where = {domain: f"{domain}/test" for domain in [*train, *test]}
    missing = _partners(train, {domain: where[domain] for domain in test}, where)
    return Layout(
        {domain: _files(folder) for domain, folder in train.items()},
        {domain: _files(folder) for domain, folder in test.items()},
        (*unused, *missing),
    )


def _whole(folder: Path) -> dict[str, SplitName]:
    """Sub-folders with images whose names are just that of a split."""
    splits = {name: split for name in scan(folder)[0] if (split := parse(name)) and not split.label}
    return {name: split for name, split in splits.items() if holds_image(folder / name)}


def _one_for_each(root: Path, splits: Splits) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Training and test folders by label in lower case, and notes on validation folders.

    Validation folders serve as tests if there are no test folders.

    Raises:
        DataError: two folders mean the same split of the same domain.
    """
    by_part: dict[Part, dict[str, str]] = {"train": {}, "test": {}, "val": {}}
    for name, split in splits.items():
        same = by_part[split.part].setdefault(split.label.lower(), name)
        if same != name:
            raise _unclear(root / name, f"so does {same}, for the same domain")
    train, test, val = by_part["train"], by_part["test"], by_part["val"]
    use = "is not used" if test else "is used for testing"
    return train, test or val, [f"{name} {use}" for name in val.values()]


def _partners(train: Iterable[str], test: Mapping[str, str], where: Mapping[str, str]) -> list[str]:
    """Notes on domains that lack training or test images.

    Args:
        train: the training domains.
        test: folder of each test domain.
        where: the test folder that each training domain should have.
    """
    if not test:
        return []
    known = set(train)
    missing = [f"{where[domain]} is missing" for domain in sorted(known - set(test))]
    alone = [f"{folder} has no training images" for domain, folder in test.items() if domain not in known]
    return missing + (alone if known else [])


def _unused(root: Path, used: Iterable[str]) -> list[str]:
    """Notes on unused entries beside the folders of a layout.

    Raises:
        DataError: a name is almost that of a folder of the layout.
    """
    used = list(used)
    folders, files = scan(root)
    others = [name for name in folders if name not in used and holds_image(root / name)]
    for name in others:
        if parse(name) or looks_misspelt(name, used):
            raise _unclear(root / name, f"it does not fit {', '.join(used[:4])} beside it")
    direct = sum(map(is_image, files))
    return [f"{name} is not used" for name in others] + (
        [f"images beside them ({direct}) are not used"] if direct else []
    )


def _require_not_deeper(root: Path, inner: Mapping[str, Splits]) -> None:
    """Raise DataError if a folder that should be a domain contains a whole data set."""
    for name, whole in inner.items():
        folder = root / name
        lettered = [one for one in subfolders(folder) if (split := parse(one)) and split.is_letter]
        trains = [one for one in whole if whole[one].part == "train" and subfolders(folder / one)]
        if lettered or (trains and len(inner) == 1):
            raise DataError(
                f"{folder} contains {(lettered or trains)[0]}: the data is one folder below {root}",
                remedy=f"name {folder}",
            )


def _unclear(folder: Path, why: str) -> DataError:
    return DataError(
        f"{folder} looks like a split of the data, but {why}",
        remedy=f"rename it or move it away. The supported layouts are {LAYOUTS}",
    )


def _files(folder: Path) -> Files:
    """The images of a domain.

    Raises:
        DataError: one is in a folder that looks like a split.
    """
    files = images_below(folder)
    parts = {part: name for name in files for part in name.split("/")[:-1]}
    splits = {part: split for part in parts if (split := parse(part))}
    trained = {split.label.lower() for split in splits.values() if split.part == "train"}
    for part, split in splits.items():
        if len(split.label) < 2 or (split.part != "train" and split.label.lower() in trained):
            inner, _, _ = parts[part].partition(f"{part}/")
            raise _unclear(folder / inner / part, f"it is inside {folder.name}")
    return files


def _inside(folder: Path) -> Domains:
    """The domains in a split's folder.

    Raises:
        DataError: a sub-folder looks like a split as well, or see `_domains`.
    """
    for name in subfolders(folder):
        if (split := parse(name)) and (split.is_letter or not split.label or name == folder.name):
            raise _unclear(folder / name, f"it is inside {folder.name}")
    return _domains(folder)


def _domains(folder: Path) -> Domains:
    """Sub-folders as domains, or images directly in the folder as one unlabelled domain.

    Raises:
        DataError: the folder has both.
    """
    folders, files = scan(folder)
    direct = {name: folder / name for name in files if is_image(name)}
    named = {name: _files(folder / name) for name in folders}
    if not direct:
        return named
    filled = [name for name, paths in named.items() if paths]
    if filled:
        raise DataError(
            f"{folder} has images both directly in it ({next(iter(direct))}, {len(direct)} in all) and in "
            f"sub-folders ({filled[0]})",
            remedy="move the former into the folder of their domain, or out of the data",
        )
    return {UNLABELLED: direct}
