"""Schedules of the loss weights, and the automatic balance of beta_neg."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sivae_translate.config import ObjectiveConfig, RampConfig
from sivae_translate.objectives.read_once import ReadOnce

Number = float | Tensor
"""A number, or a scalar on the device that may change between replays of a recorded step."""


@dataclass(frozen=True)
class Weights:
    """The weights of one step.

    Attributes:
        beta_rec: weight of reconstruction errors.
        beta_kl: weight of the content KL of real images.
        beta_style: weight of their style KL.
        beta_neg: weight of the KL of fakes in the encoders' half; None is balanced automatically.
        beta_kl_fake: weight of the KL of fakes in the decoder's half.
        back_translation: weight of the back-translation error; 0 skips its passes.
        gamma_r: weight of the reconstruction error of fakes in the decoder's half; 0 skips its pass.
        introspection: whether fakes take part.
        content_nats: what the content KL is held at now, in place of a set ``beta_kl``; None leaves that.
        margin: the margin of the hinge, in nats; None is computed from the KL of real images.
    """

    beta_rec: Number
    beta_kl: Number
    beta_style: Number
    beta_neg: Number | None
    beta_kl_fake: Number
    back_translation: Number
    gamma_r: Number
    introspection: bool
    content_nats: Number | None = None
    margin: Number | None = None


def takes_part(weight: Number) -> bool:
    """Whether a term takes part: its weight is not 0. The weight of a term on the device never is.

    >>> takes_part(0.0), takes_part(torch.tensor(0.5))
    (False, True)
    """
    return isinstance(weight, Tensor) or weight != 0


BALANCE = 0.75
"""The KL, as a fraction of that of real images, at which the push on fakes and the pull on real images
balance."""
LEAST_KL = 6.0
"""Lower bound of that KL in nats, at most 1 per dimension: below, fakes and real images cannot be
distinguished."""
MARGIN = 1.2
"""The hinge's margin, as a multiple of that KL: at 1 or below, a fake as likely as a real image is not pushed
at all; far above 1, real images are pushed along with fakes."""
LEAST_OPEN = 0.05
"""Share of ``content_nats`` that the content code may hold at the start."""
AVERAGED_STEPS = 50
"""Number of steps over which the KL of real images is averaged."""


class RealKL(ReadOnce):
    """The KL of real images before fakes took part, in nats.

    It determines beta_neg (`balanced_beta_neg`) and the hinge's margin. The current KL must not be used: with
    fakes, the push raises the KL of real images as well, a beta_neg that follows it reaches further, and both
    would grow without bound.
    """

    steps: Tensor
    content: Tensor
    style: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("content", torch.tensor(0.0))
        self.register_buffer("style", torch.tensor(0.0))

    @torch.no_grad()
    def update(self, content: Tensor, style: Tensor) -> None:
        """Add the KLs of a batch, (B,) each, to an average over about `AVERAGED_STEPS` steps."""
        self.steps += 1
        share = 1 / self.steps.clamp(max=AVERAGED_STEPS)
        self.content.lerp_(content.mean().to(self.content), share)
        self.style.lerp_(style.mean().to(self.style), share)
        self.forget()

    def read(self) -> tuple[bool, float, float]:
        """Whether there were any steps, and the KLs of content and style.

        They are read from the device once after each `update`: with fakes nothing changes here, so a step
        does not have to wait for the device.
        """
        steps, content, style = self.read_once(self.steps, self.content, self.style)
        return steps > 0, content, style


def weights_at(config: ObjectiveConfig, progress: float, *, introspective: bool = True) -> Weights:
    """Weights at a fraction ``progress`` of the training, 0 to 1.

    The weight of the content KL falls geometrically from ``beta_kl_start`` to ``beta_kl`` until
    ``content_open_at``. At first little passes through the content code, and the decoder learns each domain's
    appearance from the style alone; then the content opens gradually. If it were open from the start, it
    would carry everything, the style would be ignored and translation would be the identity. With
    ``content_nats`` a target rises instead, from a twentieth, and the weight follows (`ContentRate`).

    Args:
        config: weights and times.
        progress: fraction of the training.
        introspective: whether the objective has fakes.
    """
    opening = min(1.0, progress / config.content_open_at) if config.content_open_at else 1.0
    weights = Weights(
        beta_rec=config.beta_rec,
        beta_kl=between(config.beta_kl_start, config.beta_kl, opening),
        beta_style=config.beta_style,
        beta_neg=config.beta_neg,
        beta_kl_fake=config.beta_kl_fake,
        back_translation=config.back_translation if progress >= config.back_translation_from else 0.0,
        gamma_r=config.gamma_r,
        introspection=introspective and progress >= config.introspection_from,
        content_nats=config.content_nats and config.content_nats * between(LEAST_OPEN, 1.0, opening),
        margin=config.margin,
    )
    ramped: dict[str, Any] = {ramp.name: _ramped(ramp, progress) for ramp in config.ramps}
    return replace(weights, **ramped)


def between(start: float, end: float, share: float) -> float:
    """Interpolate from start to end: geometrically between positive numbers, else linearly."""
    if start > 0 and end > 0:
        return float(start * (end / start) ** share)
    return start + (end - start) * share


def _ramped(ramp: RampConfig, progress: float) -> float:
    if ramp.until <= ramp.begin:
        return ramp.end if progress >= ramp.until else ramp.start
    return between(
        ramp.start, ramp.end, min(1.0, max(0.0, (progress - ramp.begin) / (ramp.until - ramp.begin)))
    )


def balanced_beta_neg(kl: float, pull: float, scale: float, dimensions: int) -> float:
    r"""A beta_neg that matches the KL of real images without fakes.

    The two expELBOs push the KL k of a fake up with scale * beta_neg * exp(-2 scale beta_neg k), and that of
    a real image is pulled down with scale * p, where p = pull / kl. As long as the encoders cannot
    distinguish the two, k settles where push and pull are equal:

    .. math:: k = \frac{1}{2\,scale\,\beta_{neg}} \ln \frac{\beta_{neg}}{p}

    This returns the larger of the two beta_neg for which this point is `BALANCE` times the KL of real images,
    but not below `LEAST_KL`: fakes as likely as real images are hardly pushed, likelier ones are. If there is
    no solution, it returns the nearest beta_neg, 1 / (2 scale k).

    Args:
        kl: KL of real images in nats, weighted like that of fakes.
        pull: the same KL, with its weights in the loss.
        scale: 1 / (C H W).
        dimensions: number of dimensions of the codes that fakes are scored by.

    Returns:
        beta_neg > 0.
    """
    slope = max(pull / max(kl, 1e-6), 1e-6)
    flat = 1 / (2 * scale * max(BALANCE * kl, min(LEAST_KL, dimensions)))
    beta_neg = flat * math.e
    if flat <= slope * math.e:
        return flat
    for _ in range(60):  # a contraction around the larger solution
        beta_neg = flat * math.log(beta_neg / slope)
    return beta_neg
