"""The plain model, for generation: one latent vector, no domains, our networks or the published ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.levels import finest_side, require_levels
from sivae_translate.models.networks import Decoder, LatentEncoder, StylePrior
from sivae_translate.models.priors import make_prior
from sivae_translate.models.published import PublishedDecoder, PublishedEncoder
from sivae_translate.models.resampling import Resampling
from sivae_translate.models.spaces import Space
from sivae_translate.utils.errors import ConfigError


class PlainVAE(LatentModel):
    r"""q(z | x) and the decoder; one latent vector, no domains.

    .. math:: x \approx \mathrm{decode}(z), \quad z \sim \mathcal N(0, I)

    z, (B, Z), takes the place of the content code; the style code is (B, 0).

    Args:
        image_shape: (C, H, W) with H = W.
        latent_dim: Z.
        widths: channels at each resolution, finest first: half the image's side, or the side of an
            autoencoder's views.
        size: side of the features between convolutions and latent.
        features: width of the latent's mapping network; of our networks only.
        encoder_blocks: residual blocks at each resolution; of our networks only.
        decoder_blocks: modulated blocks at each resolution; of our networks only.
        prior_components: Gaussians in the learned prior; 0 is N(0, I).
        resampling: how the networks change resolution; of our networks only.
        published: the networks of the paper in place of ours.
        space: what the networks compute on; None is pixels.

    Raises:
        ConfigError: the widths do not lead from the image size to the features' size; or published networks
            are to compute on latents.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        latent_dim: int,
        widths: Sequence[int],
        size: int,
        features: int = 128,
        encoder_blocks: int = 1,
        decoder_blocks: int = 1,
        prior_components: int = 0,
        resampling: Resampling = "shuffle",
        published: bool = False,
        space: Space | None = None,
    ) -> None:
        super().__init__(image_shape, space)
        if published and self.flat:
            raise ConfigError(
                "the published networks compute on pixels, not on an autoencoder's latents",
                remedy="leave model.autoencoder out, or set model.kind to plain",
            )
        channels, side, _ = self.view_shape
        require_levels("widths", widths, finest_side(side, flat=self.flat), size)
        self.content_shape = (latent_dim,)
        self.style_dim = self.domains = 0
        self.translates = False
        self.content_prior = make_prior(self.content_shape, prior_components)
        self.style_encoder = NoStyle()
        self.style_prior = StylePrior(0, 0)
        if published:
            self.content_encoder = PublishedEncoder(channels, widths, size, latent_dim)
            self.decoder = PublishedDecoder(channels, widths, size, latent_dim)
            return
        how = (resampling, self.flat)
        self.content_encoder = LatentEncoder(channels, widths, encoder_blocks, size, latent_dim, *how)
        decoder = Decoder(channels, widths, decoder_blocks, (0, size, size), latent_dim, features, *how)
        self.decoder = LatentDecoder(decoder)


class NoStyle(nn.Module):
    """The style encoder of a plain model."""

    def forward(self, images: Tensor) -> Gaussian:
        """Map images (B, ...) to a Gaussian with parameters (B, 0), whose KL is 0."""
        empty = images.new_zeros(len(images), 0, dtype=torch.float32)
        return Gaussian(empty, empty)


class LatentDecoder(nn.Module):
    """A decoder without content, modulated by z instead of the style.

    Args:
        decoder: a decoder without content channels.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Latents (B, Z) and a style (B, 0) to images (B, C, H, W) before the sigmoid, in float32."""
        images: Tensor = self.decoder(None, content)
        return images
