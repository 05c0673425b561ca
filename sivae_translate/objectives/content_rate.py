r"""Holds the content KL at a target in nats by adapting its weight.

How many nats a given weight lets through depends on the data, the image size and the networks; a target in
nats can be chosen directly. With k the batch's mean KL and k* the target,

.. math::
    \log \beta_{kl} \leftarrow \log \beta_{kl} + \eta\,\mathrm{clip}(\log(k / k^*), -1, 1)

The target rises while the content code opens, so that little passes at first. The weight stays on the
device, so no step waits for it.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor

from sivae_translate.objectives.read_once import ReadOnce

GAIN = 0.01
"""Change of the log weight per step and per unit of log KL: a hundred steps at twice the target double the
weight."""
LEAST, MOST = 1e-4, 1e4
"""Bounds of the weight, as factors of its start."""
LEAST_KL = 1e-3
"""Smallest KL in nats: smaller ones count as this, so that the logarithm is finite."""


class ContentRate(ReadOnce):
    """The weight of the content KL.

    Args:
        start: weight before the first step.

    Attributes:
        gain: how fast the weight changes; smaller if it is updated more than once per step.
    """

    log_weight: Tensor
    log_before_fakes: Tensor

    def __init__(self, start: float) -> None:
        super().__init__()
        self.gain = GAIN
        self.bounds = math.log(start * LEAST), math.log(start * MOST)
        self.register_buffer("log_weight", torch.tensor(math.log(start)))
        self.register_buffer("log_before_fakes", torch.tensor(math.log(start)))

    @property
    def weight(self) -> Tensor:
        """The weight now, a scalar on the device."""
        return self.log_weight.exp()

    @torch.no_grad()
    def update(self, kl: Tensor, target: float | Tensor, *, fakes: bool) -> None:
        """Update the weight once.

        Args:
            kl: content KLs of a batch of real images, (B,), in nats.
            target: k*, in nats.
            fakes: whether fakes have entered.
        """
        mean = kl.mean().float()
        if dist.is_available() and dist.is_initialized():  # one weight for all processes
            dist.all_reduce(mean)
            mean = mean / dist.get_world_size()
        goal = target.log() if isinstance(target, Tensor) else math.log(target)
        gap = (mean.clamp(min=LEAST_KL).log() - goal).clamp(-1, 1)
        self.log_weight.add_(gap, alpha=self.gain).clamp_(*self.bounds)
        if not fakes:
            self.log_before_fakes.copy_(self.log_weight)
            self.forget()

    def before_fakes(self) -> float:
        """The weight when fakes entered; read from the device once, since it does not change afterwards."""
        (log_weight,) = self.read_once(self.log_before_fakes)
        return math.exp(log_weight)
