"""Encoding many images in batches, without converting them to 8-bit pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.inference.engine import Engine
from sivae_translate.models.codes import Posterior

BATCH = 64
"""Images encoded or translated at a time."""


def encode_all(engine: Engine, images: Tensor) -> Posterior:
    """Posteriors of content (N, Cc, h, w) and style (N, S), on the engine's device.

    Args:
        engine: the model.
        images: (N, C, H, W) in [0, 1], of the model's size.

    Raises:
        InputError: the images do not have the model's shape.
    """
    return Posterior.join([engine.encode(part) for part in torch.split(images, BATCH)])
