"""Files to files: threads against processes that decode and encode, in turns, and the formats.

    python -m benchmarks.files --sides 64 256 --files 500
    python -m benchmarks.files --workers 0 2 4 8 16 --formats png jpg webp

The model is ours with the default sizes, untrained. Two numbers a row: images a second, and milliseconds of
all cores an image, which depend less on what else the machine does; the best of the rounds each.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.common import read_options
from benchmarks.measure import Figures
from benchmarks.translate import untrained, write_sources
from sivae_translate.inference.codec_pool import MOST_WORKERS
from sivae_translate.inference.folders import translate_files
from sivae_translate.utils.choices import ImageFormat
from sivae_translate.utils.cores import core_count
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.files import write_json


def compare(
    side: int,
    count: int,
    rounds: int,
    device: str,
    workers: Sequence[int],
    formats: Sequence[ImageFormat] = ("png",),
) -> dict[str, Figures]:
    """Every number of processes with every format, in turns.

    Args:
        side: of the images.
        count: files.
        rounds: of which the best counts.
        device: where the model is.
        workers: numbers of processes; 0 is threads.
        formats: of the outputs.
    """
    root = Path(tempfile.mkdtemp(prefix="files-"))
    rows: dict[str, Figures] = {}
    try:
        write_sources(root / "in", side, count)
        translator = untrained(side, device)
        for _ in range(rounds):
            for kind in formats:
                for number in workers:
                    out, began, used = root / "out", time.perf_counter(), _core_seconds()
                    translate_files(
                        translator, [root / "in"], "night", out, encoding=Encoding(kind), workers=number
                    )
                    found = {
                        "images/s": count / (time.perf_counter() - began),
                        "core ms an image": 1000 * (_core_seconds() - used) / count,
                    }
                    shutil.rmtree(out)
                    name = f"{kind}, {f'{number} processes' if number else 'threads'}"
                    rows[name] = _better(rows.get(name, found), found)
    finally:
        shutil.rmtree(root)
    return rows


def default_workers() -> int:
    """Processes that many images get unasked, but at least two."""
    return max(2, min(core_count(), MOST_WORKERS))


def _better(one: Figures, other: Figures) -> Figures:
    return {
        "images/s": max(one["images/s"], other["images/s"]),
        "core ms an image": min(one["core ms an image"], other["core ms an image"]),
    }


def _core_seconds() -> float:
    """That this process and those it has waited for have used."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


@dataclass(frozen=True)
class Options:
    """What the command line takes."""

    sides: tuple[int, ...] = (64, 256)
    files: int = 500
    rounds: int = 3
    workers: tuple[int, ...] = (0, 2)
    """Numbers of processes; 0 is threads."""
    formats: tuple[ImageFormat, ...] = ("png",)
    device: str = "auto"
    out: Path | None = None
    """JSON file."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    found: dict[str, Any] = {"machine": measure.machine(pick_device(given.device))}
    print(json.dumps(found["machine"]))
    for size in given.sides:
        title = f"{size} px"
        found[title] = compare(size, given.files, given.rounds, given.device, given.workers, given.formats)
        print(f"\n{title}\n\n{measure.table(found[title], ['images/s', 'core ms an image'])}", flush=True)
    if given.out:
        write_json(given.out, found)
