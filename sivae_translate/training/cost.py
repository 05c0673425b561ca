"""The cost of a training, measured before it begins: operations, steps per second, and total time.

A copy of the model takes a few steps in each phase of the objective; the training itself is not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import torch

from sivae_translate.config import Config
from sivae_translate.data.batches import Batch
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import parameter_count
from sivae_translate.objectives import Objective, make_objective
from sivae_translate.objectives.schedule import takes_part
from sivae_translate.training.budget import Budget
from sivae_translate.training.state import RunState
from sivae_translate.training.step import make_stepper
from sivae_translate.utils.devices import pick_dtype
from sivae_translate.utils.measuring import count_flops, seconds
from sivae_translate.utils.recording import WARM_UP

FEWEST_STEPS = 500
FEWEST_SECONDS = 60.0
"""Minimum budget: shorter trainings end before a forecast is useful."""
SLOW = 1.0
"""In seconds: a step that takes longer is not repeated after warm-up."""


@dataclass(frozen=True)
class Phase:
    """A phase of the training, in which all steps have the same cost.

    Attributes:
        begin: fraction of the training at which it begins.
        end: fraction of the training at which it ends.
        seconds: seconds per step.
        flops: floating-point operations of a step, per image.
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
        model: a model on its device; it and the random state are left unchanged.
        config: settings of the training.
        batch: a batch on the same device.
        autocast: context of the passes.
    """
    device = batch.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        copy = deepcopy(model).train(model.training)
        for parameter in (*copy.encoder_parameters(), *copy.decoder_parameters()):
            parameter.requires_grad_(True)  # those of a model that translates are frozen
        objective = make_objective(config.objective, copy)
        parts = _parts(config, len(batch.images))
        training = config.training.model_copy(update={"accumulate": parts})
        stepper = make_stepper(objective, training, dtype=pick_dtype(training.precision, device))
        phases = []
        for number, (begin, end) in enumerate(phase_limits(config, objective), 1):

            def step(middle: float = (begin + end) / 2, number: int = number) -> None:
                stepper.step(batch, middle, 1e-9, number, autocast)

            per_step, flops = _measure(step, device, repeats=2 if stepper.replayed is None else WARM_UP + 2)
            phases.append(Phase(begin, end, per_step, flops / len(batch.images)))
    return phases


def _measure(step: Callable[[], None], device: torch.device, repeats: int) -> tuple[float, float]:
    """Seconds and floating-point operations of a step, which is repeated until it is as fast as later on."""
    times: list[float] = []
    flops = count_flops(lambda: times.append(seconds(step, device)))
    if times[0] < SLOW:
        times = [seconds(step, device) for _ in range(repeats)]
    return min(times), flops


def _parts(config: Config, images: int) -> int:
    """The parts that a batch is computed in; one process of several may have too few images for them."""
    parts = config.training.accumulate
    return 1 if images % (2 * parts) else parts


def phase_limits(config: Config, objective: Objective) -> list[tuple[float, float]]:
    """Begin and end of the phases, as fractions of the training."""
    times = {0.0, 1.0, config.objective.back_translation_from, config.objective.introspection_from}
    limits: list[tuple[float, float]] = []
    kinds: list[tuple[bool, bool]] = []
    for begin, end in pairwise(sorted(times)):
        weights = objective.weights((begin + end) / 2)
        kind = takes_part(weights.back_translation), weights.introspection
        if kinds and kinds[-1] == kind:
            limits[-1] = limits[-1][0], end
        else:
            limits.append((begin, end))
            kinds.append(kind)
    return limits


def seconds_left(phases: Sequence[Phase], steps: int, share: float) -> float:
    """Remaining seconds of a training with a budget of ``steps``."""
    return sum(steps * max(0.0, phase.end - max(share, phase.begin)) * phase.seconds for phase in phases)


def steps_left(phases: Sequence[Phase], seconds: float, share: float) -> float:
    """Remaining steps of a training with a budget of ``seconds``."""
    return sum(seconds * max(0.0, phase.end - max(share, phase.begin)) / phase.seconds for phase in phases)


def describe(phases: Sequence[Phase], budget: Budget, share: float = 0.0) -> str:
    """A line with operations, rate, and the rest of the budget.

    Args:
        phases: measured phases.
        budget: budget of the training.
        share: spent fraction of the budget.
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
    return f"a step: {flops} GFLOP per image, {rates} a second{several}; {left}"


def announce(state: RunState) -> None:
    """Print the cost of a training that begins or continues.

    Nothing is printed for short trainings and those with several processes.
    """
    budget = state.budget
    short = budget.total < (FEWEST_SECONDS if budget.steps is None else FEWEST_STEPS)
    if short or state.share >= 1 or state.world.size > 1:
        return
    batch = state.batches[state.progress.step].to(state.device)
    with suppress(torch.OutOfMemoryError, MemoryError):  # the training itself reports lack of memory
        phases = measure_phases(state.model, state.config, batch, state.autocast)
        parameters = parameter_count(state.model)
        state.world.say(f"{parameters:,} parameters; {describe(phases, budget, state.share)}")
