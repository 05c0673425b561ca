"""Callbacks see the events of a training, may end it, and cost nothing when they fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sivae_translate import Callback, StopTraining, Translator, train
from sivae_translate.training.callbacks import RunInfo
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import TrainingError
from tests.training.test_trainer import assert_same, poison, settings


class Recorder(Callback):
    """Writes down what it is told; raises what it is given, at one event."""

    def __init__(self, at: str = "", error: Exception | None = None) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.at, self.error = at, error

    def note(self, event: str, *values: Any) -> None:
        self.events.append((event, *values))
        if event == self.at and self.error is not None:
            raise self.error

    def on_start(self, run: RunInfo) -> None:
        self.note("start", run.step, run.domains)

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        assert {"reconstruction", "steps_per_second"} <= set(metrics)
        self.note("metrics", step)

    def on_picture(self, step: int, path: Path) -> None:
        assert path.is_file()
        self.note("picture", step, path.name)

    def on_checkpoint(self, step: int, folder: Path) -> None:
        assert any(folder.iterdir())
        self.note("checkpoint", step)

    def on_end(self, outcome: str) -> None:
        self.note("end", outcome)


def test_every_event_comes_in_order(tmp_path: Path, data: Any) -> None:
    seen = Recorder()
    train(settings(steps=8, picture_every=4), tmp_path, data=data, callbacks=[seen])
    assert seen.events == [
        ("start", 0, ("left", "right")),
        ("checkpoint", 0),
        ("metrics", 2),
        ("metrics", 4),
        ("picture", 4, "step-00000004.png"),
        ("checkpoint", 4),
        ("metrics", 6),
        ("metrics", 8),
        ("picture", 8, "step-00000008.png"),
        ("checkpoint", 8),
        ("picture", 8, "grid.png"),
        ("end", "finished"),
    ]


def test_a_callback_can_end_the_run_with_a_model(tmp_path: Path, data: Any) -> None:
    stopper = Recorder("metrics", StopTraining("good enough"))
    run = train(settings(), tmp_path, data=data, callbacks=[stopper])
    assert stopper.events[-1] == ("end", "stopped")
    assert Translator.from_pretrained(run).facts["steps"] == 2
    later = Recorder()
    train(settings(), tmp_path, data=data, resume=True, callbacks=[later])  # and it can go on
    assert later.events[0][:2] == ("start", 2)
    assert Translator.from_pretrained(run).facts["steps"] == 12


def test_callbacks_that_fail_cost_nothing(
    tmp_path: Path, data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("metrics", "picture", "checkpoint", "end")
    bad, good = [Recorder(name, ValueError("no route to the tracker")) for name in names], Recorder()
    whole = train(settings(steps=4, picture_every=2), tmp_path / "a", data=data)
    run = train(settings(steps=4, picture_every=2), tmp_path / "b", data=data, callbacks=[*bad, good])
    assert_same(whole, run)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("goes on without it: ValueError: no route") == len(names)
    assert [one.events[-1][0] for one in bad] == [*names]  # none is called again
    assert good.events[-1] == ("end", "finished")


def test_an_error_at_the_start_ends_the_run_before_its_first_step(tmp_path: Path, data: Any) -> None:
    bad = Recorder("start", ValueError("not logged in"))
    with pytest.raises(ValueError, match="not logged in"):
        train(settings(), tmp_path, data=data, callbacks=[bad])
    assert bad.events[-1] == ("end", "failed")
    assert not (tmp_path / "checkpoints").exists()


def test_a_training_that_fails_says_so(tmp_path: Path, data: Any) -> None:
    seen = Recorder()
    trainer = Trainer(settings(max_rollbacks=0, log_every=1), tmp_path, data=data, callbacks=[seen])
    poison(trainer, {6})
    with pytest.raises(TrainingError, match="diverged again"):
        trainer.run()
    assert seen.events[-1] == ("end", "failed")
