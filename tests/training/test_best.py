"""The best checkpoint: of the last phase alone, by what its own file says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sivae_translate.config import from_dict
from sivae_translate.models.weights import load_model, read_facts
from sivae_translate.training import checkpoints, state
from sivae_translate.training.best import MEASURE, best_score, in_last_phase
from sivae_translate.training.launch import train
from sivae_translate.training.quality import Score
from sivae_translate.training.trainer import Trainer
from tests.training.conftest import MODEL

SETTINGS: dict[str, Any] = {
    "data": {"image_size": 32, "channels": 1},
    "model": MODEL,
    "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
    "training": {
        "steps": 12,
        "batch": 8,
        "checkpoint_every": 2,
        "log_every": 2,
        "picture_every": 0,
        "validation": 0.1,
    },
}


def settings(**objective: Any) -> Any:
    return from_dict({**SETTINGS, "objective": {**SETTINGS["objective"], **objective}}, "the test")


def scored(trainer: Trainer, scores: dict[int, float]) -> list[int]:
    """Give the trainer's validation these scores by step; returns the steps that are scored."""
    steps: list[int] = []

    def score() -> Score:
        steps.append(trainer.state.progress.step)
        return Score(scores[trainer.state.progress.step], 0.0)

    trainer.state.validation.score = score  # type: ignore[method-assign]
    return steps


def test_only_the_last_phase_is_scored_and_the_best_of_it_stays(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    steps = scored(trainer, {6: 3.0, 8: 1.0, 10: 2.0, 12: 1.5})
    trainer.run()
    assert steps == [6, 8, 10, 12]
    best, last = (load_model(tmp_path / f"{name}.safetensors").facts for name in ("best", "model"))
    assert (best["steps"], last["steps"]) == (8, 12)
    assert best["validation"] == {"measure": MEASURE, "score": 1.0, "kid": 1.0, "lpips": 0.0}
    assert last["validation"] == {"measure": MEASURE, "score": 1.5, "kid": 1.5, "lpips": 0.0}
    assert best_score(tmp_path) == 1.0


@pytest.mark.parametrize(
    ("objective", "share"),
    [
        ({}, 0.5),
        ({"introspection_from": 0.2, "content_open_at": 0.7}, 0.7),
        ({"name": "elbo", "content_open_at": 0.4}, 0.4),
        ({"introspection_from": 1.0}, 1.0),
        ({"ramps": [{"name": "beta_rec", "start": 0.1, "end": 1, "until": 0.9}]}, 0.9),
    ],
)
def test_the_last_phase_begins_when_no_weight_moves_any_more(
    tmp_path: Path, data: Any, objective: Any, share: float
) -> None:
    trainer = Trainer(settings(**objective), tmp_path, data=data)
    assert not in_last_phase(trainer.state.objective, share - 0.01)
    assert in_last_phase(trainer.state.objective, share)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("place", ["before the model", "between model and checkpoint"])
def test_after_a_kill_the_best_model_and_its_score_agree(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    scores = {6: 3.0, 8: 2.0, 10: 1.0, 12: 1.5}
    trainer = Trainer(settings(), tmp_path, data=data)
    scored(trainer, scores)
    target, name = (state, "save_model") if place == "before the model" else (checkpoints, "save")
    original = getattr(target, name)

    def kill(*arguments: Any) -> None:
        if trainer.state.progress.step == 10:
            raise Killed
        original(*arguments)

    monkeypatch.setattr(target, name, kill)
    with pytest.raises(Killed):
        trainer.run()
    monkeypatch.undo()
    resumed = Trainer(settings(), tmp_path, data=data, resume=True)
    assert resumed.state.progress.step == 8
    scored(resumed, scores)
    resumed.run()
    facts = read_facts(tmp_path / "best.safetensors")
    assert (facts["steps"], best_score(tmp_path)) == (10, 1.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Any) -> Path:
    """A finished run, whose last checkpoint alone was scored."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return train(settings(introspection_from=0.95), run, data=data)


def test_what_a_checkpoint_claims_is_not_believed(tmp_path: Path, data: Any, whole: Path) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "best.safetensors").unlink()
    path = tmp_path / "checkpoints" / "step-00000012" / "progress.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "best_score": -5.0}))
    train(settings(introspection_from=0.95), tmp_path, data=data, resume=True)
    assert read_facts(tmp_path / "best.safetensors")["steps"] == 12


@pytest.mark.parametrize("damage", ["another kind", "cut off", "gone"])
def test_a_best_model_without_a_usable_score_is_replaced(
    tmp_path: Path, data: Any, whole: Path, damage: str
) -> None:
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "best.safetensors"
    if damage == "another kind":
        content = path.read_bytes()
        assert MEASURE.encode() in content
        path.write_bytes(content.replace(MEASURE.encode(), MEASURE.replace("1", "0").encode()))
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        path.unlink()
    assert best_score(tmp_path) is None
    train(settings(introspection_from=0.95), tmp_path, data=data, resume=True)
    assert best_score(tmp_path) is not None
