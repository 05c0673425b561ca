"""What a training costs: measured on a copy, said before it begins."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from sivae_translate.config import from_dict
from sivae_translate.training import cost
from sivae_translate.training.budget import Budget
from sivae_translate.training.cost import Phase, describe, measure_phases, seconds_left, steps_left
from sivae_translate.training.trainer import Trainer
from tests.training.conftest import MODEL

PHASES = [Phase(0.0, 0.25, 0.1, 1e9), Phase(0.25, 1.0, 0.4, 5e9)]


def settings(**training: Any) -> Any:
    return from_dict(
        {
            "data": {"image_size": 32, "channels": 1},
            "model": MODEL,
            "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
            "training": {"batch": 8, "picture_every": 0, "device": "cpu", **training},
        },
        "the test",
    )


def test_time_and_steps_are_summed_over_phases() -> None:
    assert seconds_left(PHASES, 1000, 0.0) == pytest.approx(250 * 0.1 + 750 * 0.4)
    assert seconds_left(PHASES, 1000, 0.5) == pytest.approx(500 * 0.4)
    assert steps_left(PHASES, 1000.0, 0.0) == pytest.approx(250 / 0.1 + 750 / 0.4)
    assert steps_left(PHASES, 1000.0, 1.0) == 0


def test_the_line_has_arithmetic_rates_and_what_is_left() -> None:
    steps, minutes = settings(steps=1000).training, settings(minutes=10).training
    assert describe(PHASES, Budget(steps, 0)) == (
        "a step: 1, 5 GFLOP per image, 10, 2.5 a second in its 2 phases; about 0:05:25 for 1,000 steps"
    )
    assert describe(PHASES, Budget(minutes, 0), 0.5).endswith("; about 750 steps in 0:05:00")


def test_measuring_leaves_the_training_as_it_is(data: Any, tmp_path: Path) -> None:
    trainer = Trainer(settings(steps=1000), tmp_path / "run", data=data)
    before = {name: value.clone() for name, value in trainer.state.model.state_dict().items()}
    numbers = torch.get_rng_state()
    batch = trainer.state.batches[0]
    phases = measure_phases(trainer.state.model, trainer.config, batch, nullcontext)
    assert [(phase.begin, phase.end) for phase in phases] == [(0.0, 0.25), (0.25, 0.5), (0.5, 1.0)]
    assert phases[0].flops < phases[1].flops < phases[2].flops
    assert all(phase.seconds > 0 for phase in phases)
    assert torch.equal(torch.get_rng_state(), numbers)
    assert all(torch.equal(value, before[name]) for name, value in trainer.state.model.state_dict().items())
    assert all(parameter.grad is None for parameter in trainer.state.model.parameters())


def test_a_training_says_what_it_costs_unless_it_is_short(
    data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(settings(steps=2), tmp_path / "short", data=data).run()
    assert "GFLOP" not in capsys.readouterr().err
    monkeypatch.setattr(cost, "FEWEST_STEPS", 2)
    Trainer(settings(steps=2), tmp_path / "long", data=data).run()
    said = capsys.readouterr().err
    assert said.count("GFLOP per image") == 1
    assert "parameters; a step: " in said
    assert "for 2 steps" in said
    short, long = ((tmp_path / name / "model.safetensors").read_bytes()[-1000:] for name in ("short", "long"))
    assert short == long  # the weights, which end the file
