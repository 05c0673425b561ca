"""The settings: a frozen, validated class for each section of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sivae_translate.config.kinds import MOST, Blocks, Count, Dimension, NonNegative, Positive, Share, Width
from sivae_translate.utils.choices import ObjectiveName, Precision


class Section(BaseModel):
    """A frozen group of settings that rejects unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


class AugmentConfig(Section):
    """Random changes to training images; 0 is off. Avoid changes that turn one domain into another."""

    shift: Annotated[float, Field(ge=0, le=0.5, description="largest shift, as a fraction of the side")] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1, description="0.1 draws sizes from 90 to 110 %")] = 0.0
    rotate: Annotated[float, Field(ge=0, le=180, description="largest rotation in degrees")] = 0.0
    flip: Annotated[bool, Field(description="mirror left and right at random")] = False
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    contrast: Annotated[float, Field(ge=0, le=1)] = 0.0
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class DataConfig(Section):
    """Where images come from and how they are made square."""

    name: Annotated[
        str,
        Field(
            max_length=200,
            description="data set: folder (images below data.root), glyphs, glyphs-colour, idx (the files of "
            "MNIST and its relatives), cars3d, facades, emoji, digits, doom, doom-depth, or a "
            "registered one",
        ),
    ] = "folder"
    root: Annotated[Path | None, Field(description="folder with one sub-folder per domain")] = None
    image_size: Annotated[Literal[28, 32, 64, 128, 256], Field(description="side in pixels")] = 64
    channels: Annotated[Literal[1, 3], Field(description="1 is grey, 3 is RGB")] = 3
    fit: Annotated[
        Literal["cover", "contain", "stretch"], Field(description="how an image is made square")
    ] = "cover"
    labels: Annotated[bool, Field(description="false: ignore which folder an image is in")] = True
    pairs: Annotated[
        bool, Field(description="folders: test files with the same name in two domains show the same content")
    ] = False
    split_seed: Annotated[
        int,
        Field(ge=0, le=MOST, description="glyphs, doom: seed of the letters or views; 0 is the benchmark"),
    ] = 0
    validation_size: Annotated[
        int,
        Field(
            ge=0,
            le=MOST,
            description="cars3d, facades, emoji, doom: test on this many training cars, pairs or maps "
            "instead, to choose settings",
        ),
    ] = 0
    white_level: Annotated[
        int | None, Field(ge=1, le=2**32 - 1, description="white in 16-bit files; none is 65535")
    ] = None
    seconds_per_file: Annotated[
        float, Field(gt=0, le=86_400, description="time limit for reading an image, in seconds")
    ] = 60.0
    max_unreadable: Annotated[
        int, Field(ge=0, le=MOST, description="unreadable images that are skipped before giving up")
    ] = 100
    cache_megabytes: Annotated[
        int, Field(ge=0, le=MOST, description="decode sets up to this size once and cache them")
    ] = 2048
    cache: Annotated[
        Path | None,
        Field(description="folder of the cache of decoded images; none is the user's cache folder"),
    ] = None
    workers: Annotated[
        int, Field(ge=0, le=1024, description="loader processes; 0 loads in the training process")
    ] = 0
    augment: AugmentConfig = AugmentConfig()

    @field_validator("root", "cache", mode="before")
    @classmethod
    def _name_of_digits(cls, value: object) -> object:
        return str(value) if type(value) is int else value  # in YAML, 2024 is a number


class ModelConfig(Section):
    """Sizes of the networks; widths from the finest resolution (half the image's side) to the content's."""

    kind: Annotated[
        Literal["translation", "plain", "published"],
        Field(
            description="plain: one latent vector without domains, for generation; published: plain "
            "with the paper's networks"
        ),
    ] = "translation"
    latent_dim: Annotated[Dimension, Field(description="plain models: size of the latent vector")] = 128
    prior_components: Annotated[
        int,
        Field(
            ge=0,
            le=65_536,
            description="Gaussians in the learned prior of content or latent; 0 is N(0, I)",
        ),
    ] = 0
    content_size: Annotated[
        int, Field(ge=1, le=128, description="side of the content code (7 for images of 28 px)")
    ] = 4
    content_channels: Annotated[Dimension, Field(description="Cc")] = 16
    style_dim: Annotated[Dimension, Field(description="S")] = 32
    style_features: Dimension = 128
    widths: Annotated[tuple[Width, ...], Field(max_length=16, description="content encoder and decoder")] = (
        32,
        64,
        96,
        192,
    )
    style_widths: Annotated[tuple[Width, ...], Field(max_length=16, description="style encoder")] = (
        16,
        32,
        64,
        128,
    )
    encoder_blocks: Blocks = 1
    resampling: Annotated[
        Literal["shuffle", "antialiased", "smooth"],
        Field(
            description="how networks change resolution; smooth produces no texture of its own but learns "
            "fine detail more slowly; antialiased is shuffle with smoothed images for the encoders"
        ),
    ] = "shuffle"
    decoder_blocks: Blocks = 1


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
    start: NonNegative
    end: NonNegative
    begin: Annotated[Share, Field(description="time until which the weight is start")] = 0.0
    until: Annotated[Share, Field(description="time from which the weight is end")] = 1.0


class ObjectiveConfig(Section):
    """Weights of the objective (docs/method.md) and times of its parts, as fractions of the training."""

    name: Annotated[ObjectiveName, Field(description="name of the objective (docs/objectives.md)")] = (
        "soft_introvae"
    )
    likelihood: Annotated[
        Literal["bernoulli", "gaussian", "laplace", "points"],
        Field(description="likelihood of pixels; bernoulli for ink on paper; points for the 2D laboratory"),
    ] = "gaussian"
    beta_rec: Annotated[Positive, Field(description="weight of the reconstruction error")] = 1.0
    perceptual: Annotated[
        NonNegative,
        Field(
            description="weight of LPIPS relative to the mean error of a pixel; evaluation uses the same "
            "LPIPS"
        ),
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
            "images without fakes"
        ),
    ] = None
    gamma_r: Annotated[
        NonNegative, Field(description="weight of a fake's reconstruction error in the decoder's half")
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
        bool, Field(description="include the reconstruction error in the expELBO, as published")
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


class TrainingConfig(Section):
    """Budget, optimisation, and what is written how often."""

    steps: Annotated[Count | None, Field(description="budget in steps")] = None
    epochs: Annotated[Positive | None, Field(description="budget in passes over the training images")] = None
    minutes: Annotated[Positive | None, Field(description="budget in minutes of training")] = None
    fine_tune: Annotated[
        str | None,
        Field(
            max_length=4096,
            description="start from the weights of this run, model file or pretrained name, which may be "
            "for smaller images",
        ),
    ] = None
    batch: Annotated[int, Field(ge=2, le=65_536, description="images per step")] = 32
    learning_rate: Annotated[Positive, Field(description="learning rate of Adam, for both halves")] = 1e-3
    means_rate: Annotated[
        Positive,
        Field(
            description="factor on the learning rate of the domains' prior means; above 1 for many domains, "
            "which are drawn rarely"
        ),
    ] = 1.0
    warmup_steps: Annotated[int, Field(ge=0, le=MOST, description="steps until the full learning rate")] = 100
    decay_from: Annotated[
        Share, Field(description="time from which the learning rate falls to a twentieth")
    ] = 0.6
    clip_norm: Annotated[Positive, Field(description="largest gradient norm of each half")] = 1.0
    ema: Annotated[
        float, Field(ge=0, lt=1, description="decay of the averaged weights, which are saved as the model")
    ] = 0.995
    seed: Annotated[int, Field(ge=0, le=10**12)] = 0
    device: Annotated[str, Field(max_length=50, description="auto, cpu, cuda, cuda:1, mps")] = "auto"
    precision: Annotated[Precision, Field(description="auto is bfloat16 where that is fast")] = "auto"
    channels_last: bool = True
    log_every: Annotated[Count, Field(description="steps between two lines of metrics.jsonl")] = 20
    picture_every: Annotated[
        int, Field(ge=0, le=MOST, description="steps between two picture grids; 0 writes only the last")
    ] = 1000
    checkpoint_every: Annotated[Count, Field(description="steps between two checkpoints")] = 500
    keep_checkpoints: Annotated[
        Count, Field(description="how many of the last checkpoints to keep, besides the best")
    ] = 2
    validation: Annotated[
        float,
        Field(
            ge=0,
            lt=0.5,
            description="fraction of each domain's images for validation, which chooses the best checkpoint",
        ),
    ] = 0.02
    tensorboard: Annotated[
        bool, Field(description="also write TensorBoard events (needs the extra 'tensorboard')")
    ] = False
    max_rollbacks: Annotated[
        int,
        Field(ge=0, le=MOST, description="most rollbacks to the last good state before giving up"),
    ] = 4

    @model_validator(mode="after")
    def _one_budget(self) -> TrainingConfig:
        given = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; give one budget")
        return self


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
