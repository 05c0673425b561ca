"""Processes are bounded by the cores that can be used."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sivae_translate.data import batches
from sivae_translate.utils import cores


def test_more_processes_than_cores_are_not_started(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(cores, "core_count", lambda: 4)
    assert [cores.bounded_by_cores(asked, "data.workers") for asked in (0, 3, 4)] == [0, 3, 4]
    assert not recwarn
    with pytest.warns(UserWarning, match=r"data\.workers is 1000, but 4 cores .* set data\.workers to 4"):
        assert cores.bounded_by_cores(1000, "data.workers") == 4


def test_loading_starts_no_more_processes_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def loader(*_: Any, num_workers: int, **__: Any) -> list[Any]:
        started.append(num_workers)
        return []

    monkeypatch.setattr(cores, "core_count", lambda: 4)
    monkeypatch.setattr(batches, "DataLoader", loader)
    with pytest.warns(UserWarning, match=r"data\.workers is 1000"):
        list(batches.iterate(SimpleNamespace(in_process=False), 0, 1, 1000))
    assert started == [4]
