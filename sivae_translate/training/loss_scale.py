"""Scaling the loss in float16, whose small gradients would vanish otherwise (arXiv 1710.03740, section 3.2).

The loss is multiplied by a power of two, and gradients are divided by it. If a gradient overflows, its half
of the step changes nothing and the scale is halved; after many steps without overflow it is doubled. All of
this stays on the device. A resumed run begins with the first scale again, which changes no digit of a
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

START, MOST = 2.0**16, 2.0**24
"""The first and the largest scale."""
PATIENCE = 2000
"""Steps without overflow after which the scale is doubled."""


class LossScale:
    """The scale of the loss.

    Args:
        device: where gradients are.

    Attributes:
        scale: the scale, a scalar.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), START, device=device)
        self._steps = torch.zeros((), device=device)
        self._overflow = torch.zeros((), device=device)

    def unscaled(self, gradients: Sequence[Tensor]) -> Tensor:
        """Divide the gradients of a half by the scale, in place.

        Returns:
            1 if one of them is infinite or NaN, so that the half must be skipped, else 0; scalar.
        """
        torch._foreach_mul_(list(gradients), 1 / self.scale)
        total = torch.nn.utils.get_total_norm(gradients)
        overflow = total.isfinite().logical_not().to(self.scale)
        torch.maximum(self._overflow, overflow, out=self._overflow)
        return overflow

    def update(self) -> None:
        """Adapt the scale, after both halves of a step."""
        self._steps.add_(1).mul_(1 - self._overflow)
        grows = (self._steps >= PATIENCE).to(self.scale)
        self.scale.mul_((1 + grows) * (1 - 0.5 * self._overflow)).clamp_(1.0, MOST)
        self._steps.mul_(1 - grows)
        self._overflow.zero_()
