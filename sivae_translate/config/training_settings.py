"""Settings of the training: budget, optimisation, speed, and what is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from sivae_translate.config.kinds import MOST, Count, Positive, Section, Share, names_in, on_or_off
from sivae_translate.utils.choices import Precision


class TrainingConfig(Section):
    """Budget, optimisation, and how often results are written."""

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
    autoencoder_steps: Annotated[
        Count, Field(description="training steps of the run's own autoencoder, before all others")
    ] = 1000
    batch: Annotated[
        int,
        Field(
            ge=2,
            le=65_536,
            description="images per step; if it is not set, 128 or 64 on a GPU with memory for it",
        ),
    ] = 32
    accumulate: Annotated[
        int,
        Field(
            ge=1,
            le=4096,
            description="number of parts in which a batch is computed, one after another, to save memory",
        ),
    ] = 1
    checkpoint_activations: Annotated[
        bool, Field(description="recompute blocks in backward passes, to save memory")
    ] = False
    learning_rate: Annotated[Positive, Field(description="learning rate of Adam, for both halves")] = 1e-3
    means_rate: Annotated[
        Positive,
        Field(
            description="factor on the learning rate of the domains' prior means; above 1 for many domains, "
            "each of which is drawn rarely"
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
    seed: Annotated[
        int, Field(ge=0, le=10**12, description="seed of first weights, batches, noise and augmentation")
    ] = 0
    device: Annotated[str, Field(max_length=50, description="auto, cpu, cuda, cuda:1, mps")] = "auto"
    precision: Annotated[
        Precision,
        Field(description="auto is bfloat16 where that is fast, float16 on GPUs without it, else float32"),
    ] = "auto"
    graph: Annotated[
        Literal["auto", "on", "off"],
        BeforeValidator(on_or_off),
        Field(
            description="replay whole steps as a CUDA graph; auto: where possible; on: say why if it is not"
        ),
    ] = "auto"
    channels_last: Annotated[
        bool, Field(description="store a pixel's channels side by side, which is faster on most devices")
    ] = True
    align: Annotated[
        bool,
        Field(
            description="at the end, move contents between domains where that brings translations closer to "
            "images of the target domain (docs/method.md)"
        ),
    ] = True
    mask: Annotated[
        bool,
        Field(
            description="at the end, set channels of the content code that carry nothing to their prior "
            "(docs/method.md)"
        ),
    ] = False
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
    trackers: Annotated[
        tuple[str, ...],
        BeforeValidator(names_in),
        Field(
            description="programs that also get metrics and pictures, separated by commas: tensorboard, "
            "wandb, mlflow, trackio; each needs its package"
        ),
    ] = ()
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
