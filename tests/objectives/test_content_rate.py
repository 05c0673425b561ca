"""The weight of the content KL follows its target."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from sivae_translate.config import Config, from_dict, load_config
from sivae_translate.data.batches import Batch
from sivae_translate.data.domains import DomainData
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.content_rate import GAIN, ContentRate
from sivae_translate.objectives.schedule import LEAST_OPEN, weights_at
from sivae_translate.training.launch import train
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.tensor_files import read_tensors
from tests.training.conftest import MODEL, data, run_until_power_cut  # noqa: F401 - a fixture


@pytest.mark.parametrize(("kl", "moves"), [(20.0, math.log(2)), (5.0, -math.log(2)), (1e6, 1.0), (0.0, -1.0)])
def test_one_step_moves_the_logarithm_by_that_of_the_ratio(kl: float, moves: float) -> None:
    rate = ContentRate(start=3.0)
    rate.update(torch.tensor([kl, kl]), 10.0, fakes=False)
    assert float(rate.weight) == pytest.approx(3 * math.exp(GAIN * moves), rel=1e-5)


def test_a_code_whose_kl_falls_with_its_weight_is_held_at_the_target() -> None:
    rate = ContentRate(start=20.0)
    for _ in range(2000):
        rate.update(100 / rate.weight.expand(4), 40.0, fakes=False)
    assert 100 / float(rate.weight) == pytest.approx(40, rel=0.01)


def test_the_weight_has_bounds() -> None:
    rate = ContentRate(start=1.0)
    for _ in range(3000):
        rate.update(torch.zeros(2), 10.0, fakes=False)
    assert float(rate.weight) == pytest.approx(1e-4, rel=1e-3)


def test_what_beta_neg_is_balanced_on_stays_when_fakes_have_entered() -> None:
    rate = ContentRate(start=1.0)
    rate.update(torch.full((2,), 100.0), 10.0, fakes=False)
    before = rate.before_fakes()
    rate.update(torch.full((2,), 100.0), 10.0, fakes=True)
    assert rate.before_fakes() == before == pytest.approx(math.exp(GAIN), rel=1e-5)
    assert float(rate.weight) > before
    restored = ContentRate(start=1.0)
    assert restored.before_fakes() == 1
    restored.load_state_dict(rate.state_dict())
    assert restored.before_fakes() == before


def test_the_target_rises_while_the_code_opens() -> None:
    config = load_config(None, {"objective.content_nats": 80, "objective.content_open_at": 0.4}).objective
    at = [weights_at(config, progress).content_nats for progress in (0.0, 0.2, 0.4, 1.0)]
    assert at == pytest.approx([80 * LEAST_OPEN, 80 * LEAST_OPEN**0.5, 80, 80])
    assert weights_at(load_config(None, {}).objective, 0.5).content_nats is None


def objective_of(**settings: Any) -> tuple[Introspective, Batch]:
    given = {
        "data.image_size": 32,
        "data.channels": 1,
        "model.widths": (4, 4, 4),
        "model.style_widths": (4, 4, 4),
    }
    config = load_config(None, {**given, **{f"objective.{name}": value for name, value in settings.items()}})
    torch.manual_seed(0)
    objective = make_objective(config.objective, make_model(config.model, config.data, 2))
    assert isinstance(objective, Introspective)
    return objective, Batch(torch.rand(4, 1, 32, 32), torch.tensor([0, 0, 1, 1]))


def test_both_halves_and_the_metrics_take_the_weight_that_follows() -> None:
    objective, batch = objective_of(content_nats=10.0, beta_kl=0.5, beta_kl_start=7.0)
    weights = objective.weights(0.0)
    state = objective.forward(batch, weights)
    assert objective.content_rate is not None
    weight = float(objective.content_rate.weight)
    assert weight != 7
    expected = weights.beta_rec * state.errors["reconstruction"] + weight * state.kl_content + state.kl_style
    scaled = float((objective.scale * expected.mean()).detach())
    for loss in (objective.encoder_loss(state, weights), objective.decoder_loss(state, weights)):
        assert float(loss.detach()) == pytest.approx(scaled, rel=1e-5)
    assert float(objective.metrics(state, weights)["beta_kl"]) == pytest.approx(weight)


def test_beta_neg_is_balanced_on_the_weight_before_fakes() -> None:
    objective, batch = objective_of(content_nats=10.0, fake_content_kl=1.0, beta_kl=1e-9)
    objective.forward(batch, objective.weights(0.0))
    followed = objective.beta_neg(objective.weights(0.9))
    assert objective.content_rate is not None
    other, _ = objective_of(fake_content_kl=1.0, beta_kl=objective.content_rate.before_fakes())
    other.real_kl.load_state_dict(objective.real_kl.state_dict())
    assert followed == pytest.approx(other.beta_neg(other.weights(0.9)))


def settings() -> Config:
    return from_dict(
        {
            "data": {"image_size": 32, "channels": 1},
            "model": MODEL,
            "objective": {"content_nats": 5, "introspection_from": 0.5},
            "training": {"steps": 6, "batch": 4, "checkpoint_every": 2, "picture_every": 0},
        },
        "the test",
    )


def test_a_resumed_run_goes_on_with_the_weight(data: DomainData, tmp_path: Path) -> None:  # noqa: F811
    train(settings(), tmp_path / "whole", data=data)
    run_until_power_cut(Trainer(settings(), tmp_path / "cut", data=data), 3)
    train(settings(), tmp_path / "cut", data=data, resume=True)
    whole, cut = (
        read_tensors(tmp_path / name / "checkpoints" / "step-00000006" / "weights.safetensors")
        for name in ("whole", "cut")
    )
    assert float(whole["content_rate.log_weight"]) != pytest.approx(math.log(20), abs=1e-3)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
