"""From settings to a model: the one place where configuration becomes plain numbers."""

from __future__ import annotations

from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.networks import coarse_end, resolutions
from sivae_translate.models.plain import PlainVAE
from sivae_translate.models.translation import TranslationVAE


def make_model(model: ModelConfig, data: DataConfig, domains: int) -> LatentModel:
    """The model that ``model.kind`` names.

    Small images use the coarse end of the widths, so that one list serves every image size.

    Args:
        model: sizes of the networks.
        data: image size and channels.
        domains: how many the data has; one means that there are no labels.

    Raises:
        ConfigError: the widths do not lead from the image size to the content size.
    """
    shape = (data.channels, data.image_size, data.image_size)
    levels = len(resolutions(data.image_size, model.content_size))
    widths, style_widths = coarse_end(model.widths, levels), coarse_end(model.style_widths, levels)
    if model.kind != "translation":
        return PlainVAE(
            shape,
            latent_dim=model.latent_dim,
            widths=widths,
            size=model.content_size,
            features=model.style_features,
            encoder_blocks=model.encoder_blocks,
            decoder_blocks=model.decoder_blocks,
            prior_components=model.prior_components,
            antialias=model.antialias,
            published=model.kind == "published",
        )
    return TranslationVAE(
        shape,
        domains if domains > 1 else 0,
        widths=widths,
        style_widths=style_widths,
        content_channels=model.content_channels,
        content_size=model.content_size,
        style_dim=model.style_dim,
        style_features=model.style_features,
        encoder_blocks=model.encoder_blocks,
        decoder_blocks=model.decoder_blocks,
        prior_components=model.prior_components,
        antialias=model.antialias,
    )
