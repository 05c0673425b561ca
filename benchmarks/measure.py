"""Measuring: the machine's limits, medians of alternating runs, operation counts, peak memory."""

from __future__ import annotations

import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from sivae_translate.utils.measuring import seconds
from sivae_translate.utils.tables import markdown_table

Figures = dict[str, float]

MATRIX = 2048
COPIED = 2**26
"""Floats in the copy that measures bandwidth: 256 MB, more than any cache."""


def alternate(
    contestants: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each function, run in turns so that other work on the machine affects all alike.

    The first round is a warm-up.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, work in contestants.items():
            times[name].append(seconds(work, device))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def peaks(device: torch.device, rounds: int = 5) -> Figures:
    """FLOP/s of a square matrix product in float32 and bfloat16 and bytes/s of a copy (read plus written)."""
    found: Figures = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = (torch.randn(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
        best = min(seconds(lambda a=a, b=b: a @ b, device) for _ in range(rounds))  # type: ignore[misc]
        found[f"{name} FLOP/s"] = 2 * MATRIX**3 / best
    source = torch.ones(COPIED, device=device)
    target = torch.zeros_like(source)
    found["bytes/s"] = (
        2 * 4 * COPIED / min(seconds(lambda: target.copy_(source), device) for _ in range(rounds))
    )
    return found


def machine(device: torch.device) -> dict[str, str | int]:
    """Description of the machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "processor": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The processor's name, as reported by Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )


def peak_memory(module: str, arguments: Sequence[str]) -> float:
    """Peak memory in bytes of ``python -m module arguments``, which prints it in its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True
    )
    return float(done.stdout.splitlines()[-1])


def resident() -> float:
    """Peak memory of this process in bytes, as reported by Linux (getrusage's value is inherited)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024.0 * float(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def table(rows: Mapping[str, Mapping[str, float]], columns: Sequence[str]) -> str:
    """A Markdown table with one row per contestant and four digits per number."""
    cells = ([name, *(f"{row[c]:.4g}" if c in row else "" for c in columns)] for name, row in rows.items())
    return "\n".join(markdown_table(["", *columns], cells))
