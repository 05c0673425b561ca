"""Building a model from settings: the only place where settings become plain numbers."""

from __future__ import annotations

import torch

from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.levels import coarse_end, finest_side, resolutions
from sivae_translate.models.plain import PlainVAE
from sivae_translate.models.spaces import Pixels, Space
from sivae_translate.models.translation import TranslationVAE
from sivae_translate.utils.errors import ConfigError

MOST_PARAMETERS = 1_000_000_000
"""Most parameters of a model; training needs about twenty bytes for each."""
MOST_VIEW_CHANNELS = 32
"""Most latent channels that `parameter_bound` allows for."""


def make_model(model: ModelConfig, data: DataConfig, domains: int, space: Space | None = None) -> LatentModel:
    """Build the model that ``model.kind`` names.

    Small images use the coarse end of the widths, so that one list fits every image size.

    Args:
        model: sizes of the networks.
        data: image size and channels.
        domains: number of domains in the data; 1 means that there are no labels.
        space: what the networks compute on; None is pixels.

    Raises:
        ConfigError: the widths do not lead from the image size to the content size, or the model would have
            more than `MOST_PARAMETERS`.
    """
    if parameter_bound(model, data, domains, space) > MOST_PARAMETERS:
        count = sum(shape.numel() for shape in model_shapes(model, data, domains, space).values())
        if count > MOST_PARAMETERS:
            raise ConfigError(
                f"the model would have {count:,} parameters, more than {MOST_PARAMETERS:,}",
                remedy="choose smaller model.widths, model.style_widths, blocks or codes",
            )
    return _build(model, data, domains, space)


def model_shapes(
    model: ModelConfig, data: DataConfig, domains: int, space: Space | None = None
) -> dict[str, torch.Size]:
    """Names and shapes of a model's tensors, without allocating them.

    Raises:
        ConfigError: the widths do not lead from the image size to the content size.
    """
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        built = _build(model, data, domains, space)
        return {name: value.shape for name, value in built.state_dict().items()}


def parameter_bound(model: ModelConfig, data: DataConfig, domains: int, space: Space | None = None) -> int:
    """A fast upper bound of the number of the networks' parameters: all layers are as wide as the widest.

    The parameters of an autoencoder are not counted.
    """
    levels = _levels(model, data, space)
    width = max(
        *coarse_end(model.widths, levels), *coarse_end(model.style_widths, levels), 12, MOST_VIEW_CHANNELS
    )
    code = max(model.style_features, model.style_dim, model.latent_dim, model.content_channels)
    blocks = max(model.encoder_blocks, model.decoder_blocks) + 2
    layers = 3 * levels * blocks * (24 * width**2 + 8 * width * code + 8 * code**2)
    sides = model.content_size**2
    priors = 2 * model.prior_components * max(model.latent_dim, model.content_channels * sides)
    return layers + 4 * sides * width * code + priors + domains * model.style_dim


def image_shape(data: DataConfig) -> tuple[int, int, int]:
    """(C, H, W)."""
    return (data.channels, data.image_size, data.image_size)


def _levels(model: ModelConfig, data: DataConfig, space: Space | None) -> int:
    """How many resolutions the networks work at."""
    space = Pixels() if space is None else space
    side = space.shape(image_shape(data))[-1]
    return len(resolutions(finest_side(side, flat=space.factor > 1), model.content_size))


def _build(model: ModelConfig, data: DataConfig, domains: int, space: Space | None) -> LatentModel:
    """`make_model`, without a limit on the size."""
    shape = image_shape(data)
    levels = _levels(model, data, space)
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
            resampling=model.resampling,
            published=model.kind == "published",
            space=space,
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
        resampling=model.resampling,
        space=space,
    )
