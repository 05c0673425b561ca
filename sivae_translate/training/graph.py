"""Steps that are recorded once and then replayed, as a CUDA graph: one launch instead of a thousand.

A replay repeats the recorded operators on the same memory and runs no Python. So everything that changes from
step to step lies in tensors that keep their place: the batch, the loss weights, the learning rates. What
decides which operators run, such as the phase of the objective, is part of a key: for another key the step is
recorded again. Random numbers come from the device's default generator, which a replay reads and advances,
so a step depends on its seed alone, replayed or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor

from sivae_translate.config import TrainingConfig
from sivae_translate.data.batches import Batch
from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.fakes import RealState
from sivae_translate.objectives.schedule import Weights, takes_part
from sivae_translate.training.parts import detached
from sivae_translate.utils.recording import WARM_UP, CudaRecorder, Recorder, reason_of

NOT_REPLAYED = "training steps are not replayed as a CUDA graph"
"""Beginning of the line that says why."""


@dataclass(frozen=True)
class Update:
    """What an update of both halves leaves.

    Attributes:
        states: the passes, of every part of the batch.
        loss: loss of the decoder's half, or of both without fakes; scalar.
        norms: gradient norm of each half before clipping.
    """

    states: Sequence[RealState]
    loss: Tensor
    norms: dict[str, Tensor]


class Inputs:
    """A batch and loss weights in memory that stays in place.

    Args:
        batch: a batch of the same sizes as all.
        weights: loss weights with the same terms as all.
    """

    def __init__(self, batch: Batch, weights: Weights) -> None:
        self.batch = Batch(torch.empty_like(batch.images), torch.empty_like(batch.domain))
        self._numbers = {name: batch.images.new_empty(()) for name in _numbers(weights)}
        self._present: dict[str, float] = {}
        self.weights: Weights = replace(weights, **self._numbers)  # type: ignore[arg-type]

    def fill(self, batch: Batch, weights: Weights) -> None:
        """Copy a batch and loss weights; nothing waits for the device."""
        self.batch.images.copy_(batch.images, non_blocking=True)
        self.batch.domain.copy_(batch.domain, non_blocking=True)
        for name, value in _numbers(weights).items():
            if self._present.get(name) != value:
                self._numbers[name].fill_(value)
                self._present[name] = value


def _numbers(weights: Weights) -> dict[str, float]:
    """The weights of terms that take part, by name."""
    values = {field.name: getattr(weights, field.name) for field in fields(weights)}
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and takes_part(value)
    }


def _terms(weights: Weights) -> tuple[object, ...]:
    """Which terms take part."""
    return weights.introspection, *_numbers(weights)


class ReplayedStep:
    """Runs updates of both halves, after a few as replays of a recorded one.

    Args:
        recorder: records an update.
        say: called with a line if updates cannot be recorded; they run one operator at a time then.
    """

    def __init__(self, recorder: Recorder, say: Callable[[str], None]) -> None:
        self.recorder, self.say, self.failed = recorder, say, False
        self.forget()

    def forget(self) -> None:
        """Record again, since weights or the optimizers' moments are in other memory."""
        self.key: object = None
        self.replay: Callable[[], Update] | None = None
        self.inputs: Inputs | None = None
        self.left = 0

    def __call__(
        self, batch: Batch, weights: Weights, update: Callable[[Batch, Weights], Update]
    ) -> tuple[Update, bool]:
        """Update both halves.

        Args:
            batch: on the recorder's device.
            weights: loss weights.
            update: does it one operator at a time.

        Returns:
            what it leaves, without the passes' graphs, and whether it was a replay.
        """
        if self.failed:
            return update(batch, weights), False
        images = batch.images
        key = (tuple(images.shape), images.stride(), images.dtype, *_terms(weights))
        if self.inputs is None or key != self.key:
            self.forget()
            self.key, self.left, self.inputs = key, WARM_UP, Inputs(batch, weights)
        self.inputs.fill(batch, weights)
        work = partial(_without_graphs, update, self.inputs.batch, self.inputs.weights)
        if self.left:
            self.left -= 1
            return self.recorder.warmed(work), False
        if self.replay is None:
            try:
                self.replay = self.recorder.recorded(work)
            except RuntimeError as error:
                self.forget()
                self.failed = True
                self.say(f"{NOT_REPLAYED}: {reason_of(error)}")
                return update(batch, weights), False
        return self.replay(), True


def _without_graphs(update: Callable[[Batch, Weights], Update], batch: Batch, weights: Weights) -> Update:
    """An update whose passes do not keep the memory of their graphs."""
    done = update(batch, weights)
    return replace(done, states=[detached(state) for state in done.states], loss=done.loss.detach())


def make_recorder(training: TrainingConfig, objective: Objective, processes: int = 1) -> Recorder | None:
    """The recorder of a run's steps; None if they are not to be recorded, or cannot be."""
    device = objective.model.style_prior.means.device
    if training.graph == "off" or obstacle(training, objective, processes, device.type):
        return None
    return CudaRecorder(device)


def obstacle(training: TrainingConfig, objective: Objective, processes: int, device: str) -> str | None:
    """Why steps of a run on a type of device cannot be recorded; None if they can."""
    reasons = {
        f"the device is {device}": device != "cuda",
        "several processes exchange gradients": processes > 1,
        "training.accumulate draws seeds on the host": training.accumulate > 1,
        "objective.augment_encoder draws numbers on the host": objective.passes.augment.active,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def notice(training: TrainingConfig, objective: Objective, processes: int = 1) -> str | None:
    """A line on why steps are not recorded, if that could be expected."""
    device = objective.model.style_prior.means.device.type
    reason = obstacle(training, objective, processes, device)
    expected = training.graph == "on" or (training.graph == "auto" and device == "cuda")
    return f"{NOT_REPLAYED}: {reason}" if reason and expected else None
