"""Which file becomes which: the outputs of a folder's translation, checked before work starts."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import list_images
from sivae_translate.utils.errors import InputError


@dataclass(frozen=True, slots=True)  # there may be millions
class Job:
    """An image file and its output."""

    source: Path
    target: Path


def plan_jobs(inputs: Sequence[Path], out: Path, suffix: str = ".png") -> list[Job]:
    """Every image of the inputs with its output, at the same place below ``out`` with the ending ``suffix``.

    Where ``out`` lies inside an input folder, the images in it are results of earlier calls and no inputs.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: two inputs would become one output, an output would replace an input or a folder, the
            outputs would lie among the inputs, or ``out`` is named like an image.
    """
    check_is_no_image_name(str(out), is_folder=out.is_dir())
    folders: dict[Path, Path] = {}
    images = _without_results(list_images(inputs), inputs, out, folders)
    sources = [source for source, _ in images]
    names = name_outputs(sources, [place.as_posix() for _, place in images], ignores_case(out), suffix)
    jobs = [Job(source, out / name) for source, name in zip(sources, names, strict=True)]
    _check_no_input_is_replaced(jobs, folders)
    _check_outputs_lie_apart(jobs, inputs, out, folders)
    return jobs


def is_there(target: Path) -> bool:
    """Whether an output was made already; an empty file is none.

    Raises:
        InputError: a folder has its name.
    """
    try:
        if target.is_dir():
            raise InputError(f"{target} is a folder, where an output belongs", remedy="choose another --out")
        return target.stat().st_size > 0
    except OSError:
        return False


def check_is_no_image_name(out: str, *, is_folder: bool = False) -> None:
    """Raises InputError where an output folder is named like an image, unless it is a folder already."""
    if not is_folder and PurePosixPath(out).suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(
            f"--out {out} is the name of an image, but the outputs go into a folder",
            remedy="name a folder; the outputs keep their inputs' names in it",
        )


def name_outputs(
    sources: Sequence[object], places: Sequence[str], any_case: bool = False, suffix: str = ".png"
) -> list[str]:
    """Outputs' paths below the output folder: the ending becomes ``suffix``.

    Inputs whose outputs would have one name keep their endings: ``a.jpg`` and ``a.gif`` become ``a.jpg.png``
    and ``a.gif.png``.

    Args:
        sources: the inputs, as errors name them.
        places: their paths below the folder that was named, with slashes.
        any_case: the output folder does not tell capital letters from small ones.
        suffix: of the outputs' names.

    Raises:
        InputError: two names are the same nevertheless.

    >>> name_outputs("123", ["a.jpg", "a.gif", "b.jpg"])
    ['a.jpg.png', 'a.gif.png', 'b.png']
    """
    key: Callable[[str], str] = _folded if any_case else str
    short = [str(PurePosixPath(place).with_suffix(suffix)) for place in places]
    counts = Counter(key(name) for name in short)
    parents = {key(str(PurePosixPath(place).parent)) for place in places}  # a folder may be called a.png
    names = [
        f"{place}{suffix}" if counts[key(name)] > 1 or key(name) in parents else name
        for place, name in zip(places, short, strict=True)
    ]
    owners: dict[str, object] = {}
    for source, name in zip(sources, names, strict=True):
        if key(name) in owners or key(name) in parents:
            other = owners.get(key(name), "a folder of the inputs")
            raise InputError(f"{other} and {source} would both become {name}", remedy="rename one of them")
        owners[key(name)] = source
    return names


def ignores_case(folder: Path) -> bool:
    """Whether a folder's file system takes ``A`` and ``a`` for one name; nothing is written to find out."""
    place = Path(os.path.realpath(folder))
    while not place.exists() and place != place.parent:
        place = place.parent
    other = place.with_name(place.name.swapcase()) if place.name else place
    try:
        return other.name != place.name and other.samefile(place)
    except OSError:
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _without_results(
    images: Sequence[tuple[Path, Path]], inputs: Sequence[Path], out: Path, folders: dict[Path, Path]
) -> list[tuple[Path, Path]]:
    """The images that do not lie in ``out``, where it is inside an input folder.

    Raises:
        InputError: none is left.
    """
    results = real_folder(out, folders)
    if not any(_lies_inside(results, given, folders) for given in inputs):
        return list(images)
    left = [
        (source, place)
        for source, place in images
        if not real_folder(source.parent, folders).is_relative_to(results)
    ]
    if not left:
        raise InputError(f"all images lie in {out}, the output folder", remedy="choose another --out")
    return left


def _lies_inside(folder: Path, given: Path, folders: dict[Path, Path]) -> bool:
    """Whether a real folder lies inside an input folder, and is not the same."""
    return given.is_dir() and real_folder(given, folders) in folder.parents


def _check_outputs_lie_apart(
    jobs: Sequence[Job], inputs: Sequence[Path], out: Path, folders: dict[Path, Path]
) -> None:
    """Outputs among the inputs would be inputs of the next call."""
    targets = {real_folder(job.target.parent, folders) for job in jobs}
    results = real_folder(out, folders)
    for given in inputs:
        if not given.is_dir() or _lies_inside(results, given, folders):
            continue
        root = real_folder(given, folders)
        if any(target.is_relative_to(root) for target in targets):
            raise InputError(
                f"outputs would lie among the images of {given}",
                remedy="choose another --out, such as a new folder inside it",
            )


def _check_no_input_is_replaced(jobs: Sequence[Job], folders: dict[Path, Path]) -> None:
    # Links are followed folder by folder: a set of every input's real path would cost a look at the disk and
    # memory for each.
    targets = {real_folder(job.target.parent, folders) for job in jobs}
    sources = {path for job in jobs if (path := real_file(job.source, folders)).parent in targets}
    for job in jobs:
        if sources and real_folder(job.target.parent, folders) / job.target.name in sources:
            raise InputError(f"{job.target} would replace an input", remedy="choose another --out")


def real_folder(folder: Path, known: dict[Path, Path]) -> Path:
    """A folder with its links followed; each is looked up once, then found in ``known``."""
    if folder not in known:
        known[folder] = Path(os.path.realpath(folder))  # resolve() fails on a link to itself
    return known[folder]


def real_file(path: Path, known: dict[Path, Path]) -> Path:
    """A file with its links followed; ``known`` as for `real_folder`."""
    return Path(os.path.realpath(path)) if path.is_symlink() else real_folder(path.parent, known) / path.name
