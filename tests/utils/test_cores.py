"""Processes are bounded by the cores that can be used."""

from __future__ import annotations

import pytest

from sivae_translate.utils import cores


def test_more_processes_than_cores_are_not_started(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(cores, "core_count", lambda: 4)
    assert [cores.bounded_by_cores(asked, "data.workers") for asked in (0, 3, 4)] == [0, 3, 4]
    assert not recwarn
    with pytest.warns(UserWarning, match=r"data\.workers is 1000, but 4 cores .* set data\.workers to 4"):
        assert cores.bounded_by_cores(1000, "data.workers") == 4
