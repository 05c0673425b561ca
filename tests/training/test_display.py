"""What a training shows where standard error is a file: a line now and then, and one message an interrupt."""

from __future__ import annotations

import os
import re
import signal
import time
from typing import Any

import pytest

from sivae_translate.config import TrainingConfig
from sivae_translate.training import display
from sivae_translate.training.budget import Budget
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.signals import collect_signals
from sivae_translate.utils.progress import console

METRICS = {"reconstruction": 12.5, "kl_content": 3.0, "kl_style": 2.0}


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_file_gets_the_first_line_the_last_and_one_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, now = Budget(TrainingConfig(steps=1000), 100), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with display.shown(budget) as shown:
        for step in range(1, 1001):
            now[0] += 0.5
            shown.show(Progress(step=step), 2.0, METRICS if step % 20 == 0 else {})
    lines = lines_of(capsys)
    assert [int(re.findall(r"step (\d+) of 1000", line)[0]) for line in lines] == [
        *range(20, 900, 120),
        980,
        1000,
    ]
    assert lines[0] == "step 20 of 1000: rec 12.5  kl 3+2  2.0 steps/s, 0:08:10 left"


def test_rare_metrics_give_rare_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with display.shown(Budget(TrainingConfig(minutes=60), 100)) as shown:
        for step in (1, 2, 3):
            now[0] += 600
            shown.show(Progress(step=step, seconds=now[0]), 1.0, METRICS if step != 2 else {})
    lines = lines_of(capsys)
    assert [line.partition(":")[0] for line in lines] == [
        "step 1 (10.0 of 60 min)",
        "step 3 (30.0 of 60 min)",
    ]
    assert lines[1].endswith("0:30:00 left")


def test_a_silent_display_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with display.shown(Budget(TrainingConfig(steps=2), 100), silent=True) as shown:
        shown.show(Progress(step=2), 1.0, METRICS)
    assert not lines_of(capsys)


@pytest.mark.parametrize(("silent", "count"), [(False, 1), (True, 0)])
def test_of_several_processes_one_speaks_of_an_interrupt(
    capsys: pytest.CaptureFixture[str], silent: bool, count: int
) -> None:
    with collect_signals(silent=silent) as received:
        os.kill(os.getpid(), signal.SIGTERM)
    assert received == [signal.SIGTERM]
    assert len(lines_of(capsys)) == count


def test_long_lines_are_not_wrapped_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    path: Any = "/a folder/" + "long name " * 40 + ".png"
    console.print(f"  {path}: cannot be read", highlight=False, markup=False)
    assert lines_of(capsys) == [f"  {path}: cannot be read"]
