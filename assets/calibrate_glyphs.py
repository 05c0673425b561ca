"""Fits anew what is usual for a glyphs model that ships; run from the repository root: python
assets/calibrate_glyphs.py [FILE]

Training keeps some images to itself for this. When the shipped model was trained these were the last letters
of each font by code point, rarer ones than a user's, and what is grown from it holds out letters that it was
trained on. Here they are letters that the font has but did not show in training, drawn by rank, none of them
a test letter. The weights stay as they are.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from sivae_translate.data.domains import ranked
from sivae_translate.data.sources import glyphs
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.typicality import Calibration, measure
from sivae_translate.models.weights import load_model, save_model
from sivae_translate.utils.resources import asset_path

EACH = 64
"""Letters a font, of those that it showed in training and of those that it did not."""


def main(path: Path) -> None:
    """Write a model file again with another calibration."""
    saved = load_model(path)
    split = glyphs.split(saved.config.data.split_seed)
    training: list[np.ndarray] = []
    validation: list[np.ndarray] = []
    for font in saved.domains:
        others = set(glyphs.letters(font)) - set(split.train[font]) - set(split.test)
        for images, codes in ((training, split.train[font]), (validation, others)):
            chosen = tuple(ranked(codes, f"calibration:{font}")[:EACH])
            images.append(glyphs.draw_many(font, chosen, saved.config.data.image_size)[..., None])
    numbers = [measure(saved.model, to_tensor(np.concatenate(images))) for images in (training, validation)]
    calibration = Calibration.fit(numbers[0], numbers[1], len(saved.domains))
    save_model(path, saved.model, saved.config, saved.domains, saved.facts, calibration)
    print(
        f"{len(calibration.levels)} letters say what is usual; the highest percentile is "
        f"{calibration.highest:.2f}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # sums in one order on every machine
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else asset_path("glyphs.safetensors"))
