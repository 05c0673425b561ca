"""All measurements on a GPU, unattended, in under four minutes.

    python -m benchmarks.gpu --out build/gpu
    python -m benchmarks.gpu --out build/gpu --parts steps translation

The parts are the CUDA tests; whether steps from a CUDA graph equal eager ones; training steps against the
published ones, with their share of the measured peak, kernel time and launches; translation; files to files.
Results are written to gpu.json and gpu.md after every row, so an interrupted run keeps what it has measured.
Every part has a time budget. A row that fails is recorded with its error, and the others continue. Without a
GPU, small sizes run on the CPU, and parts that need a GPU say so.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks import files, launches, measure, train_step, translate
from benchmarks.common import read_options
from benchmarks.measure import Figures
from benchmarks.operators import count_operators
from sivae_translate.config import TrainingConfig
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.devices import pick_device, pick_dtype
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.measuring import count_flops
from sivae_translate.utils.tables import markdown_table

ROOT = Path(__file__).parents[1]
Part = Literal["tests", "graph", "steps", "translation", "files"]
Values = Mapping[str, float | str]
Rows = Mapping[str, Values]
Work = Callable[[], Rows]


class NotRunError(Exception):
    """A row that cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Machine:
    """Where the measurements run.

    Attributes:
        device: the device of the models.
        peak: its measured limits.
    """

    device: torch.device
    peak: Figures

    @property
    def large(self) -> bool:
        """Whether to measure the sizes for a GPU."""
        return self.device.type == "cuda"

    def require_cuda(self) -> None:
        """Raises NotRunError without a GPU."""
        if not self.large:
            raise NotRunError("there is no CUDA device")

    def limit(self, dtype: torch.dtype) -> float:
        """Measured peak of matrix products, in FLOP/s."""
        return self.peak["float32 FLOP/s" if dtype == torch.float32 else "bfloat16 FLOP/s"]


def tests(machine: Machine) -> Iterator[tuple[str, Work]]:
    """The tests that compare a CUDA device with the CPU."""

    def work() -> Rows:
        machine.require_cuda()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests"]
        output = subprocess.run(
            command, cwd=ROOT, timeout=90, capture_output=True, text=True, check=False
        ).stdout
        counts = {name: float(number) for number, name in re.findall(r"(\d+) (passed|failed|error)", output)}
        failed = ", ".join(re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE))
        return {"pytest -m cuda": {**counts, "result": f"failed: {failed}" if failed else "passed"}}

    yield "pytest -m cuda", work


def graph(machine: Machine) -> Iterator[tuple[str, Work]]:
    """Whether steps from a CUDA graph equal eager ones."""

    def work() -> Rows:
        if "graph" not in TrainingConfig.model_fields:
            raise NotRunError("there is no setting training.graph")
        machine.require_cuda()
        raise NotRunError("training.graph exists, but this comparison does not yet")

    yield "weights after 50 steps, eager against graph", work


def steps(machine: Machine) -> Iterator[tuple[str, Work]]:
    """Training steps: published, ours with the same gradients, our default; then our own networks."""
    sizes: list[tuple[train_step.Side, int]] = [(32, 32), (256, 32)] if machine.large else [(32, 4)]
    for side, batch in sizes:
        yield f"published network, {side} px, batch {batch}", partial(_published, machine, side, batch)
    own: list[tuple[train_step.Side, int]] = [(64, 32), (256, 64)] if machine.large else [(64, 4)]
    for side, batch in own:
        yield f"default model, {side} px, batch {batch}", partial(_default, machine, side, batch)
    yield "operators", _operators


def _published(machine: Machine, side: train_step.Side, batch: int) -> Rows:
    """Three steps on the published network, in turns."""
    names = {
        "published": "published step",
        "channels_last": "ours, same gradients",
        "no error of fakes": "ours, default",
    }
    works = {name: train_step.contestant(name, side, batch, machine.device) for name in names}
    medians = measure.alternate(works, 5, machine.device)
    dtype, rows = pick_dtype("auto", machine.device), {}
    for name, work in works.items():
        limit = machine.limit(torch.float32 if name == "published" else dtype)
        row = train_step.figures(count_flops(work), medians[name], batch, limit)
        row["times as fast"] = medians["published"] / medians[name]
        rows[f"{side} px, batch {batch}: {names[name]}"] = row | _launches(machine, work)
    return rows


def _default(machine: Machine, side: train_step.Side, batch: int) -> Rows:
    """Our networks with the default settings and all parts of the objective."""
    dtype = pick_dtype("auto", machine.device)
    work = train_step.translation_step(side, batch, machine.device, 1.0, dtype)
    median = measure.alternate({"ours": work}, 5, machine.device)["ours"]
    row = train_step.figures(count_flops(work), median, batch, machine.limit(dtype))
    return {f"{side} px, batch {batch}: default model": row | _launches(machine, work)}


def _launches(machine: Machine, work: Callable[[], object]) -> Figures:
    return launches.profile(work, machine.device) if machine.large else {}


def _operators() -> Rows:
    """Operators that a step dispatches on the CPU, after the first steps."""
    return {
        f"64 px, {phase}": {"operators": float(count.total())} for phase, count in count_operators().items()
    }


def translation(machine: Machine) -> Iterator[tuple[str, Work]]:
    """The model alone, one image at a time and in batches, in both precisions."""
    for side, batch in [(64, 1), (64, 64), (256, 1), (256, 64)] if machine.large else [(64, 1), (64, 8)]:
        yield f"{side} px, batch {batch}", partial(_translation, machine, side, batch)


def _translation(machine: Machine, side: int, batch: int) -> Rows:
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    images = torch.rand(batch, 3, side, side, device=machine.device)
    works: dict[str, Callable[[], object]] = {}
    for dtype in precisions:
        engine = translate.untrained(side, str(machine.device), dtype).engine
        style = engine.prior_mean(1).expand(batch, -1)
        works[dtype] = partial(engine.translate, engine.place(images), style)
    medians = measure.alternate(works, 30 if machine.large else 5, machine.device)
    return {
        f"{side} px, batch {batch}, {dtype}": {
            "images/s": batch / medians[dtype],
            "ms": 1000 * medians[dtype],
            "share of peak": count_flops(work) / medians[dtype] / machine.limit(getattr(torch, dtype)),
        }
        | _launches(machine, work)
        for dtype, work in works.items()
    }


def files_to_files(machine: Machine) -> Iterator[tuple[str, Work]]:
    """JPEG files to PNG files, by threads and by processes."""
    for side, count in [(64, 2000), (256, 1000)] if machine.large else [(64, 64)]:
        yield f"{side} px", partial(_files, machine, side, count)
    if machine.large:
        yield "256 px, WebP", partial(_files, machine, 256, 1000, "webp")


def _files(machine: Machine, side: int, count: int, kind: Literal["png", "webp"] = "png") -> Rows:
    workers = (0, files.default_workers()) if kind == "png" else (files.default_workers(),)
    rows = files.compare(side, count, 1, str(machine.device), workers, (kind,))
    return {f"{side} px, {name}": values for name, values in rows.items()}


PARTS: dict[Part, tuple[float, Callable[[Machine], Iterator[tuple[str, Work]]]]] = {
    "steps": (80, steps),
    "translation": (30, translation),
    "files": (45, files_to_files),
    "graph": (20, graph),
    "tests": (45, tests),
}
"""Time budget in seconds and rows of each part, in order: what only a GPU can show comes first."""


@dataclass
class Report:
    """The results so far, also on disk.

    Args:
        out: folder of gpu.json and gpu.md.
        about: facts about the machine.
        parts: rows by part.
        began: time of the start.
    """

    out: Path
    about: Mapping[str, object]
    parts: dict[str, dict[str, dict[str, float | str]]] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def add(self, part: str, rows: Rows) -> None:
        """Add rows and write all results."""
        self.parts.setdefault(part, {}).update({name: dict(values) for name, values in rows.items()})
        seconds = time.perf_counter() - self.began
        write_json(self.out / "gpu.json", {**self.about, "seconds": seconds, **self.parts})
        write_text(self.out / "gpu.md", self.markdown())

    def markdown(self) -> str:
        """One table for each part."""
        lines = [
            "# On a GPU" if self.about["device"] == "cuda" else "# Without a GPU: small sizes on the CPU"
        ]
        lines += ["", ", ".join(f"{name}: {_cell(value)}" for name, value in self.about.items())]
        for part, rows in self.parts.items():
            columns = list(dict.fromkeys(name for row in rows.values() for name in row))
            cells = [
                [name, *(_cell(row.get(column, "")) for column in columns)] for name, row in rows.items()
            ]
            lines += ["", f"## {part}", "", *markdown_table(["", *columns], cells)]
        return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_cell(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run(out: Path, device: str = "auto", parts: tuple[Part, ...] = ()) -> Report:
    """Run all parts, or the named ones.

    Args:
        out: folder of gpu.json and gpu.md.
        device: where to run; without a GPU the sizes are small.
        parts: names of parts; none means all.
    """
    place = pick_device(device)
    machine = Machine(place, measure.peaks(place))
    about: dict[str, Any] = {"device": place.type, "machine": measure.machine(place), "peaks": machine.peak}
    report = Report(out, about)
    for name, (budget, rows) in PARTS.items():
        if not parts or name in parts:
            _run_part(report, name, budget, rows(machine))
    return report


def _run_part(report: Report, part: str, budget: float, rows: Iterator[tuple[str, Work]]) -> None:
    """Run the rows of a part until its time is over, and record failures."""
    began = time.perf_counter()
    for name, work in rows:
        try:
            if time.perf_counter() - began > budget:
                raise NotRunError(f"the {budget:.0f} s for this part are used up")
            results: Rows = work()
        except NotRunError as error:
            results = {name: {"result": f"not run: {error}"}}
        except Exception as error:  # whatever it is, the other rows continue
            message = str(error) or "no message"
            results = {name: {"result": f"failed: {type(error).__name__}: {message.splitlines()[0][:200]}"}}
        report.add(part, results)
        for title, values in results.items():
            shown = ", ".join(f"{key} {_cell(value)}" for key, value in values.items())
            print(f"{part}: {title}: {shown}", flush=True)
        if report.about["device"] == "cuda":
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    out: Path
    """Folder for gpu.json and gpu.md."""
    device: str = "auto"
    parts: tuple[Part, ...] = ()
    """Parts to run; all by default."""


if __name__ == "__main__":
    options = read_options(Options, __doc__)
    report = run(options.out, options.device, options.parts)
    print(f"{time.perf_counter() - report.began:.0f} s; written to {options.out / 'gpu.md'}")
