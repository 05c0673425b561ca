"""Training with one and several processes on this machine: images per second at the same global batch.

    python -m benchmarks.scaling --steps 60

Every case is a separate training through the command line. Times run from the first logged step to the last,
so start-up and the last checkpoint do not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import measure
from benchmarks.common import read_options
from sivae_translate.training.log import read_metrics
from sivae_translate.utils.files import write_json

BATCH = 64
EVERY = 10
"""Steps between two log entries."""


def images_a_second(processes: int, threads: int, steps: int) -> float:
    """Images per second of all processes, in a short training on glyphs with fakes from the start."""
    settings = {
        "training.steps": steps,
        "training.batch": BATCH,
        "training.log_every": EVERY,
        "training.picture_every": 0,
        "training.device": "cpu",
        "objective.introspection_from": 0.0,
        "objective.back_translation_from": 0.0,
    }
    given = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    launch = (
        ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        if processes > 1
        else []
    )
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable,
            *launch,
            "-m",
            "sivae_translate",
            "train",
            "demo",
            "--out",
            str(out),
            *given,
        ]
        subprocess.run(
            command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
        )
        lines = read_metrics(out)
    first, last = lines[0], lines[-1]
    return float(BATCH * (last["step"] - first["step"]) / (last["seconds"] - first["seconds"]))


def run(steps: int, cores: int) -> dict[str, Any]:
    """Compare one thread, all threads in one process, and one process per core; with ratios to one thread."""
    cases = {
        "1 process, 1 thread": (1, 1),
        f"1 process, {cores} threads": (1, cores),
        f"{cores} processes": (cores, 1),
    }
    rates = {name: images_a_second(processes, threads, steps) for name, (processes, threads) in cases.items()}
    one = rates["1 process, 1 thread"]
    rows = {name: {"images/s": rate, "times one thread": rate / one} for name, rate in rates.items()}
    return {"machine": measure.machine(torch.device("cpu")), "batch": BATCH, "rows": rows}


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    steps: int = 60
    cores: int = 2
    out: Path | None = None
    """JSON file to write."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    found = run(given.steps, given.cores)
    if given.out:
        write_json(given.out, found)
    print(json.dumps(found["machine"]))
    print(measure.table(found["rows"], ["images/s", "times one thread"]))
