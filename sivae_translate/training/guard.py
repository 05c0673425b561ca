"""The guard: if training diverges, return to the last good state with a lower learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

MEMORY = 0.9
"""Decay of the running means, per observation."""
PATIENCE = 20
"""How many observations of a collapsed KL difference are tolerated, and how many after the start of fakes are
ignored."""


@dataclass
class Guard:
    """Watches the loss, the gradients and the KL difference.

    A healthy introspective VAE gives fakes at least about the KL of real images. If the KL of fakes stays
    below half of that of real images, the encoders have lost the game: fakes seem likelier to them than real
    images.

    Attributes:
        learning_rate_scale: halved by each rollback.
        rollbacks: number of rollbacks so far.
        kl_real: running mean in nats; None before introspection.
        kl_fake: running mean in nats; None before introspection.
        collapsed: consecutive observations with a collapsed KL difference.
        observations: number of observations with fakes.
    """

    learning_rate_scale: float = 1.0
    rollbacks: int = 0
    kl_real: float | None = None
    kl_fake: float | None = None
    collapsed: int = 0
    observations: int = 0

    def problem(self, metrics: Mapping[str, float]) -> str | None:
        """Describe what is wrong with the metrics of a step, or None.

        Args:
            metrics: an objective's `metrics`, and the gradient norms.
        """
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            return f"{', '.join(bad)} not finite"
        if "kl_fake" not in metrics:
            return None
        self.kl_real = _running(self.kl_real, metrics["kl_real"])
        self.kl_fake = _running(self.kl_fake, metrics["kl_fake"])
        self.observations += 1
        lost = self.observations > PATIENCE and self.kl_fake < 0.5 * self.kl_real
        self.collapsed = self.collapsed + 1 if lost else 0
        if self.collapsed > PATIENCE:
            return (
                f"the KL difference collapsed: fakes have {self.kl_fake:.3g} nats, real images "
                f"{self.kl_real:.3g}"
            )
        return None

    def rolled_back(self) -> Guard:
        """The guard after a rollback: half the learning rate, and running means reset."""
        return Guard(learning_rate_scale=0.5 * self.learning_rate_scale, rollbacks=self.rollbacks + 1)


def _running(mean: float | None, value: float) -> float:
    return value if mean is None else MEMORY * mean + (1 - MEMORY) * value
