"""Schedules of the loss weights: the content code opens, then introspection starts; and balanced weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sivae_translate.config import ObjectiveConfig, RampConfig


@dataclass(frozen=True)
class Weights:
    """The weights of one step.

    Attributes:
        beta_rec: of reconstruction errors.
        beta_kl: of the content KL of real images.
        beta_style: of their style KL.
        beta_neg: of the KL of fakes where the encoders push it up; None is still to be balanced.
        beta_kl_fake: of the KL of fakes in the decoder's half.
        back_translation: of the back-translation error; 0 leaves its passes out.
        gamma_r: of the reconstruction error of fakes in the decoder's half; 0 leaves its pass out.
        introspection: whether fakes take part.
    """

    beta_rec: float
    beta_kl: float
    beta_style: float
    beta_neg: float | None
    beta_kl_fake: float
    back_translation: float
    gamma_r: float
    introspection: bool


BALANCE = 0.75
"""The KL, as a share of that of real images, at which the push on fakes and the pull on real images are
equally strong."""
LEAST_KL = 6.0
"""That KL is at least this many nats, or one a dimension: below, fakes and real images cannot be told
apart."""
MARGIN = 1.2
"""The hinge's margin, as a multiple of that KL: at 1 or below, a fake as unlikely as a real image is not
pushed at all; far above it real images are pushed along with fakes."""
AVERAGED_STEPS = 50
"""Steps over which the KL of real images is averaged."""


class RealKL(nn.Module):
    """The KL of real images while no fakes took part, in nats; beta_neg (`balanced_beta_neg`) and the hinge's
    margin follow it.

    It must not be the running KL: with fakes in the game the push raises the KL of real images as well, a
    beta_neg that follows it reaches further, and the two inflate each other without end.
    """

    steps: Tensor
    content: Tensor
    style: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("content", torch.tensor(0.0))
        self.register_buffer("style", torch.tensor(0.0))
        self._read: tuple[bool, float, float] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def update(self, content: Tensor, style: Tensor) -> None:
        """Take in a batch's KLs, (B,) each; averages over about `AVERAGED_STEPS` steps."""
        self.steps += 1
        share = 1 / self.steps.clamp(max=AVERAGED_STEPS)
        self.content.lerp_(content.mean().to(self.content), share)
        self.style.lerp_(style.mean().to(self.style), share)
        self._read = None

    def read(self) -> tuple[bool, float, float]:
        """Whether there were any steps, and the KLs of content and style.

        They are read from the device once after each `update`: while fakes are in the game nothing changes
        here, and a step waits for nothing.
        """
        if self._read is None:
            steps, content, style = torch.stack([self.steps.float(), self.content, self.style]).tolist()
            self._read = steps > 0, content, style
        return self._read


def _forget(module: nn.Module, _: object) -> None:
    """What was read before other values were loaded."""
    assert isinstance(module, RealKL)
    module._read = None


def weights_at(config: ObjectiveConfig, progress: float, *, introspective: bool = True) -> Weights:
    """Weights at a share ``progress`` of the training, 0 to 1.

    The content KL's weight falls geometrically from ``beta_kl_start`` to ``beta_kl`` until
    ``content_open_at``. At the start little passes through the content code and the decoder learns each
    domain's look from the style alone; then content is let in bit by bit. Opened at once, the content code
    carries everything, the style is ignored and translation is the identity.

    Args:
        config: weights and times.
        progress: share of the training.
        introspective: whether the objective has fakes at all.
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
    )
    ramped: dict[str, Any] = {ramp.name: _ramped(ramp, progress) for ramp in config.ramps}
    return replace(weights, **ramped)


def between(start: float, end: float, share: float) -> float:
    """From start to end: geometrically between positive numbers, else linearly."""
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
    r"""A beta_neg that suits the KL that real images have without fakes, so that nobody has to choose one.

    Of a fake with KL k the two expELBOs push k upwards with scale * beta_neg * exp(-2 scale beta_neg k); of a
    real image k is pulled down with scale * p, where p = pull / kl. While the encoders cannot tell the
    two apart, k settles where push and pull are equal:

    .. math:: k = \frac{1}{2\,scale\,\beta_{neg}} \ln \frac{\beta_{neg}}{p}

    This solves for the larger of the two beta_neg that put that point at `BALANCE` times the KL of real
    images, but not below `LEAST_KL`: fakes as unlikely as real images are hardly pushed any more, likelier
    ones are. Where no solution exists, it gives the beta_neg that comes nearest, 1 / (2 scale k).

    Args:
        kl: KL of real images, weighted as that of fakes; nats.
        pull: the same, with the weights that real images' KLs have in the loss.
        scale: 1 / (C H W).
        dimensions: of the codes that fakes are scored by.

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
