"""``make bench``: short versions of the speed benchmarks, in under six minutes on two cores.

    python -m benchmarks.short

Writes benchmarks/results/<machine>.json and .md. On CPUs look at the ratios and the fractions of the measured
peak; absolute times depend on what else the machine is doing.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import loader, measure, toy_step, train_step, translate
from benchmarks.common import read_options
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.tables import markdown_table

RESULTS = Path(__file__).parent / "results"
SIDE = 32
BATCH = 16


def run(device: str) -> dict[str, Any]:
    """Run all benchmarks; the result includes the machine and the duration."""
    began, place = time.perf_counter(), pick_device(device)
    trained = train_step.run([SIDE], [32, 64], BATCH, rounds=5, device=place)
    return {
        **trained,
        "2D step": toy_step.run(rounds=5, steps=5),
        "loader": loader.run(2_000, start_only=False)["rows"],
        "translate": translate.run([64], 300, 5, device),
        "seconds": time.perf_counter() - began,
    }


def summary(found: dict[str, Any]) -> str:
    """A table of the most important ratios."""
    steps, files = found[f"{SIDE} px, published network"], found["translate"]["64 px, files"]["ours"]
    ours = steps["channels_last"]
    alone, loaded = found["translate"]["64 px, batch 64"], found["loader"]
    low = found["peaks"]["bfloat16 FLOP/s"] / found["peaks"]["float32 FLOP/s"]
    rows = {
        f"training step, published network, {SIDE} px: times as fast as the published step": ours[
            "times as fast"
        ],
        "the same without the reconstruction error in the expELBO (the default)": steps["no error of fakes"][
            "times as fast"
        ],
        "share of the measured bfloat16 peak in that step": ours["share of peak"],
        "bfloat16 matrix product against float32, the most that the number format can give": low,
        "2D step, bfloat16: times as fast as the published step": found["2D step"][
            "ours, bfloat16, times as fast"
        ],
        "translation at 64 px, batch 64: share of the measured bfloat16 peak": alone["ours"]["share of peak"],
        "the same in images/s": alone["ours"]["images/s"],
        "nine-block generator, images/s": alone["nine blocks, float32"]["images/s"],
        "files to files at 64 px, images/s": files["files to files, images/s"],
        "loader with cached images, images/s": loaded["second start"]["images/s"],
        "loader decoding JPEGs of 256 px each time, images/s": loaded["no cache"]["images/s"],
    }
    cells = ([name, f"{value:.3g}"] for name, value in rows.items())
    return "\n".join(markdown_table(["what", "measured"], cells)) + "\n"


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    device: str = "auto"


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    results = run(given.device)
    about = measure.machine(pick_device(given.device))
    name = re.sub(r"[^a-z0-9]+", "-", f"{about['processor']} {about['threads']} threads".lower()).strip("-")
    write_json(RESULTS / f"{name}.json", results)
    write_text(RESULTS / f"{name}.md", summary(results))
    print(summary(results))
    print(f"{results['seconds']:.0f} s; written to benchmarks/results/{name}.json")
