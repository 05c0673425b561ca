"""Which weights are in force when: the content code opens gradually, then introspection starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sivae_translate.config import ObjectiveConfig


@dataclass(frozen=True)
class Weights:
    """The weights of one step.

    Attributes:
        beta_kl: of the content KL of real images.
        beta_kl_fake: of the KL of fakes in the decoder's half.
        back: of the back-translation error; 0 leaves its passes out.
        introspection: whether fakes take part.
    """

    beta_kl: float
    beta_kl_fake: float
    back: float
    introspection: bool


BALANCE = 0.75
"""The KL, as a share of that of real images, at which the push on fakes and the pull on real images are equally strong."""


def weights_at(config: ObjectiveConfig, progress: float, *, introspective: bool = True) -> Weights:
    """Weights at a share ``progress`` of the training, 0 to 1.

    The content KL's weight falls geometrically from ``beta_kl_start`` to ``beta_kl`` until ``open_until``. At the start little
    passes through the content code and the decoder learns each domain's look from the style alone; then content is let in bit
    by bit. Opened at once, the content code carries everything, the style is ignored and translation is the identity.

    Args:
        config: weights and times.
        progress: share of the training.
        introspective: whether the objective has fakes at all.
    """
    opened = min(1.0, progress / config.open_until) if config.open_until else 1.0
    return Weights(
        beta_kl=config.beta_kl_start * (config.beta_kl / config.beta_kl_start) ** opened,
        beta_kl_fake=config.beta_kl_fake,
        back=config.back if progress >= config.back_from else 0.0,
        introspection=introspective and progress >= config.introspection_from,
    )


def balanced_beta_neg(nats: float, pulled: float, scale: float) -> float:
    r"""A beta_neg that suits the KL that real images have just now, so that nobody has to choose one.

    Of a fake with KL k the two expELBOs push k upwards with scale * beta_neg * exp(-2 scale beta_neg k); of a real image k
    is pulled down with scale * p, where p = pulled / nats. While the encoders cannot tell the two apart, k settles where
    push and pull are equal:

    .. math:: k = \frac{1}{2\,scale\,\beta_{neg}} \ln \frac{\beta_{neg}}{p}

    This solves for the larger of the two beta_neg that put that point at `BALANCE` times the KL of real images: fakes as
    unlikely as real images are hardly pushed any more, likelier ones are. Where the KL is too large for any solution, it
    gives the beta_neg that comes nearest, 1 / (2 scale k). (32 px, three channels, 40 nats: 290, where the paper has 256.)

    Args:
        nats: KL of real images as fakes are judged, in nats.
        pulled: the same, with the weights that real images' KLs have in the loss.
        scale: 1 / (C H W).

    Returns:
        beta_neg > 0.
    """
    nats = max(nats, 1e-3)
    pull = max(pulled / nats, 1e-6)
    flat = 1 / (2 * scale * BALANCE * nats)
    beta_neg = flat * math.e
    if flat <= pull * math.e:
        return flat
    for _ in range(60):  # a contraction around the larger solution
        beta_neg = flat * math.log(beta_neg / pull)
    return beta_neg
