"""Random changes to training images.

The only module that knows albumentations: it is the fastest on the CPU but no longer developed, so it must be
easy to replace.
"""

from __future__ import annotations

import os
import random
from typing import Any, Protocol

import numpy as np

# When imported, albumentations asks the network for a newer version: seconds lost behind a firewall, and
# nobody's business
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2


class AugmentSettings(Protocol):
    """How much to change; 0 is off everywhere. `sivae_translate.config.AugmentConfig` is one."""

    @property
    def shift(self) -> float:
        """Largest shift in each direction, as a share of the side, 0 to 0.5; less than a pixel is none."""

    @property
    def scale(self) -> float:
        """0.1 draws sizes from 90 to 110 %."""

    @property
    def rotate(self) -> float:
        """Largest rotation either way, in degrees."""

    @property
    def flip(self) -> bool:
        """Mirror left and right, half of the time."""

    @property
    def brightness(self) -> float:
        """0.2 draws factors from 0.8 to 1.2."""

    @property
    def contrast(self) -> float:
        """The same, around the image's mean."""

    @property
    def saturation(self) -> float:
        """The same, between grey and the image; colour images only."""

    @property
    def hue(self) -> float:
        """Largest turn of the colour circle either way, 0.5 is half of it; colour images only."""


class Augmentation:
    """Random changes that depend on a seed alone.

    Where a shift or rotation uncovers something, the image's edge is repeated: paper stays paper.

    Args:
        config: how much to change.
    """

    def __init__(self, config: AugmentSettings) -> None:
        self._grey = _compose([*_geometry(config), *_colour(config, grey=True)])
        self._coloured = _compose([*_geometry(config), *_colour(config, grey=False)])

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Change an image.

        Args:
            image: uint8 (H, W, C), C = 1 or 3; never written to.
            seed: of the draws; not negative.

        Returns:
            uint8 (H, W, C); the very array that was given when nothing is to be changed.
        """
        pipeline = self._grey if image.shape[2] == 1 else self._coloured
        if pipeline is None:
            return image
        # One pair of generators for all steps. set_random_seed would start each step's own at the same
        # number, so that images shifted to the right were always the bright ones; the constructor's seed
        # starts one sequence over all calls.
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed: np.ndarray = pipeline(image=image)["image"]
        return changed


def _compose(steps: list[Any]) -> A.Compose | None:
    return A.Compose(steps) if steps else None


def _geometry(config: AugmentSettings) -> list[Any]:
    steps: list[Any] = [A.HorizontalFlip(p=0.5)] if config.flip else []
    if config.shift or config.scale or config.rotate:
        steps.append(
            A.Affine(
                scale=(1 - config.scale, 1 + config.scale),
                keep_ratio=True,
                translate_percent=(-config.shift, config.shift),
                rotate=(-config.rotate, config.rotate),
                interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_REPLICATE,
                p=1,
            )
        )
    return steps


def _colour(config: AugmentSettings, *, grey: bool) -> list[Any]:
    saturation, hue = (0.0, 0.0) if grey else (config.saturation, config.hue)
    if not (config.brightness or config.contrast or saturation or hue):
        return []
    return [A.ColorJitter(config.brightness, config.contrast, saturation, hue, p=1)]
