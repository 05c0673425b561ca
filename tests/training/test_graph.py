"""Replayed steps do what steps do one operator at a time; a tape of operators stands in for a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from sivae_translate.config import from_dict, load_config, to_yaml
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training import graph, step
from sivae_translate.training.averaging import average_of, update_average
from sivae_translate.training.graph import Inputs, notice
from sivae_translate.training.step import Stepper, make_stepper
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.recording import WARM_UP
from tests.training.conftest import MODEL, run_until_power_cut
from tests.training.tape import TapeRecorder

T = TypeVar("T")
STEPS = 20
PHASES = {"objective.back_translation_from": 0.25, "objective.introspection_from": 0.5}
SIZES = {"data.image_size": 32, **{f"model.{name}": size for name, size in MODEL.items()}, **PHASES}
PUBLISHED = {"model.kind": "published", "model.latent_dim": 6, "objective.back_translation": 0.0}


def make(recorder: Any, dtype: torch.dtype, settings: dict[str, Any]) -> Stepper:
    config = load_config(None, {**SIZES, **settings})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "make_recorder", lambda *_: recorder)
        return make_stepper(make_objective(config.objective, model), config.training)


def take(stepper: Stepper, number: int, autocast: Any = nullcontext) -> dict[str, float]:
    """Take step ``number``, counted from 0, of `STEPS`, whose batch, seed and rates depend on it alone."""
    dtype = stepper.decoders[0].dtype
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(number), dtype=dtype)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), torch.tensor([0, 0, 1, 1]))
    torch.manual_seed(number)
    rate = 2.0 ** -(9 + number % 3)  # the same number in any precision
    return stepper.step(batch, number / STEPS, rate, number + 1, autocast).metrics()


def weights_of(stepper: Stepper) -> list[Tensor]:
    modules = (stepper.objective.model, *stepper.objective.companions().values())
    return [value for module in modules for value in module.state_dict().values()]


def require_equal(one: Stepper, other: Stepper, atol: float = 0.0) -> None:
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


CASES: list[dict[str, Any]] = [
    {"objective.name": "elbo", "objective.style_capacity": 2.0, "training.checkpoint_activations": True},
    {"objective.name": "introvae", "objective.places": 0.1, "training.means_rate": 4.0},
    {
        **{"objective.name": "bootstrap", "objective.gamma_r": 1.0, "objective.target_steps": 3},
        "objective.ramps": [{"name": "beta_rec", "start": 0.5, "end": 1.0}],
    },
    {
        **{"objective.name": "soft_introvae", "objective.content_nats": 9.0, "model.prior_components": 3},
        **{"objective.fake_content_kl": 0.5, "objective.prior_style": 0.5},
        **{"objective.fake_reconstruction": True, "objective.content_consistency": 1.0},
    },
    PUBLISHED,
]


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_replays_are_steps(settings: dict[str, Any]) -> None:
    recorder = TapeRecorder()
    plain, replayed = (make(one, torch.float64, settings) for one in (None, recorder))
    for number in range(STEPS):
        expected, found = take(plain, number), take(replayed, number)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-7)
    require_equal(replayed, plain, atol=1e-6)
    phases = 1 + (settings.get("objective.name") != "elbo") + ("model.kind" not in settings)
    assert (len(recorder.tapes), recorder.warm) == (phases, phases * WARM_UP)


def test_replays_are_steps_in_mixed_precision_with_a_perceptual_loss() -> None:
    def autocast() -> Any:
        return torch.autocast("cpu", torch.bfloat16)

    recorder = TapeRecorder()
    plain, replayed = (make(one, torch.float32, {"objective.perceptual": 1.0}) for one in (None, recorder))
    for number in range(WARM_UP + 2):  # all before translations
        expected, found = take(plain, number, autocast), take(replayed, number, autocast)
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    require_equal(replayed, plain, atol=1e-3)
    assert len(recorder.tapes) == 1


def test_nothing_moves_in_memory() -> None:
    recorder = TapeRecorder()
    stepper = make(recorder, torch.float32, {})
    average, places = average_of(stepper.objective.model), []
    for number in range(STEPS):
        take(stepper, number)
        update_average(average, stepper.objective.model, 0.9, number)
        moments = [one.state[p] for one in stepper.optimizers.values() for p in one.state]
        kept = [group["lr"] for one in stepper.optimizers.values() for group in one.param_groups]
        kept += [*weights_of(stepper), *average.parameters(), *(v for m in moments for v in m.values())]
        places.append([value.data_ptr() for value in kept])
    assert places[STEPS - 1] == places[STEPS // 2] == places[1]


def test_inputs_stay_in_place_and_follow_the_step() -> None:
    stepper = make(None, torch.float32, {"objective.gamma_r": 0.5})
    first, second = (stepper.objective.weights(share) for share in (0.05, 0.1))
    batches = [Batch(torch.rand(4, 3, 8, 8), torch.tensor(order)) for order in ([0, 0, 1, 1], [0, 1, 1, 1])]
    inputs = Inputs(batches[0], first)
    held = [inputs.batch.images, inputs.batch.domain, inputs.weights.beta_kl, inputs.weights.gamma_r]
    for batch, weights in zip(batches, (first, second), strict=True):
        inputs.fill(batch, weights)
        assert torch.equal(held[0], batch.images)  # type: ignore[arg-type]
        assert torch.equal(held[1], batch.domain)  # type: ignore[arg-type]
        assert float(held[2]) == pytest.approx(weights.beta_kl)  # type: ignore[arg-type]
        assert float(held[3]) == 0.5  # type: ignore[arg-type]
    assert inputs.weights.back_translation == 0
    assert inputs.weights.beta_neg is None


class Broken(TapeRecorder):
    """A recorder on a device that cannot record."""

    def recorded(self, work: Callable[[], T]) -> Callable[[], T]:
        """Fail as CUDA does."""
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nMore lines")


def test_what_cannot_be_recorded_runs_one_operator_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    plain, other = make(None, torch.float64, {}), make(Broken(), torch.float64, {})
    for number in range(2 * WARM_UP):
        assert take(other, number) == pytest.approx(take(plain, number), rel=1e-6, abs=1e-7)
    require_equal(other, plain, atol=1e-6)
    lines = " ".join(capsys.readouterr().err.split())
    assert lines.count("training steps are not replayed as a CUDA graph") == 1
    assert "operation not permitted when stream is capturing" in lines
    assert "More lines" not in lines


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.ones(2).sum().item(),
        lambda: torch.tensor([1.0, 2.0]),
    ],
)
def test_what_the_host_reads_or_sends_cannot_be_recorded(work: Callable[[], object]) -> None:
    with pytest.raises(RuntimeError, match="not permitted"):
        TapeRecorder().recorded(work)


SETTINGS: dict[str, Any] = {
    "data": {"image_size": 32, "channels": 1},
    "model": MODEL,
    "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
    "training": {
        **{"steps": STEPS, "batch": 8, "picture_every": 0, "validation": 0.0, "device": "cpu"},
        **{"checkpoint_every": 7, "log_every": 5, "precision": "float32", "align": False},
    },
}


def trainer(out: Path, data: Any, *, resume: bool = False) -> Trainer:
    return Trainer(from_dict(SETTINGS, "the test"), out, data=data, resume=resume)


def test_a_resumed_run_of_replays_equals_an_uninterrupted_one(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = trainer(tmp_path / "plain", data)
    plain.run()
    recorders: list[TapeRecorder] = []

    def make_recorder(*_: object) -> TapeRecorder:
        recorders.append(TapeRecorder())
        return recorders[-1]

    monkeypatch.setattr(step, "make_recorder", make_recorder)
    whole = trainer(tmp_path / "whole", data)
    whole.run()
    run_until_power_cut(trainer(tmp_path / "cut", data), 12)
    resumed = trainer(tmp_path / "cut", data, resume=True)
    resumed.run()
    assert [len(one.tapes) for one in recorders] == [3, 2, 1]  # resumed in the second phase's last steps
    for other in (whole, plain):
        require_equal(resumed.state.stepper, other.state.stepper, atol=1e-4)
    logs = [(tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8") for name in ("whole", "plain")]
    assert [log.count("\n") for log in logs] == [STEPS // 5] * 2


def test_steps_are_recorded_again_after_moments_were_loaded() -> None:
    recorder = TapeRecorder()
    plain, replayed = make(None, torch.float64, {}), make(recorder, torch.float64, {})
    for number in range(10, 13 + 2 * WARM_UP):
        if number == 12 + WARM_UP:
            for stepper in (plain, replayed):
                for optimizer in stepper.optimizers.values():
                    optimizer.load_state_dict(optimizer.state_dict())
        take(plain, number)
        take(replayed, number)
    assert len(recorder.tapes) == 2
    require_equal(replayed, plain, atol=1e-6)


@pytest.mark.parametrize("word", ["on", "off", "auto"])
def test_the_words_of_the_setting_can_be_written_in_yaml(tmp_path: Path, word: str) -> None:
    (tmp_path / "my.yaml").write_text(f"training: {{graph: {word}}}\n", encoding="utf-8")
    config = load_config(tmp_path / "my.yaml")
    assert config.training.graph == word
    (tmp_path / "again.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "again.yaml") == config


@pytest.mark.parametrize(
    ("settings", "processes", "reason"),
    [
        ({"training.graph": "on"}, 1, "the device is cpu"),
        ({"training.graph": "auto"}, 1, None),
        ({"training.graph": "off"}, 1, None),
    ],
)
def test_a_line_says_why_steps_are_not_recorded(
    settings: dict[str, Any], processes: int, reason: str | None
) -> None:
    config = load_config(None, {**SIZES, **settings})
    objective = make_objective(config.objective, make_model(config.model, config.data, 2))
    assert graph.make_recorder(config.training, objective, processes) is None
    line = notice(config.training, objective, processes)
    assert line is None if reason is None else line and line.endswith(reason)


@pytest.mark.parametrize(
    ("settings", "processes", "reason"),
    [
        ({}, 1, None),
        ({}, 2, "several processes"),
        ({"training.accumulate": 2}, 1, "training.accumulate"),
        ({"objective.augment_encoder": {"shift": 0.1}}, 1, "objective.augment_encoder"),
    ],
)
def test_what_a_graph_cannot_contain_is_known(
    settings: dict[str, Any], processes: int, reason: str | None
) -> None:
    config = load_config(None, {**SIZES, **settings})
    objective = make_objective(config.objective, make_model(config.model, config.data, 2))
    found = graph.obstacle(config.training, objective, processes, "cuda")
    assert found is None if reason is None else found and found.startswith(reason)
