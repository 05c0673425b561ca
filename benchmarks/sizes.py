"""Parameters and arithmetic of every size of the networks, as a Markdown table.

    python -m benchmarks.sizes
    python -m benchmarks.sizes --sides 64 256

Matrix products and convolutions are counted, with backward passes; a multiplication and an addition count as
2. The step is that of the default objective with fakes. Settings such as ``--data.channels 1`` are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch

from benchmarks.common import read_options_and_settings
from sivae_translate.config import ModelConfig, load_config
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.weights import parameter_count
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.measuring import count_flops
from sivae_translate.utils.tables import markdown_table

SIZES: tuple[str, ...] = get_args(ModelConfig.model_fields["size"].annotation)
CONTENT_SIDE = {32: 4, 64: 4, 128: 8, 256: 16}
"""Side of the content code by image side; each has four resolutions, except 32 px, which has three."""
BATCH = 2
PROGRESS = 0.8
"""A time, as a fraction of the training, when fakes take part."""


@dataclass(frozen=True)
class Cost:
    """The cost of a model.

    Attributes:
        parameters: number of trainable scalars.
        reconstruction: floating-point operations of encoding and decoding, per image.
        step: floating-point operations of a training step with fakes, per image.
    """

    parameters: int
    reconstruction: float
    step: float


def cost(size: str, side: int, settings: Mapping[str, Any] | None = None) -> Cost:
    """Count the cost of networks of a size, for square images with a side in pixels."""
    named = {"model.size": size, "data.image_size": side, "model.content_size": CONTENT_SIDE[side]}
    config = load_config(None, {**named, **(settings or {})})
    torch.manual_seed(0)
    model = make_model(config.model, config.data, 2)
    images, domain = torch.rand(BATCH, *model.image_shape), torch.arange(BATCH) * 2 // BATCH
    with torch.no_grad():
        reconstruction = count_flops(lambda: model.decode(model.encode(images[:1]).mean))
    stepper = Stepper(make_objective(config.objective, model), config.training.clip_norm)
    step = count_flops(lambda: stepper.step(Batch(images, domain), PROGRESS, 1e-9, 1)) / BATCH
    return Cost(parameter_count(model), reconstruction, step)


def table(sides: Sequence[int], settings: Mapping[str, Any] | None = None) -> str:
    """A Markdown table with a row for each size and side."""
    rows = []
    for size in SIZES:
        for side in sides:
            one = cost(size, side, settings)
            numbers = f"{one.reconstruction / 1e9:.1f}", f"{one.step / 1e9:.1f}"
            rows.append([size, f"{side} px", f"{one.parameters / 1e6:.1f} M", *numbers])
    header = ["size", "side", "parameters", "GFLOP per reconstruction", "GFLOP per step and image"]
    return "\n".join(markdown_table(header, rows))


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    sides: tuple[int, ...] = (64,)


if __name__ == "__main__":
    options, settings = read_options_and_settings(Options, __doc__)
    print(table(options.sides, settings))
