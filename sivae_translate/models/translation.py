"""The translation model: content that domains share, a style with a prior per domain, and a decoder."""

from __future__ import annotations

from collections.abc import Sequence

from sivae_translate.models.latent import LatentModel
from sivae_translate.models.levels import finest_side, require_levels
from sivae_translate.models.networks import ContentEncoder, Decoder, StyleEncoder, StylePrior
from sivae_translate.models.priors import make_prior
from sivae_translate.models.resampling import Resampling
from sivae_translate.models.spaces import Space


class TranslationVAE(LatentModel):
    r"""q(c | x), q(s | x), p(s | d) and the decoder.

    .. math:: x \approx \mathrm{decode}(c, s), \quad c \sim \mathcal N(0, I), \quad s \sim \mathcal N(m_d, I)

    Args:
        image_shape: (C, H, W) with H = W.
        domains: number of labelled domains; 0 without labels, where p(s) = N(0, I).
        widths: channels of the content encoder and the decoder at each resolution, finest first: half the
            image's side, or the side of an autoencoder's views.
        style_widths: channels of the style encoder at each resolution.
        content_channels: Cc.
        content_size: h = w of the content code.
        style_dim: S.
        style_features: width of the style's mapping network.
        encoder_blocks: residual blocks of the encoders at each resolution.
        decoder_blocks: modulated blocks of the decoder at each resolution.
        prior_components: Gaussians in the learned prior of the content; 0 is N(0, I).
        resampling: how the networks change resolution.
        space: what the networks compute on; None is pixels.

    Raises:
        ConfigError: the widths do not lead from the image size to the content size.

    >>> import torch
    >>> sizes = {"content_channels": 4, "content_size": 4, "style_dim": 8, "style_features": 16}
    >>> model = TranslationVAE((3, 16, 16), domains=2, widths=(8, 16), style_widths=(8, 8), **sizes)
    >>> codes = model.encode(torch.rand(5, 3, 16, 16)).mean
    >>> codes.content.shape, codes.style.shape, model.decode(codes).shape
    (torch.Size([5, 4, 4, 4]), torch.Size([5, 8]), torch.Size([5, 3, 16, 16]))
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        domains: int,
        *,
        widths: Sequence[int],
        style_widths: Sequence[int],
        content_channels: int,
        content_size: int,
        style_dim: int,
        style_features: int,
        encoder_blocks: int = 1,
        decoder_blocks: int = 1,
        prior_components: int = 0,
        resampling: Resampling = "shuffle",
        space: Space | None = None,
    ) -> None:
        super().__init__(image_shape, space)
        channels, side, _ = self.view_shape
        finest = finest_side(side, flat=self.flat)
        require_levels("widths", widths, finest, content_size)
        require_levels("style_widths", style_widths, finest, content_size)
        self.content_shape = content_shape = (content_channels, content_size, content_size)
        self.style_dim, self.domains, self.translates = style_dim, domains, True
        self.content_prior = make_prior(content_shape, prior_components)
        how = (resampling, self.flat)
        self.content_encoder = ContentEncoder(channels, widths, encoder_blocks, content_channels, *how)
        self.style_encoder = StyleEncoder(channels, style_widths, encoder_blocks, style_dim, *how)
        self.style_prior = StylePrior(domains, style_dim)
        self.decoder = Decoder(
            channels, widths, decoder_blocks, content_shape, style_dim, style_features, *how
        )
