"""TranslationVAE: a variational autoencoder with a content code and a style code, and a prior for each domain's style."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sivae_translate.codes import Codes, Posterior
from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.errors import ConfigError, InputError
from sivae_translate.nn.networks import ContentEncoder, Decoder, StyleEncoder, StylePrior, resolutions


class TranslationVAE(nn.Module):
    r"""q(c | x), q(s | x), p(s | d) and the decoder.

    .. math:: x \approx \mathrm{decode}(c, s), \quad c \sim \mathcal N(0, I), \quad s \sim \mathcal N(m_d, I)

    Args:
        model: sizes of the networks.
        data: image size and channels.
        domains: number of labelled domains; 0 without labels, where p(s) = N(0, I).

    Raises:
        ConfigError: the widths do not lead from the image size to the content size.
    """

    def __init__(self, model: ModelConfig, data: DataConfig, domains: int) -> None:
        super().__init__()
        self.image_shape = (data.channels, data.image_size, data.image_size)
        self.content_shape = (model.content_channels, model.content_size, model.content_size)
        self.style_dim = model.style_dim
        self.domains = domains
        levels = len(resolutions(data.image_size, model.content_size))
        for name, widths in (("widths", model.widths), ("style_widths", model.style_widths)):
            if len(widths) < levels:
                raise ConfigError(
                    f"model.{name} lists {len(widths)} widths, but {levels} resolutions lie between an image of "
                    f"{data.image_size} px and a content code of {model.content_size} px",
                    remedy=f"give {levels} widths, the finest resolution first",
                )
        # Small images use the coarse end of the list, so that one list serves every image size.
        widths, style_widths = model.widths[-levels:], model.style_widths[-levels:]
        self.content_encoder = ContentEncoder(data.channels, widths, model.encoder_blocks, model.content_channels)
        self.style_encoder = StyleEncoder(data.channels, style_widths, model.encoder_blocks, model.style_dim)
        self.style_prior = StylePrior(domains, model.style_dim)
        self.decoder = Decoder(
            data.channels,
            widths,
            model.decoder_blocks,
            self.content_shape,
            model.style_dim,
            model.style_features,
        )

    def encoder_parameters(self) -> list[nn.Parameter]:
        """What the encoders' half of a step moves."""
        return [*self.content_encoder.parameters(), *self.style_encoder.parameters()]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """What the decoder's half of a step moves: the decoder and the domains' prior means."""
        return [*self.decoder.parameters(), *self.style_prior.parameters()]

    def encode(self, images: Tensor) -> Posterior:
        """Images (B, C, H, W) in [0, 1] to the posteriors of content (B, Cc, h, w) and style (B, S).

        Raises:
            InputError: the images have another shape than the model's.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            raise InputError(
                f"images have shape {tuple(images.shape)}, the model takes (B, {', '.join(map(str, self.image_shape))})",
                remedy="let Translator prepare the images, or resize them and convert their channels",
            )
        return Posterior(self.content_encoder(images), self.style_encoder(images))

    def decode(self, codes: Codes) -> Tensor:
        """Codes to images (B, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.logits(codes))

    def logits(self, codes: Codes) -> Tensor:
        """Codes to images (B, C, H, W) before the sigmoid, in float32; the Bernoulli reconstruction error is exact on these."""
        images: Tensor = self.decoder(codes.content, codes.style)
        return images

    def prior_style(self, domain: Tensor | None, batch: int) -> Tensor:
        """Mean of p(s | d): (B, S), for domain indices (B,); zeros without labels."""
        return self.style_prior(domain if self.domains else None, batch)  # type: ignore[no-any-return]

    def translate(self, images: Tensor, style: Tensor) -> Tensor:
        """decode(content mean of the images (B, C, H, W), style (B, S)): (B, C, H, W) in [0, 1]."""
        return self.decode(Codes(self.content_encoder(images).mean, style))

    def sample(self, count: int, domain: int | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw content from N(0, I) and style from the domain's prior: images (count, C, H, W) in [0, 1].

        Args:
            count: number of images.
            domain: domain index; None only without labels.
            generator: on the model's device.
        """
        device = self.style_prior.means.device
        content = torch.randn(count, *self.content_shape, device=device, generator=generator)
        index = None if domain is None else torch.full((count,), domain, device=device)
        noise = torch.randn(count, self.style_dim, device=device, generator=generator)
        return self.decode(Codes(content, self.prior_style(index, count) + noise))
