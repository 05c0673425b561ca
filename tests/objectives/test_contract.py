"""The contract that every objective keeps, with every likelihood and both kinds of model."""

from __future__ import annotations

from itertools import product
from typing import Literal, get_args

import pytest
import torch

from sivae_translate.config import DataConfig, ModelConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import ObjectiveName

Likelihood = Literal["bernoulli", "gaussian", "laplace"]
Kind = Literal["translation", "plain"]
DOMAINS = {"translation": 2, "plain": 0}
CASES = list(product(get_args(ObjectiveName), get_args(Likelihood), get_args(Kind)))


def make(name: ObjectiveName, likelihood: Likelihood, kind: Kind) -> tuple[Objective, Batch]:
    """A small model under an objective, and a batch for it."""
    torch.manual_seed(0)
    model = ModelConfig(
        kind=kind,
        latent_dim=6,
        widths=(4, 6, 8),
        style_widths=(4, 4, 6),
        content_channels=2,
        style_dim=4,
        style_features=8,
    )
    config = ObjectiveConfig(
        name=name,
        likelihood=likelihood,
        introspection_from=0.5,
        back_translation=0.5 if kind == "translation" else 0.0,
        beta_neg=50.0,
        gamma_r=1.0 if name == "bootstrap" else 0.0,
    )
    network = make_model(model, DataConfig(image_size=32, channels=1), DOMAINS[kind])
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    return make_objective(config, network), Batch(images, torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize(("name", "likelihood", "kind"), CASES)
def test_each_half_moves_its_own_parameters_and_no_others(
    name: ObjectiveName, likelihood: Likelihood, kind: Kind
) -> None:
    objective, batch = make(name, likelihood, kind)
    model = objective.model
    for progress in (0.0, 1.0):
        weights = objective.weights(progress)
        state = objective.forward(batch, weights)
        encoders, decoders = model.encoder_parameters(), model.decoder_parameters()
        loss = objective.encoder_loss(state, weights)
        assert loss.isfinite()
        gradients = torch.autograd.grad(loss, encoders, retain_graph=True, allow_unused=True)
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
        loss = objective.decoder_loss(state, weights)
        assert loss.isfinite()
        gradients = torch.autograd.grad(loss, decoders, allow_unused=True)
        assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize(("name", "likelihood", "kind"), CASES)
def test_fakes_are_there_when_the_game_is_on_and_only_then(
    name: ObjectiveName, likelihood: Likelihood, kind: Kind
) -> None:
    objective, batch = make(name, likelihood, kind)
    early, late = (objective.forward(batch, objective.weights(progress)) for progress in (0.0, 1.0))
    assert not isinstance(early, GameState)
    assert isinstance(late, GameState) == (name != "elbo")


@pytest.mark.parametrize(("name", "likelihood", "kind"), CASES)
def test_steps_stay_finite_and_repeat(name: ObjectiveName, likelihood: Likelihood, kind: Kind) -> None:
    results = []
    for _ in range(2):
        objective, batch = make(name, likelihood, kind)
        stepper = Stepper(objective, clip_norm=1.0)
        torch.manual_seed(2)
        metrics = [
            stepper.step(batch, progress, 1e-3, number).metrics()
            for number, progress in enumerate((0.0, 0.6, 1.0))
        ]
        assert all(torch.tensor(list(one.values())).isfinite().all() for one in metrics)
        assert {"reconstruction", "kl_content"} <= set(metrics[0])
        assert ("kl_fake" in metrics[2]) == (name != "elbo")
        results.append(metrics)
    assert results[0] == results[1]
