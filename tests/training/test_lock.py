"""Two trainings do not share a run folder; what a killed one has left is taken over."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sivae_translate.training import lock
from sivae_translate.training.lock import NAME, locked
from sivae_translate.utils.errors import OutputError


def owner(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((path / NAME).read_text())
    return value


def leave(path: Path, **changes: Any) -> None:
    """The lock of another process."""
    with locked(path):
        value = owner(path) | changes
    (path / NAME).write_text(json.dumps(value))


def test_a_lock_names_its_owner_and_goes_with_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"), locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()
        raise RuntimeError("broken")
    assert not list(tmp_path.iterdir())


def test_a_second_training_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(OutputError, match=f"process {os.getpid()} on .*"), locked(tmp_path):
            pass
        assert owner(tmp_path)["pid"] == os.getpid()


def test_a_living_process_keeps_its_lock(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        leave(tmp_path, pid=other.pid, started=lock._started(other.pid))
        with pytest.raises(OutputError, match=f"process {other.pid}"), locked(tmp_path):
            pass
        other.communicate(b"\n")
    with locked(tmp_path):  # it has ended
        assert owner(tmp_path)["pid"] == os.getpid()


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},  # no process has so large a number
        {"started": -1},  # the number of a process before this one
        {"pid": os.getppid(), "started": -1},
    ],
)
def test_a_lock_that_was_left_behind_is_taken_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    leave(tmp_path, **changes)
    with locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


def test_a_half_written_lock_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    (tmp_path / NAME).write_text('{"host": ')
    with locked(tmp_path):
        assert owner(tmp_path)["pid"] == os.getpid()


def test_another_machine_keeps_its_lock(tmp_path: Path) -> None:
    leave(tmp_path, host="elsewhere", pid=2**22 + 1)
    with pytest.raises(OutputError, match="on elsewhere"), locked(tmp_path):
        pass


def count(folder: Path, rounds: int, results: Any) -> None:
    """Add 1 to a file so many times, each under the lock."""
    file = folder / "count"
    done = 0
    while done < rounds:
        try:
            with locked(folder):
                file.write_text(str(int(file.read_text()) + 1))
                done += 1
        except OutputError:
            continue
    results.put(done)


def test_of_many_processes_one_at_a_time_has_the_lock(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    leave(tmp_path, pid=2**22 + 1)  # all of them find a stale one first
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=count, args=(tmp_path, 30, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert sum(results.get(timeout=60) for _ in workers) == 90
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "90"
