"""Measurements on validation images: the score of a model, and the calibration of typicality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import DomainData
from sivae_translate.data.splits import Split
from sivae_translate.data.tensors import read_batch
from sivae_translate.models.alignment import Alignment
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.typicality import NeighbourCalibration
from sivae_translate.training.aligning import fit_alignment
from sivae_translate.training.calibrating import calibrate
from sivae_translate.training.masking import mask_collapsed
from sivae_translate.training.quality import Quality, Score

TRAINING_IMAGES = 256
"""Number of training images that the pixel variance is fitted to."""


class Validation:
    """Measures an averaged model on validation images, and on some training images.

    Args:
        data: the domains.
        splits: the training and validation images of each domain.
        model: the averaged model.
        autocast: context of its passes.
        note_unreadable: called with the problem of each unreadable image.
    """

    def __init__(
        self,
        data: DomainData,
        splits: Sequence[Split],
        model: LatentModel,
        autocast: Callable[[], AbstractContextManager[object]],
        note_unreadable: Callable[[Iterable[str]], None],
    ) -> None:
        self.data, self.splits, self.model = data, splits, model
        self.autocast, self.note_unreadable = autocast, note_unreadable
        self.device = model.style_prior.means.device
        self.quality = Quality(model, splits, self._images, autocast)

    def score(self) -> Score | None:
        """The score of the model's images; None without validation images."""
        return self.quality.score()

    def fit_variance(self, seed: int) -> None:
        """Fit the model's pixel variance to training images."""
        with self.autocast():
            self.model.fit_variance(self._training_images(), torch.Generator(self.device).manual_seed(seed))

    @cached_property
    def calibration(self) -> NeighbourCalibration | None:
        """The calibration of typicality; None without validation images. It does not depend on the model."""
        if not any(len(split.validation) for split in self.splits):
            return None
        return calibrate(self.splits, self.data.training_names, self._images)

    def mask(self) -> int:
        """Mask channels of the content code that carry nothing; returns how many."""
        return mask_collapsed(self.model, [split.train for split in self.splits], self._images, self.autocast)

    def alignment(self) -> Alignment | None:
        """The alignment of the model, fitted to training images; None if none helps."""
        positions = [split.train for split in self.splits]
        lpips = Lpips.load(device=self.device)
        return fit_alignment(self.model, positions, self._images, lpips, self.autocast)

    def _training_images(self) -> Tensor:
        """Some training images of every domain."""
        each = -(-TRAINING_IMAGES // len(self.data.train))
        return torch.cat([self._images(index, split.train[:each]) for index, split in enumerate(self.splits)])

    def _images(self, domain: int, positions: np.ndarray) -> Tensor:
        """Readable training images of a domain at the given positions, without augmentation, (B, C, H, W)."""
        source, shape = self.data.train[domain], self.model.image_shape
        return read_batch(source, positions, shape, self.note_unreadable).to(self.device)
