"""Planning which input becomes which output, checked before work starts."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import list_images
from sivae_translate.inference.relations import LocalPlaces, check_relations, without_results
from sivae_translate.utils.errors import InputError


@dataclass(frozen=True, slots=True)  # there may be millions
class Job:
    """An image file and its output."""

    source: Path
    target: Path


def plan_jobs(inputs: Sequence[Path], out: Path, suffix: str = ".png") -> list[Job]:
    """Pair every input image with its output, at the same relative path below ``out`` but with ``suffix``.

    If ``out`` is inside an input folder, the images in it are results of earlier calls and not inputs.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: two inputs would become one output, an output would replace an input or a folder, the
            outputs would be among the inputs, or ``out`` is named like an image.
    """
    check_is_no_image_name(str(out), is_folder=out.is_dir())
    places, folders = LocalPlaces(), [given for given in inputs if given.is_dir()]
    found = [(source, place.as_posix()) for source, place in list_images(inputs)]
    images = without_results(found, folders, out, places)
    sources = [source for source, _ in images]
    names = name_outputs(sources, [place for _, place in images], ignores_case(out), suffix)
    jobs = [Job(source, out / name) for source, name in zip(sources, names, strict=True)]
    check_relations([(job.source, job.target) for job in jobs], folders, out, places)
    return jobs


def is_there(target: Path) -> bool:
    """Whether an output exists already; an empty file does not count.

    Raises:
        InputError: there is a folder of the same name.
    """
    try:
        refuse_folder(str(target), is_folder=target.is_dir())
        return target.stat().st_size > 0
    except OSError:
        return False


def refuse_folder(target: str, *, is_folder: bool) -> None:
    """Raise InputError if a folder has the name of an output."""
    if is_folder:
        raise InputError(
            f"{target} is a folder, but an output has the same name", remedy="choose another --out"
        )


def check_is_no_image_name(out: str, *, is_folder: bool = False) -> None:
    """Raise InputError if an output folder is named like an image, unless it is an existing folder."""
    if not is_folder and PurePosixPath(out).suffix.lower() in IMAGE_SUFFIXES:
        raise InputError(
            f"--out {out} is the name of an image, but outputs are written to a folder",
            remedy="name a folder; the outputs keep the names of their inputs",
        )


def name_outputs(
    sources: Sequence[object], places: Sequence[str], any_case: bool = False, suffix: str = ".png"
) -> list[str]:
    """Paths of the outputs below the output folder, with the extension ``suffix``.

    Inputs whose outputs would have the same name keep their extensions: ``a.jpg`` and ``a.gif`` become
    ``a.jpg.png`` and ``a.gif.png``.

    Args:
        sources: the inputs, for errors.
        places: their paths below the input folder, with slashes.
        any_case: the output folder ignores case.
        suffix: extension of the outputs.

    Raises:
        InputError: two names are still the same.

    >>> name_outputs("123", ["a.jpg", "a.gif", "b.jpg"])
    ['a.jpg.png', 'a.gif.png', 'b.png']
    """
    key: Callable[[str], str] = _folded if any_case else str
    short = [str(PurePosixPath(place).with_suffix(suffix)) for place in places]
    counts = Counter(key(name) for name in short)
    parents = {key(str(PurePosixPath(place).parent)) for place in places}  # a folder can be called a.png
    names = [
        f"{place}{suffix}" if counts[key(name)] > 1 or key(name) in parents else name
        for place, name in zip(places, short, strict=True)
    ]
    owners: dict[str, object] = {}
    for source, name in zip(sources, names, strict=True):
        if key(name) in owners or key(name) in parents:
            other = owners.get(key(name), "a folder in the inputs")
            raise InputError(f"{other} and {source} would both become {name}", remedy="rename one of them")
        owners[key(name)] = source
    return names


def ignores_case(folder: Path) -> bool:
    """Whether the file system of a folder ignores case, determined without writing anything."""
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
