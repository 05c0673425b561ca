"""Which file becomes which: the outputs of a folder's translation, checked before work starts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sivae_translate.data.listing import list_images
from sivae_translate.utils.errors import InputError


@dataclass(frozen=True, slots=True)  # there may be millions
class Job:
    """An image file and its output."""

    source: Path
    target: Path


def plan_jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    """Every image of the inputs with its output, a PNG file at the same place below ``out``.

    Raises:
        DataError: an input is missing or a folder without images.
        InputError: two inputs would become one output, or an output would replace an input.
    """
    jobs = [Job(source, out / place.with_suffix(".png")) for source, place in list_images(inputs)]
    _check_no_two_share_a_target(jobs)
    _check_no_input_is_replaced(jobs)
    return jobs


def _check_no_two_share_a_target(jobs: Sequence[Job]) -> None:
    owners: dict[Path, Path] = {}
    for job in jobs:
        if job.target in owners:
            raise InputError(
                f"{owners[job.target]} and {job.source} would both become {job.target}",
                remedy="rename one of them",
            )
        owners[job.target] = job.source


def _check_no_input_is_replaced(jobs: Sequence[Job]) -> None:
    # Links are followed folder by folder: a set of every input's real path would cost a look at the disk and
    # memory for each.
    folders: dict[Path, Path] = {}
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
