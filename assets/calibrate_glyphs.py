"""Recalibrates the check of a shipped glyphs model.

    python assets/calibrate_glyphs.py [FILE]

Training calibrates the check on validation images. When the shipped model was trained, these were the last
letters of each font by code point, which are rarer than a user's, and models grown from it would use letters
that it was trained on. Here they are letters that the font has but that were neither trained on nor are test
letters, drawn by rank. The weights are not changed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from sivae_translate.data.domains import ranked
from sivae_translate.data.sources import glyphs
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.typicality import NeighbourCalibration, look
from sivae_translate.models.weights import load_model, save_model
from sivae_translate.utils.resources import asset_path

EACH = 171
"""Letters per font that were trained on, and that were not."""


def main(path: Path) -> None:
    """Rewrite a model file with a new calibration."""
    saved = load_model(path)
    split = glyphs.split(saved.config.data.split_seed)
    training: list[np.ndarray] = []
    validation: list[np.ndarray] = []
    for font in saved.domains:
        others = set(glyphs.letters(font)) - set(split.train[font]) - set(split.test)
        for images, codes in ((training, split.train[font]), (validation, others)):
            chosen = tuple(ranked(codes, f"calibration:{font}")[:EACH])
            images.append(glyphs.draw_many(font, chosen, saved.config.data.image_size)[..., None])
    looks = [look(to_tensor(np.concatenate(images))) for images in (training, validation)]
    calibration = NeighbourCalibration.fit(*looks)
    save_model(path, saved.model, saved.config, saved.domains, saved.facts, calibration)
    print(
        f"calibrated on {len(calibration.levels)} letters; the highest percentile is "
        f"{calibration.highest:.2f}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)  # same order of sums on every machine
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else asset_path("glyphs.safetensors"))
