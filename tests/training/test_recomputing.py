"""Blocks that are computed again in backward passes give the same numbers with less memory."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.memory import peak_saved
from sivae_translate.config import load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper, make_stepper
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import ConfigError

CASES: dict[str, dict[str, Any]] = {
    "elbo": {"objective.name": "elbo"},
    "introvae": {"objective.name": "introvae"},
    "soft_introvae": {},
    "bootstrap": {"objective.name": "bootstrap", "objective.gamma_r": 0.5},
    "content": {"objective.fake_content_kl": 0.5, "objective.fake_reconstruction": True},
    "smooth": {"model.resampling": "smooth", "objective.places": 0.1},
    "plain": {"model.kind": "plain", "objective.back_translation": 0.0},
    "parts": {"training.accumulate": 2},
}
SIZES = {
    **{"data.image_size": 32, "data.channels": 1, "model.latent_dim": 6, "model.widths": (8, 12, 16)},
    **{"model.style_widths": (8, 8, 8), "model.encoder_blocks": 3, "model.decoder_blocks": 3},
}


def make(case: str, *, recomputed: bool) -> tuple[Stepper, Batch]:
    settings = {**SIZES, "objective.beta_neg": 20.0, "training.checkpoint_activations": recomputed}
    config = load_config(None, {**settings, **CASES.get(case, {})})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2).to(memory_format=torch.channels_last)
    images = torch.rand(8, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    batch = Batch(images.contiguous(memory_format=torch.channels_last), torch.arange(8) // 4)
    return make_stepper(make_objective(config.objective, model), config.training), batch


def weights_after_steps(case: str, dtype: torch.dtype | None, *, recomputed: bool) -> list[Tensor]:
    stepper, batch = make(case, recomputed=recomputed)
    autocast = partial(torch.autocast, "cpu", dtype) if dtype else nullcontext
    for number, progress in enumerate((0.1, 0.45, 0.8, 0.9), 1):
        torch.manual_seed(number)
        stepper.step(batch, progress, 1e-3, number, autocast)
    return [parameter.detach() for parameter in (*stepper.encoders, *stepper.decoders)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_steps_have_the_same_numbers(case: str, dtype: torch.dtype | None) -> None:
    kept = weights_after_steps(case, dtype, recomputed=False)
    again = weights_after_steps(case, dtype, recomputed=True)
    for one, other in zip(kept, again, strict=True):
        assert torch.equal(one, other)


def test_a_step_keeps_less() -> None:
    peaks = {}
    for recomputed in (False, True):
        stepper, batch = make("soft_introvae", recomputed=recomputed)
        for progress in (0.1, 0.45, 0.8):
            peaks[recomputed, progress] = peak_saved(partial(stepper.step, batch, progress, 1e-3, 1))
    for progress in (0.1, 0.45, 0.8):
        assert peaks[True, progress] < 0.6 * peaks[False, progress]


def test_networks_without_blocks_are_refused() -> None:
    settings = {"model.kind": "published", "training.checkpoint_activations": True, "data.image_size": 32}
    config = load_config(None, {**settings, "objective.back_translation": 0.0})
    objective = make_objective(config.objective, make_model(config.model, config.data, 1))
    with pytest.raises(ConfigError, match="these networks have none"):
        make_stepper(objective, config.training)


def test_a_run_may_go_on_with_it(data: Any, tmp_path: Any) -> None:
    models = []
    for again in (False, True):
        out = tmp_path / str(again)
        settings = {
            **{**SIZES, "training.batch": 8, "training.picture_every": 0, "training.device": "cpu"},
            **{"objective.introspection_from": 0.0},
        }
        Trainer(load_config(None, {**settings, "training.steps": 2}), out, data=data).run()
        more = {"training.steps": 4, "training.checkpoint_activations": again}
        trainer = Trainer(load_config(None, {**settings, **more}), out, data=data, resume=True)
        trainer.run()
        models.append(trainer.state.model.state_dict())
    assert all(torch.equal(value, models[1][name]) for name, value in models[0].items())
