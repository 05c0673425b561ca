"""The benchmark for a GPU runs unattended: without one on small sizes, and whatever fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu, launches, measure

PEAKS = {"float32 FLOP/s": 1e11, "bfloat16 FLOP/s": 2e11, "bytes/s": 1e10}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "peaks", lambda _: PEAKS)


@pytest.mark.full
def test_every_part_runs_on_a_cpu_or_says_why_not(tmp_path: Path) -> None:
    gpu.run(tmp_path, "cpu")
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert set(gpu.PARTS) <= set(found)
    assert "no CUDA device" in found["tests"]["pytest -m cuda"]["result"]
    assert "not run" in found["graph"]["weights after 50 steps, bfloat16"]["result"]
    ours = found["steps"]["32 px, batch 4: ours, same gradients"]
    assert ours["ms"] > 0 < ours["share of peak"]
    assert found["steps"]["64 px, introspection"]["operators"] > 1000
    assert found["loading"]["64 px, batch 8: on the device"]["images/s"] > 0
    assert found["translation"]["64 px, batch 8, bfloat16"]["images/s"] > 0
    assert found["files"]["64 px, png, threads"]["images/s"] > 0
    results = [row.get("result", "") for part in gpu.PARTS for row in found[part].values()]
    assert not [result for result in results if "failed" in result]
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert table.startswith("# Without a GPU")
    assert "| 64 px, png, threads |" in table


def test_what_fails_is_noted_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(_: gpu.Machine) -> Iterator[tuple[str, gpu.Work]]:
        yield "broken", lambda: {"x": {"ms": 1 / 0}}
        yield "sound", lambda: {"sound": {"ms": 2.5}}
        monkeypatch.setattr(time, "perf_counter", lambda: 1e9)
        yield "late", lambda: {"late": {"ms": 1.0}}

    monkeypatch.setattr(gpu, "PARTS", {"steps": (1e6, rows), "files": (1e6, rows)})
    gpu.run(tmp_path, "cpu", parts=("steps",))
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert found["steps"] == {
        "broken": {"result": "failed: ZeroDivisionError: division by zero"},
        "sound": {"ms": 2.5},
        "late": {"result": "not run: the 1000000 s for this part are used up"},
    }
    assert "files" not in found


def test_launches_and_kernels_are_told_apart() -> None:
    def event(name: str, device: str, microseconds: float = 0.0) -> SimpleNamespace:
        return SimpleNamespace(
            name=name,
            device_type=SimpleNamespace(name=device),
            time_range=SimpleNamespace(elapsed_us=lambda: microseconds),
        )

    events = [
        event("aten::mul", "CPU"),
        event("cudaLaunchKernel", "CPU"),
        event("cudaGraphLaunch", "CPU"),
        event("void multiply<float>", "CUDA", 1500.0),
        event("Memcpy HtoD", "CUDA", 500.0),
    ]
    assert launches.count_events(events) == {"kernel ms": 2.0, "kernels": 2, "launches": 2}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="profiles a CUDA device, and there is none")
def test_a_product_is_a_kernel() -> None:
    a = torch.rand(512, 512, device="cuda")
    found = launches.profile(lambda: a @ a, a.device)
    assert found["kernels"] >= 1 <= found["launches"]
    assert found["kernel ms"] > 0
