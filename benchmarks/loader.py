"""Speed of the loader and of the start of training, with and without the cache of decoded images.

    python -m benchmarks.loader --files 10000
    python -m benchmarks.loader --files 100000 --start-only     # the index of a large set

The files are JPEGs of 256 x 256 pixels with random smooth colours, in a temporary folder; --start-only writes
one and links to it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import measure
from benchmarks.common import read_options
from sivae_translate.config import DataConfig
from sivae_translate.data.batches import TrainingBatches, iterate
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import split_training
from sivae_translate.utils.files import write_json

PIXELS = 256
BATCH = 64
LINKS = 50_000
"""Most links to a file: file systems allow 65,000."""
DRAWN = 40
"""Number of batches to measure a rate over."""


def write_files(root: Path, count: int, *, links: bool) -> None:
    """Write JPEGs of two domains; with ``links``, all are the same file."""
    rng = np.random.default_rng(0)
    first: Path | None = None
    for index in range(count):
        path = root / ("day", "night")[index % 2] / f"{index:06}.jpg"
        path.parent.mkdir(exist_ok=True)
        if links and first is not None and index % LINKS:
            os.link(first, path)
            continue
        coarse = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
        written = io.BytesIO()
        picture.save(written, "JPEG", quality=90)
        path.write_bytes(written.getvalue())
        first = path


def rate(config: DataConfig) -> tuple[float, float]:
    """Seconds to load the data, and images per second of the loader."""
    began = time.perf_counter()
    data = load_data(config)
    started = time.perf_counter() - began
    batches = TrainingBatches(data, config, BATCH, 0, split_training(data.train, 0))
    stream = iterate(batches, 0, DRAWN + 1, config.workers)
    next(stream)
    began = time.perf_counter()
    drawn = sum(len(batch.images) for batch in stream)
    return started, drawn / (time.perf_counter() - began)


def run(count: int, *, start_only: bool) -> dict[str, Any]:
    """Measure the first start, a start from the cache, and no cache with and without worker processes."""
    root = Path(tempfile.mkdtemp(prefix="loader-"))
    try:
        (root / "images").mkdir()
        write_files(root / "images", count, links=start_only)
        base = DataConfig(root=root / "images", image_size=32 if start_only else 64, cache=root / "cache")
        cases = {"first start": base, "second start": base}
        if not start_only:
            uncached = base.model_copy(update={"cache_megabytes": 0})
            cases |= {"no cache": uncached, "no cache, 2 workers": uncached.model_copy(update={"workers": 2})}
        rows = {}
        for name, config in cases.items():
            started, images = rate(config)
            rows[name] = {"start, s": started, "images/s": images}
        return {"machine": measure.machine(torch.device("cpu")), "files": count, "rows": rows}
    finally:
        shutil.rmtree(root)


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    files: int = 10_000
    start_only: bool = False
    """Only measure how long a start takes."""
    out: Path | None = None
    """JSON file to write."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    found = run(given.files, start_only=given.start_only)
    if given.out:
        write_json(given.out, found)
    print(json.dumps(found["machine"]))
    print(measure.table(found["rows"], ["start, s", "images/s"]))
