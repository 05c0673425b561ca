"""What a training step leaves, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sivae_translate.objectives.base import Objective, as_numbers
from sivae_translate.objectives.fakes import RealState
from sivae_translate.objectives.schedule import Weights


@dataclass(frozen=True)
class StepResult:
    """The result of a step.

    Attributes:
        objective: the objective.
        states: the passes of the step, of every part of the batch.
        weights: the loss weights of the step.
        loss: loss of the decoder's half, or of both without fakes; scalar.
        norms: gradient norm of each half before clipping.
        rate: the learning rate.
    """

    objective: Objective
    states: Sequence[RealState]
    weights: Weights
    loss: Tensor
    norms: dict[str, Tensor]
    rate: float

    def metrics(self) -> dict[str, float]:
        """The objective's metrics, gradient norms, loss and rate; waits for the device."""
        each = [self.objective.metrics(state, self.weights) for state in self.states]
        metrics = {name: _mean([one[name] for one in each]) for name in each[0]}
        metrics |= {f"gradient_norm_{name}": norm for name, norm in self.norms.items()}
        return as_numbers(metrics | {"loss": self.loss, "learning_rate": self.rate})


def _mean(values: Sequence[Tensor | float]) -> Tensor | float:
    return values[0] if len(values) == 1 else sum(values[1:], start=values[0]) / len(values)
