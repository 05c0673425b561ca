"""A batch computed in parts against the whole batch."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from benchmarks.memory import peak_saved
from sivae_translate.config import from_dict, load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.priors import StandardPrior
from sivae_translate.objectives import fakes, make_objective, styles
from sivae_translate.training.distributed import World
from sivae_translate.training.step import Stepper, make_stepper
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import ConfigError
from tests.training.conftest import MODEL, run_until_power_cut

COUNT = 8
RATE = 0.01
CASES: dict[str, dict[str, Any]] = {
    "elbo": {"objective.name": "elbo"},
    "introvae": {"objective.name": "introvae"},
    "soft_introvae": {"objective.name": "soft_introvae"},
    "bootstrap": {"objective.name": "bootstrap", "objective.gamma_r": 0.5},
    "content": {"objective.fake_content_kl": 0.5, "objective.fake_reconstruction": True},
    "consistency": {"objective.content_consistency": 0.3, "objective.style_consistency": 0.2},
    "prior means": {"objective.prior_style": 1.0},
    "places": {"objective.places": 0.1},
    "plain": {"model.kind": "plain", "objective.back_translation": 0.0},
}
PROGRESS = (0.1, 0.45, 0.8, 0.9)


@pytest.fixture
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partners and draws would differ between a batch and its parts; the gradients' means are compared."""

    def noise(shape: torch.Size | tuple[int, ...]) -> Tensor:
        return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 1.7).reshape(shape)

    def sample(code: Gaussian, generator: torch.Generator | None = None) -> Tensor:
        return code.mean + torch.exp(0.5 * code.logvar) * noise(code.mean.shape[1:])

    def samples(prior: StandardPrior, count: int, *_: object, **__: object) -> Tensor:
        return noise(tuple(prior.shape)).expand(count, *prior.shape)

    def target(style: Tensor, domain: Tensor, model: Any) -> tuple[Tensor, Tensor, Tensor]:
        return style + 1, model.prior_style(domain, len(domain)).detach(), domain

    monkeypatch.setattr(Gaussian, "sample", sample)
    monkeypatch.setattr(StandardPrior, "sample", samples)
    monkeypatch.setattr(styles, "swap_styles", lambda style, domain, share: style)
    monkeypatch.setattr(fakes, "translation_styles", target)


def make(case: str, parts: int, count: int = COUNT, samples: float = 0.5) -> tuple[Stepper, Batch]:
    sizes = {f"model.{name}": value for name, value in MODEL.items()}
    settings = {
        **{"data.image_size": 32, "data.channels": 1, "model.latent_dim": 6, "objective.beta_neg": 20.0},
        **{"objective.prior_samples": samples, "training.accumulate": parts},
    }
    config = load_config(None, {**sizes, **settings, **CASES[case]})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2).double()
    images = torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    stepper = make_stepper(make_objective(config.objective, model), config.training)
    return stepper, Batch(images, torch.arange(count) * 2 // count)


def plain_descent(stepper: Stepper) -> list[Tensor]:
    """Make a stepper move along its gradients, and keep them; Adam would blow up rounding errors."""
    kept: list[Tensor] = []

    def move(half: Literal["encoders", "decoder"]) -> Tensor:
        rate = stepper.optimizers[half].param_groups[0]["lr"]
        with torch.no_grad():
            for parameter in stepper.encoders if half == "encoders" else stepper.decoders:
                kept.append(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone())
                parameter.sub_(kept[-1], alpha=rate)
                parameter.grad = None
        return torch.zeros(())

    stepper._move = move  # type: ignore[method-assign]
    return kept


@pytest.mark.parametrize(("case", "parts"), list(itertools.product(CASES, (2, 4))))
@pytest.mark.usefixtures("same_draws")
def test_gradients_and_metrics_are_those_of_the_whole_batch(case: str, parts: int) -> None:
    # Prior samples are the first of the batch or part, and are not translated back: in halves these are the
    # same images as in the whole batch.
    samples = 0.5 if parts == 2 else 0.0
    (whole, batch), (divided, _) = (make(case, count, samples=samples) for count in (1, parts))
    expected, found = plain_descent(whole), plain_descent(divided)
    for number, progress in enumerate(PROGRESS, 1):
        one, other = (stepper.step(batch, progress, RATE, number) for stepper in (whole, divided))
        metrics = other.metrics()
        assert len(other.states) == parts
        for name, value in one.metrics().items():
            assert metrics[name] == pytest.approx(value, rel=1e-5, abs=1e-9), name
    assert len(expected) == len(found)
    for gradient, sum_of_parts in zip(expected, found, strict=True):
        torch.testing.assert_close(sum_of_parts, gradient, rtol=1e-7, atol=1e-12)
    assert sum(gradient.abs().sum() for gradient in expected) > 1


def test_parts_hold_images_of_all_domains_in_pairs_to_swap_styles_with() -> None:
    domain = torch.arange(8).repeat_interleave(4)  # 8 domains in a batch of 32, the most that there are
    batch = Batch(torch.arange(32.0).view(32, 1, 1, 1), domain)
    for parts in (2, 4, 8):
        divided = batch.parts(parts)
        assert sorted(torch.cat([part.images for part in divided]).flatten().tolist()) == list(range(32))
        for part in divided:
            counts = torch.bincount(part.domain)
            assert counts[counts > 0].min() >= 2
            assert torch.equal(part.domain, part.domain.sort().values)


def test_a_step_in_parts_needs_a_fraction_of_the_memory() -> None:
    peaks = {}
    for parts in (1, 4):
        stepper, batch = make("soft_introvae", parts, 32)
        for progress in (0.1, 0.45, 0.8):
            peaks[parts, progress] = peak_saved(partial(stepper.step, batch, progress, RATE, 1))
    for progress in (0.1, 0.45, 0.8):
        assert peaks[4, progress] < 0.35 * peaks[1, progress]


def test_steps_in_parts_do_not_move_running_averages_twice() -> None:
    counts = []
    for parts in (1, 4):
        stepper, batch = make("soft_introvae", parts)
        model = stepper.objective.model
        model.content_encoder.register_module("norm", nn.BatchNorm2d(1).double())
        norm = model.content_encoder.norm
        assert isinstance(norm, nn.BatchNorm2d)

        def run(_: nn.Module, inputs: Any, norm: nn.BatchNorm2d = norm) -> None:
            norm(*inputs)

        model.content_encoder.register_forward_pre_hook(run)
        stepper.step(batch, 0.8, RATE, 1)
        assert norm.num_batches_tracked is not None
        counts.append(int(norm.num_batches_tracked))
    assert counts[1] == 4 * counts[0]


def test_the_content_weight_follows_as_fast_as_with_the_whole_batch() -> None:
    weights = []
    for parts in (1, 4):
        stepper, batch = make("soft_introvae", parts)
        config = load_config(None, {"objective.content_nats": 0.5, "objective.beta_neg": 20.0})
        objective = make_objective(config.objective, stepper.objective.model)
        stepper = Stepper(objective, 1.0, parts=parts)
        for number in range(1, 6):
            stepper.step(batch, 0.8, 0.0, number)
        assert objective.content_rate is not None
        weights.append(float(objective.content_rate.log_weight))
    assert weights[1] == pytest.approx(weights[0], abs=1e-3)


def settings(**training: Any) -> Any:
    values = {
        "data": {"image_size": 32, "channels": 1},
        "model": MODEL,
        "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
        "training": {
            **{"steps": 6, "batch": 8, "picture_every": 0, "device": "cpu", "checkpoint_every": 2},
            **{"log_every": 1, "accumulate": 2, **training},
        },
    }
    return from_dict(values, "the test")


def test_a_run_in_parts_that_was_cut_ends_as_one_that_was_not(data: Any, tmp_path: Any) -> None:
    whole = Trainer(settings(), tmp_path / "whole", data=data)
    whole.run()
    run_until_power_cut(Trainer(settings(), tmp_path / "cut", data=data), 5)
    resumed = Trainer(settings(), tmp_path / "cut", data=data, resume=True)
    resumed.run()
    for name, value in whole.state.model.state_dict().items():
        assert torch.equal(value, resumed.state.model.state_dict()[name]), name


def test_a_batch_that_cannot_be_divided_is_refused(data: Any, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"3 parts of pairs.*\n?.*multiple of 6"):
        Trainer(settings(accumulate=3), tmp_path / "run", data=data)
    with pytest.raises(ConfigError, match="4 parts of pairs of images by 2 processes"):
        World(size=2).share(24, 4)
    assert World(size=2).share(32, 4) == 16
