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

import numpy as np
import torch

from benchmarks import files, launches, measure, train_step, translate
from benchmarks.common import read_options
from benchmarks.measure import Figures
from benchmarks.operators import count_operators
from sivae_translate.config import AugmentConfig, DataConfig, ModelConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch, TrainingBatches
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.resident import ResidentBatches
from sivae_translate.data.splits import split_training
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.devices import autocast, pick_device, pick_dtype
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.measuring import count_flops
from sivae_translate.utils.recording import WARM_UP, CudaRecorder, Recorder
from sivae_translate.utils.tables import markdown_table

ROOT = Path(__file__).parents[1]
EQUAL_STEPS = 50
"""Steps after which weights of eager and replayed steps are compared."""
Part = Literal["tests", "graph", "steps", "loading", "translation", "files"]
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
            command, cwd=ROOT, timeout=60, capture_output=True, text=True, check=False
        ).stdout
        counts = {name: float(number) for number, name in re.findall(r"(\d+) (passed|failed|error)", output)}
        failed = ", ".join(re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE))
        return {"pytest -m cuda": {**counts, "result": f"failed: {failed}" if failed else "passed"}}

    yield "pytest -m cuda", work


def graph(machine: Machine) -> Iterator[tuple[str, Work]]:
    """Whether replayed steps leave the weights of eager ones."""
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        yield f"weights after {EQUAL_STEPS} steps, {name}", partial(_equality, machine, name, dtype)


def _equality(machine: Machine, name: str, dtype: torch.dtype) -> Rows:
    """Distances of weights, relative to how far training has moved them."""
    machine.require_cuda()
    start = _trained(machine.device, 0, dtype, None)
    plain, again = (_trained(machine.device, EQUAL_STEPS, dtype, None) for _ in range(2))
    replayed = _trained(machine.device, EQUAL_STEPS, dtype, CudaRecorder(machine.device))
    way = _distance(start, plain)
    return {
        f"weights after {EQUAL_STEPS} steps, {name}": {
            "eager and replayed": _distance(plain, replayed) / way,
            "eager and eager": _distance(plain, again) / way,
        }
    }


def _trained(
    device: torch.device, count: int, dtype: torch.dtype, recorder: Recorder | None
) -> list[torch.Tensor]:
    """Weights of the default model at 32 px after steps in all phases, always on the same batches."""
    torch.manual_seed(0)
    model = make_model(ModelConfig(), train_step.data_of(32), 2).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = Stepper(make_objective(ObjectiveConfig(), model), 1.0, recorder=recorder)
    domain = torch.arange(8, device=device) // 4
    for number in range(count):
        torch.manual_seed(number)
        images = torch.rand(8, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
        share = number / count
        stepper.step(Batch(images, domain), share, 1e-4, number + 1, lambda: autocast(device, dtype))
    return [parameter.detach() for parameter in model.parameters()]


def _distance(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return float(torch.stack([(a - b).norm() for a, b in zip(one, other, strict=True)]).norm())


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
    """The published step and ours on the published network, in turns; on a GPU ours also replayed."""
    names = {
        "published": "published step",
        "channels_last": "ours, same gradients",
        "no error of fakes": "ours, default",
    }
    works = {name: train_step.contestant(name, side, batch, machine.device) for name in names}
    flops = {name: count_flops(work) for name, work in works.items()}
    for name in [*names][1:] if machine.large else []:
        recorder = CudaRecorder(machine.device)
        works[f"{name}, replayed"] = train_step.contestant(name, side, batch, machine.device, recorder)
        names[f"{name}, replayed"], flops[f"{name}, replayed"] = f"{names[name]}, replayed", flops[name]
    medians = _settled(machine, works, 5)
    dtype, rows = pick_dtype("auto", machine.device), {}
    for name, work in works.items():
        limit = machine.limit(torch.float32 if name == "published" else dtype)
        row = train_step.figures(flops[name], medians[name], batch, limit)
        row["times as fast"] = medians["published"] / medians[name]
        rows[f"{side} px, batch {batch}: {names[name]}"] = row | _launches(machine, work)
    return rows


def _default(machine: Machine, side: train_step.Side, batch: int) -> Rows:
    """Our networks with the default settings and all parts of the objective; on a GPU also replayed."""
    device, dtype = machine.device, pick_dtype("auto", machine.device)
    works = {"default model": train_step.translation_step(side, batch, device, 1.0, dtype)}
    flops = count_flops(works["default model"])
    if machine.large:
        recorder = CudaRecorder(device)
        works["default model, replayed"] = train_step.translation_step(
            side, batch, device, 1.0, dtype, recorder
        )
    medians = _settled(machine, works, 5)
    return {
        f"{side} px, batch {batch}: {name}": train_step.figures(
            flops, medians[name], batch, machine.limit(dtype)
        )
        | _launches(machine, work)
        for name, work in works.items()
    }


def _settled(machine: Machine, works: Mapping[str, Callable[[], object]], rounds: int) -> Figures:
    """Median seconds of each work, after what is to be recorded was recorded."""
    for work in works.values() if machine.large else ():
        for _ in range(WARM_UP + 1):
            work()
    return measure.alternate(works, rounds, machine.device)


def _launches(machine: Machine, work: Callable[[], object]) -> Figures:
    return launches.profile(work, machine.device) if machine.large else {}


def _operators() -> Rows:
    """Operators that a step dispatches on the CPU, after the first steps."""
    return {
        f"64 px, {phase}": {"operators": float(count.total())} for phase, count in count_operators().items()
    }


def loading(machine: Machine) -> Iterator[tuple[str, Work]]:
    """Batches with every augmentation: by the loader, and drawn on the device."""
    sizes: list[tuple[train_step.Side, int]] = [(64, 32), (256, 64)] if machine.large else [(64, 8)]
    for side, batch in sizes:
        yield f"{side} px, batch {batch}", partial(_loading, machine, side, batch)


def _loading(machine: Machine, side: train_step.Side, batch: int) -> Rows:
    rng = np.random.default_rng(0)
    arrays = (rng.integers(0, 256, (2 * batch, side, side, 3), dtype=np.uint8) for _ in range(2))
    data = DomainData(domains=("a", "b"), train=tuple(map(ArrayImages, arrays)))
    changes = dict.fromkeys(AugmentConfig.model_fields, 0.1) | {"flip": True}
    config = DataConfig.model_validate({"image_size": side, "augment": changes})
    sizes = (data, config, batch, 0, split_training(data.train, 0.0))
    kinds = {
        "loader, one process": TrainingBatches(*sizes),
        "on the device": ResidentBatches(machine.device, *sizes),
    }
    works = {name: partial(_load, batches, machine.device) for name, batches in kinds.items()}
    medians = measure.alternate(works, 20 if machine.large else 5, machine.device)
    return {
        f"{side} px, batch {batch}: {name}": {"ms": 1000 * seconds, "images/s": batch / seconds}
        for name, seconds in medians.items()
    }


def _load(batches: TrainingBatches, device: torch.device) -> Batch:
    return batches[0].to(device)


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
    flops = {dtype: count_flops(work) for dtype, work in works.items()}  # a replay has no operators to count
    medians = _settled(machine, works, 30 if machine.large else 5)
    return {
        f"{side} px, batch {batch}, {dtype}": {
            "images/s": batch / medians[dtype],
            "ms": 1000 * medians[dtype],
            "share of peak": flops[dtype] / medians[dtype] / machine.limit(getattr(torch, dtype)),
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
    "loading": (10, loading),
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
