r"""A critic of places: the game is played at every place of an image instead of the image as a whole.

The exponential of a whole image's KL vanishes as soon as one place is bad. Here a separate encoder gives a
Gaussian over u at every place p of a coarse map, with a prior N(m_d, I) for the domain d that the image
belongs to or claims to be in. With means over places and images,

.. math::
    encoder &: b\,KL_p(x) + \tfrac14 \sum_f \exp(-2 a\,KL_p(f)) \\
    decoder &: \tfrac{w}{2} \sum_f KL_p(f)

Push and pull on a fake's KL balance at ln(a / b) / 2a, which is set by ``place_kl``. This is the
introspective counterpart of a patch discriminator (arXiv 1611.07004): it, too, separates real from generated
images, but only by a KL. The codes that images are decoded from are not involved, so the push cannot affect
them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sivae_translate.config import ObjectiveConfig
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.levels import finest_side
from sivae_translate.models.networks import PlaceEncoder

WIDTHS = (32, 64, 96)
"""Channels of the critic at the finest features and at the halves of their side."""
DIMENSIONS = 8
"""Number of dimensions of u."""
STEEPNESS = 3.0
"""ln(a / b): how much weaker the pull on real places is than the push on likely fakes."""
SHARE = 0.1
"""Weight of the critic's own loss. Adam compensates for it, and it leaves the common bound of the gradient
norm to the encoders."""


class PlaceCritic(nn.Module):
    """The critic and its two halves of the game.

    Args:
        config: ``places`` and ``place_kl``.
        model: for the views' shape and the number of domains.
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel) -> None:
        super().__init__()
        channels, side, _ = model.view_shape
        finest = finest_side(side, flat=model.flat)
        levels = max(1, min(len(WIDTHS), int(math.log2(finest)) - 2))
        self.encoder = PlaceEncoder(channels, WIDTHS[:levels], DIMENSIONS, model.domains, model.flat)
        self.weight, self.slope = config.places, STEEPNESS / (2 * config.place_kl)

    def kl(self, images: Tensor, domain: Tensor) -> Tensor:
        """KL of every place under the prior of a domain.

        Args:
            images: (B, C, H, W).
            domain: (B,).

        Returns:
            (B, h, w), in nats.
        """
        posterior: Gaussian = self.encoder(images)
        prior = self.encoder.means[domain][:, :, None, None]
        return 0.5 * posterior.doubled_kl_terms(prior).sum(1)

    def encoder_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The encoder's half; scalar.

        Args:
            real: KLs of real places.
            fake: KLs of the places of detached fakes.
        """
        pull = self.slope * math.exp(-STEEPNESS) * real.mean()
        return SHARE * (pull + 0.5 * torch.exp(-2 * self.slope * fake).mean())

    def decoder_loss(self, fake: Tensor) -> Tensor:
        """The decoder's half; scalar. The KLs are those of fakes under the updated encoder."""
        return self.weight * fake.mean()
