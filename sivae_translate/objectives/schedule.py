"""Which weights are in force when: the content code opens gradually, then introspection starts."""

from __future__ import annotations

from dataclasses import dataclass

from sivae_translate.config import ObjectiveConfig


@dataclass(frozen=True)
class Weights:
    """The weights of one step.

    Attributes:
        beta_kl: of the content KL of real images.
        beta_kl_fake: of the KL of fakes in the decoder's half.
        beta_neg: of the KL of fakes in the expELBO.
        back: of the back-translation error; 0 leaves its passes out.
        introspection: whether fakes take part.
    """

    beta_kl: float
    beta_kl_fake: float
    beta_neg: float
    back: float
    introspection: bool


NATS_OF_FAKES = 8.0
"""By default the expELBO of a fake falls by a factor e for each 8 nats of its KL, whatever the image size."""


def weights_at(config: ObjectiveConfig, progress: float, values: int) -> Weights:
    """Weights at a share ``progress`` of the training, 0 to 1.

    The content KL's weight falls geometrically from ``beta_kl_start`` to ``beta_kl`` until ``open_until``. At the start little
    passes through the content code and the decoder learns each domain's look from the style alone; then content is let in bit
    by bit. Opened at once, the content code carries everything, the style is ignored and translation is the identity.

    Args:
        config: weights and times.
        progress: share of the training.
        values: C * H * W of an image.
    """
    opened = min(1.0, progress / config.open_until) if config.open_until else 1.0
    introspection = progress >= config.introspection_from
    return Weights(
        beta_kl=config.beta_kl_start * (config.beta_kl / config.beta_kl_start) ** opened,
        beta_kl_fake=config.beta_kl_fake,
        beta_neg=config.beta_neg or values / (2 * NATS_OF_FAKES),
        back=config.back if progress >= config.back_from else 0.0,
        introspection=introspection,
    )
