"""The budget of a run, and the learning rate schedule."""

from __future__ import annotations

from dataclasses import dataclass

from sivae_translate.config import TrainingConfig
from sivae_translate.training.checkpoints import Progress

DEFAULT_STEPS = 10_000
FINAL_RATE = 0.05
"""Final learning rate, as a fraction of the highest."""


@dataclass(frozen=True)
class Budget:
    """A budget in steps or minutes.

    Attributes:
        config: settings with a budget in steps, epochs or minutes, or none for `DEFAULT_STEPS`.
        images: number of training images, for epochs.
    """

    config: TrainingConfig
    images: int

    @property
    def steps(self) -> int | None:
        """The budget in steps; None for a budget in minutes."""
        if self.config.minutes is not None:
            return None
        if self.config.epochs is not None:
            return max(1, round(self.config.epochs * self.images / self.config.batch))
        return self.config.steps or DEFAULT_STEPS

    @property
    def unit(self) -> str:
        """Unit of `spent` and `total`."""
        return "seconds" if self.steps is None else "steps"

    @property
    def total(self) -> float:
        """The whole budget in steps or seconds."""
        steps = self.steps
        if steps is not None:
            return steps
        assert self.config.minutes is not None
        return 60 * self.config.minutes

    def spent(self, progress: Progress) -> float:
        """The spent budget in steps or seconds."""
        return progress.seconds if self.steps is None else progress.step

    def share(self, progress: Progress) -> float:
        """The spent fraction of the budget, 0 to 1."""
        return min(1.0, self.spent(progress) / self.total)

    def learning_rate(self, progress: Progress) -> float:
        """The learning rate: warm-up, constant, linear decay at the end; halved by every rollback."""
        training = self.config
        rise = min(1.0, (progress.step + 1) / max(1, training.warmup_steps))
        left = (1 - self.share(progress)) / max(1e-9, 1 - training.decay_from)
        fall = max(FINAL_RATE, min(1.0, left))
        return training.learning_rate * rise * fall * progress.guard.learning_rate_scale
