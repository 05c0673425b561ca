"""What a training costs, measured before it begins: arithmetic, steps a second, and the time for all of it.

A copy of the model takes a few steps in each phase of the objective; the training itself is not touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch.utils.flop_counter import FlopCounterMode

from sivae_translate.config import Config
from sivae_translate.data.batches import Batch
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import parameter_count
from sivae_translate.objectives import Objective, make_objective
from sivae_translate.training.budget import Budget
from sivae_translate.training.step import Stepper

if TYPE_CHECKING:
    from sivae_translate.training.trainer import Trainer

FEWEST_STEPS = 500
FEWEST_SECONDS = 60.0
"""Trainings with smaller budgets are over before a forecast is of use."""
SLOW = 1.0
"""Seconds: a step that takes longer is not repeated to measure it warm."""


@dataclass(frozen=True)
class Phase:
    """A part of the training in which all steps do the same.

    Attributes:
        begin: share of the training at which it begins.
        end: share at which it ends.
        seconds: that a step takes.
        flops: floating-point operations of a step, for each image.
    """

    begin: float
    end: float
    seconds: float
    flops: float


def measure_phases(
    model: LatentModel,
    config: Config,
    batch: Batch,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[Phase]:
    """Take steps with a copy of a model in every phase.

    Args:
        model: on its device; it and the random numbers stay as they are.
        config: settings of the training.
        batch: on the same device.
        autocast: around passes.
    """
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        copy = deepcopy(model).train(model.training)
        for parameter in (*copy.encoder_parameters(), *copy.decoder_parameters()):
            parameter.requires_grad_(True)  # those of a model that translates are frozen
        objective = make_objective(config.objective, copy)
        stepper = Stepper(objective, config.training.clip_norm)
        phases = []
        for number, (begin, end) in enumerate(phase_limits(config, objective), 1):

            def step(middle: float = (begin + end) / 2, number: int = number) -> None:
                stepper.step(batch, middle, 1e-9, number, autocast)

            with FlopCounterMode(display=False) as counter:
                seconds = _timed(step, device)
            if seconds < SLOW:
                seconds = min(_timed(step, device) for _ in range(2))
            phases.append(Phase(begin, end, seconds, counter.get_total_flops() / len(batch.images)))
    return phases


def _timed(step: Callable[[], None], device: torch.device) -> float:
    with _synchronised(device):
        began = time.perf_counter()
        step()
    return time.perf_counter() - began


@contextmanager
def _synchronised(device: torch.device) -> Iterator[None]:
    """Around work whose time is taken: nothing else is going on before, and it has ended after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def phase_limits(config: Config, objective: Objective) -> list[tuple[float, float]]:
    """Begin and end of the phases, as shares of the training."""
    times = {0.0, 1.0, config.objective.back_translation_from, config.objective.introspection_from}
    limits: list[tuple[float, float]] = []
    kinds: list[tuple[bool, bool]] = []
    for begin, end in pairwise(sorted(times)):
        weights = objective.weights((begin + end) / 2)
        kind = weights.back_translation > 0, weights.introspection
        if kinds and kinds[-1] == kind:
            limits[-1] = limits[-1][0], end
        else:
            limits.append((begin, end))
            kinds.append(kind)
    return limits


def seconds_left(phases: Sequence[Phase], steps: int, share: float) -> float:
    """Seconds that the rest of a training of so many steps takes."""
    return sum(steps * max(0.0, phase.end - max(share, phase.begin)) * phase.seconds for phase in phases)


def steps_left(phases: Sequence[Phase], seconds: float, share: float) -> float:
    """Steps in the rest of a training of so many seconds."""
    return sum(seconds * max(0.0, phase.end - max(share, phase.begin)) / phase.seconds for phase in phases)


def describe(phases: Sequence[Phase], budget: Budget, share: float = 0.0) -> str:
    """Arithmetic, rate, and what is left of the budget, in a line.

    Args:
        phases: as measured.
        budget: of the training.
        share: of it that is spent.
    """
    flops = ", ".join(f"{phase.flops / 1e9:.3g}" for phase in phases)
    rates = ", ".join(f"{1 / phase.seconds:.3g}" for phase in phases)
    several = f" in its {len(phases)} phases" if len(phases) > 1 else ""
    if budget.steps is None:
        left = f"about {steps_left(phases, budget.total, share):,.0f} steps"
        left += f" in {timedelta(seconds=round((1 - share) * budget.total))}"
    else:
        seconds = min(seconds_left(phases, budget.steps, share), 1e9)
        left = f"about {timedelta(seconds=round(seconds))} for {(1 - share) * budget.steps:,.0f} steps"
    return f"a step: {flops} GFLOP an image, {rates} a second{several}; {left}"


def announce(trainer: Trainer) -> None:
    """Say what a training that begins or continues costs.

    Short ones say nothing, and of those of several processes nothing is measured.
    """
    budget, share = trainer.budget, trainer.budget.share(trainer.progress)
    short = budget.total < (FEWEST_SECONDS if budget.steps is None else FEWEST_STEPS)
    if short or share >= 1 or trainer.world.size > 1:
        return
    batch = trainer.batches[trainer.progress.step].to(trainer.device)
    with suppress(torch.OutOfMemoryError, MemoryError):  # of memory the training itself will tell
        phases = measure_phases(trainer.model, trainer.config, batch, trainer._autocast)
        trainer._say(f"{parameter_count(trainer.model):,} parameters; {describe(phases, budget, share)}")
