"""The plain model, for generation: one latent vector, no domains, our networks or the published ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.networks import Decoder, LatentEncoder, StylePrior, require_levels
from sivae_translate.models.priors import make_prior
from sivae_translate.models.published import PublishedDecoder, PublishedEncoder
from sivae_translate.models.resampling import Resampling


class PlainVAE(LatentModel):
    r"""q(z | x) and the decoder; one latent vector, no domains.

    .. math:: x \approx \mathrm{decode}(z), \quad z \sim \mathcal N(0, I)

    z, (B, Z), takes the place of the content code; the style code is (B, 0).

    Args:
        image_shape: (C, H, W) with H = W.
        latent_dim: Z.
        widths: channels at each resolution, finest (H / 2) first.
        size: side of the features between convolutions and latent.
        features: width of the latent's mapping network; of our networks only.
        encoder_blocks: residual blocks at each resolution; of our networks only.
        decoder_blocks: modulated blocks at each resolution; of our networks only.
        prior_components: Gaussians in the learned prior; 0 is N(0, I).
        resampling: how the networks change resolution; of our networks only.
        published: use the paper's networks instead of ours.

    Raises:
        ConfigError: the widths do not lead from the image size to the features' size.
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
    ) -> None:
        super().__init__()
        channels = image_shape[0]
        require_levels("widths", widths, image_shape[1], size)
        self.image_shape, self.content_shape = image_shape, (latent_dim,)
        self.style_dim = self.domains = 0
        self.translates = False
        self.content_prior = make_prior(self.content_shape, prior_components)
        self.style_encoder = NoStyle()
        self.style_prior = StylePrior(0, 0)
        if published:
            self.content_encoder = PublishedEncoder(channels, widths, size, latent_dim)
            self.decoder = PublishedDecoder(channels, widths, size, latent_dim)
            return
        self.content_encoder = LatentEncoder(channels, widths, encoder_blocks, size, latent_dim, resampling)
        self.decoder = LatentDecoder(
            Decoder(channels, widths, decoder_blocks, (0, size, size), latent_dim, features, resampling)
        )


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
