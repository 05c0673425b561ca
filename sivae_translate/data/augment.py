"""Random augmentation of training images.

The only module that uses albumentations: it is the fastest library on the CPU but no longer developed, so it
must be easy to replace.
"""

from __future__ import annotations

import os
import random
from typing import Any, Protocol

import numpy as np

# On import, albumentations looks online for a newer version: that takes seconds behind a firewall, and no
# library should do it
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2


class AugmentSettings(Protocol):
    """Strength of each change; 0 turns it off. `sivae_translate.config.AugmentConfig` implements it."""

    @property
    def shift(self) -> float:
        """Largest shift in each direction as a fraction of the side, 0 to 0.5; below one pixel it is off."""

    @property
    def scale(self) -> float:
        """0.1 draws sizes from 90 to 110 %."""

    @property
    def rotate(self) -> float:
        """Largest rotation either way, in degrees."""

    @property
    def flip(self) -> bool:
        """Mirror left and right with probability one half."""

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
        """Largest shift of the hue either way, as a fraction of the colour circle; colour images only."""


class Augmentation:
    """Random changes that depend only on a seed.

    Areas that a shift or rotation uncovers repeat the image's edge: white paper stays white.

    Args:
        config: strength of each change.
    """

    def __init__(self, config: AugmentSettings) -> None:
        self._grey = _compose([*_geometry(config), *_colour(config, grey=True)])
        self._coloured = _compose([*_geometry(config), *_colour(config, grey=False)])

    @property
    def active(self) -> bool:
        """Whether it changes colour images."""
        return self._coloured is not None

    def __call__(self, image: np.ndarray, seed: int) -> np.ndarray:
        """Change an image.

        Args:
            image: uint8 (H, W, C), C = 1 or 3; never written to.
            seed: seed of the random draws; not negative.

        Returns:
            uint8 (H, W, C); the given array itself if every change is off.
        """
        pipeline = self._grey if image.shape[2] == 1 else self._coloured
        if pipeline is None:
            return image
        # All steps share one pair of generators. set_random_seed would give each step its own with the
        # same seed, which correlates them (images shifted to the right would always be bright); the
        # constructor's seed starts one sequence over all calls.
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
