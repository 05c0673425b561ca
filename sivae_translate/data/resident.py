"""Training batches drawn and augmented on the device, which holds all decoded images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sivae_translate.config import DataConfig
from sivae_translate.data.augment_tensors import TensorAugmentation
from sivae_translate.data.batches import TrainingBatches
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.splits import Split
from sivae_translate.utils.devices import device_memory


class ResidentBatches(TrainingBatches):
    """Batches of images that lie on the device, 8 bits a channel; none is copied there in a step.

    Batch n depends only on the seed and n, as that of `TrainingBatches`, but has other images.

    Args:
        device: where the images lie.
        data: the domains, with decoded images: see `fits`.
        config: augmentation.
        batch: batch size B.
        seed: seed of the random draws.
        splits: the images of each domain to draw from.
        rank: rank of this process in a distributed run.
    """

    in_process = True
    on_device = True

    def __init__(
        self,
        device: torch.device,
        data: DomainData,
        config: DataConfig,
        batch: int,
        seed: int,
        splits: Sequence[Split],
        rank: int = 0,
    ) -> None:
        super().__init__(data, config, batch, seed, splits, rank)
        self.device, self.change = device, TensorAugmentation(config.augment)
        parts = [_pixels(source, train) for source, train in zip(self.sources, self.train, strict=True)]
        self.sizes = np.array([len(part) for part in parts])
        self.first = np.cumsum(self.sizes) - self.sizes
        self.pixels = torch.cat([part.to(device) for part in parts])

    def draw(self, order: np.ndarray, rng: np.random.Generator, problems: list[str]) -> Tensor:
        """Random images of these domains, augmented, (B, C, H, W) on the device."""
        places = torch.from_numpy(self.first[order] + rng.integers(self.sizes[order]))
        pixels = self.pixels.index_select(0, places.to(self.device, non_blocking=True))
        images = pixels.permute(0, 3, 1, 2).float().div_(255)
        return self.change(images, int(rng.integers(2**62)))


def fits(device: torch.device, share: float, data: DomainData, splits: Sequence[Split]) -> bool:
    """Whether a device is a GPU that can hold all training images, decoded, in a share of its memory."""
    if device.type != "cuda":
        return False
    total = 0
    for source, split in zip(data.train, splits, strict=True):
        if not isinstance(source, ArrayImages):
            return False
        total += len(split.train) * int(np.prod(source.array.shape[1:]))
    return total <= share * device_memory(str(device))


def _pixels(source: object, positions: np.ndarray) -> Tensor:
    """Images of a decoded domain at some positions, (N, H, W, C)."""
    assert isinstance(source, ArrayImages)
    return torch.from_numpy(np.ascontiguousarray(source.array[positions]))
