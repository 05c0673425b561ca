"""The settings: a frozen, validated class for each section of the file, two in modules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sivae_translate.config.data_settings import DataConfig
from sivae_translate.config.kinds import (
    Blocks,
    Count,
    Dimension,
    NonNegative,
    Positive,
    Section,
    Share,
    Width,
)
from sivae_translate.config.sizes import SIZES, with_size
from sivae_translate.config.training_settings import TrainingConfig
from sivae_translate.utils.choices import ObjectiveName

_SMALL = SIZES["small"]


class ModelConfig(Section):
    """Sizes of the networks; widths run from the finest resolution to that of the content code.

    The finest resolution is half the image's side, or the side of the latents.

    >>> ModelConfig(size="base", decoder_blocks=3).widths
    (64, 128, 192, 384)
    """

    kind: Annotated[
        Literal["translation", "plain", "published"],
        Field(
            description="plain: one latent vector without domains, for generation; published: plain "
            "with the paper's networks"
        ),
    ] = "translation"
    size: Annotated[
        Literal["small", "base", "large"],
        Field(
            description="sets widths, blocks and style sizes together (docs/training.md); a value "
            "given for one of them takes precedence"
        ),
    ] = "small"
    latent_dim: Annotated[Dimension, Field(description="plain models: size of the latent vector")] = 128
    prior_components: Annotated[
        int,
        Field(
            ge=0,
            le=65_536,
            description="Gaussians in the learned prior of the content or the latent; 0 is N(0, I)",
        ),
    ] = 0
    content_size: Annotated[
        int, Field(ge=1, le=128, description="side of the content code (7 for images of 28 px)")
    ] = 4
    content_channels: Annotated[Dimension, Field(description="channels of the content code")] = 16
    style_dim: Annotated[Dimension, Field(description="length of the style code")] = _SMALL["style_dim"]
    style_features: Annotated[
        Dimension, Field(description="width of the layers that turn a style into scales")
    ] = _SMALL["style_features"]
    autoencoder: Annotated[
        str | None,
        Field(
            max_length=4096,
            description="compute on the latents of an autoencoder: own trains one first; a run, a model file "
            "or an autoencoder's file provides one; none computes on pixels",
        ),
    ] = None
    downsampling: Annotated[
        Literal[4, 8], Field(description="of the run's own autoencoder: image side divided by latent side")
    ] = 4
    widths: Annotated[tuple[Width, ...], Field(max_length=16, description="content encoder and decoder")] = (
        _SMALL["widths"]
    )
    style_widths: Annotated[tuple[Width, ...], Field(max_length=16, description="style encoder")] = _SMALL[
        "style_widths"
    ]
    encoder_blocks: Annotated[
        Blocks, Field(description="residual blocks per resolution of the content encoder")
    ] = _SMALL["encoder_blocks"]
    resampling: Annotated[
        Literal["shuffle", "antialiased", "smooth"],
        Field(
            description="how networks change resolution; smooth produces no texture of its own but learns "
            "fine detail more slowly; antialiased is shuffle with smoothed images for the encoders"
        ),
    ] = "shuffle"
    decoder_blocks: Annotated[Blocks, Field(description="residual blocks per resolution of the decoder")] = (
        _SMALL["decoder_blocks"]
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return with_size(values) if isinstance(values, Mapping) else values


class EncoderAugmentConfig(Section):
    """Differentiable augmentation of the encoders' inputs (kornia, on the device); 0 is off."""

    shift: Annotated[float, Field(ge=0, le=0.5, description="largest shift, as a fraction of the side")] = 0.0
    cutout: Annotated[float, Field(ge=0, le=0.5, description="largest erased fraction of the area")] = 0.0


class RampConfig(Section):
    """A schedule of a weight: geometric between positive numbers, else linear."""

    name: Annotated[
        Literal[
            "beta_rec", "beta_kl", "beta_style", "beta_neg", "beta_kl_fake", "back_translation", "gamma_r"
        ],
        Field(description="name of the weight, whose own setting is ignored"),
    ]
    start: Annotated[NonNegative, Field(description="weight until begin")]
    end: Annotated[NonNegative, Field(description="weight from until on")]
    begin: Annotated[Share, Field(description="time until which the weight stays at start")] = 0.0
    until: Annotated[Share, Field(description="time from which the weight stays at end")] = 1.0


class ObjectiveConfig(Section):
    """Weights of the objective (docs/method.md) and times of its parts, as fractions of the training."""

    name: Annotated[ObjectiveName, Field(description="name of the objective (docs/objectives.md)")] = (
        "soft_introvae"
    )
    likelihood: Annotated[
        Literal["bernoulli", "gaussian", "laplace", "points"],
        Field(description="likelihood of pixels; bernoulli for ink on paper; points for the 2D laboratory"),
    ] = "gaussian"
    beta_rec: Annotated[Positive, Field(description="weight of the reconstruction loss")] = 1.0
    perceptual: Annotated[
        NonNegative,
        Field(description="weight of LPIPS relative to the mean pixel error; evaluation uses the same LPIPS"),
    ] = 0.0
    beta_kl: Annotated[
        Positive, Field(description="weight of the content KL once the content code is open")
    ] = 0.2
    beta_kl_start: Annotated[
        Positive, Field(description="weight of the content KL at the start, when little content passes")
    ] = 20.0
    content_open_at: Annotated[
        Share, Field(description="time at which the weight of the content KL reaches beta_kl")
    ] = 0.3
    content_nats: Annotated[
        Positive | None,
        Field(
            description="hold the content KL at this number of nats: its weight starts at beta_kl_start and "
            "adapts, and beta_kl is ignored; none: the weight is as set"
        ),
    ] = None
    beta_style: Annotated[Positive, Field(description="weight of the style KL")] = 1.0
    style_capacity: Annotated[
        Positive | None,
        Field(
            description="style KL (nats) above which a nat costs ten times as much; for styles that differ "
            "within a domain"
        ),
    ] = None
    style_swap: Annotated[
        Share, Field(description="fraction of images decoded with the style of another image of their domain")
    ] = 1.0
    prior_style: Annotated[
        Share,
        Field(
            description="fraction of images decoded with their domain's prior mean as style; for many "
            "small domains"
        ),
    ] = 0.0
    back_translation: Annotated[NonNegative, Field(description="weight of the back-translation error")] = 1.0
    back_translation_from: Annotated[Share, Field(description="time at which back-translation starts")] = 0.3
    introspection_from: Annotated[
        Share, Field(description="time at which fakes enter; 1 trains a VAE only")
    ] = 0.5
    beta_neg: Annotated[
        Positive | None,
        Field(description="weight of a fake's KL in the encoders' half; none: balanced automatically"),
    ] = None
    margin: Annotated[
        Positive | None,
        Field(
            description="introvae: KL (nats) up to which fakes are pushed away; none: 1.2 times that of real "
            "images before fakes enter"
        ),
    ] = None
    gamma_r: Annotated[
        NonNegative, Field(description="weight of a fake's reconstruction loss in the decoder's half")
    ] = 0.0
    target_steps: Annotated[
        Count, Field(description="bootstrap: steps after which the target decoder is updated")
    ] = 500
    beta_kl_fake: Annotated[Positive, Field(description="weight of a fake's KL in the decoder's half")] = 1.0
    fake_content_kl: Annotated[
        NonNegative | None,
        Field(
            description="weight of the content KL of fakes; 0: only the style KL counts; none: 0 with "
            "domains, else 1"
        ),
    ] = None
    places: Annotated[
        NonNegative, Field(description="weight of the critic of places in the decoder's half; 0 is off")
    ] = 0.0
    place_kl: Annotated[
        Positive, Field(description="KL (nats) of a place at which push and pull balance")
    ] = 6.0
    fake_reconstruction: Annotated[
        bool, Field(description="include the reconstruction loss in the expELBO, as published")
    ] = False
    prior_samples: Annotated[
        Share, Field(description="fraction of prior samples among the second kind of fakes")
    ] = 0.25
    content_consistency: Annotated[
        NonNegative, Field(description="weight of matching a fake's content mean to its code")
    ] = 0.0
    style_consistency: Annotated[
        NonNegative, Field(description="weight of matching a fake's style mean to its code")
    ] = 0.0
    augment_encoder: EncoderAugmentConfig = EncoderAugmentConfig()
    ramps: Annotated[
        tuple[RampConfig, ...],
        Field(
            max_length=100,
            description="schedules of weights: [{name: beta_rec, start: 0.1, end: 1, until: 0.5}]",
        ),
    ] = ()


class Config(Section):
    """The settings of a run.

    >>> config = Config(training=TrainingConfig(steps=20000))
    >>> config.training.steps, config.objective.name
    (20000, 'soft_introvae')
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
