"""Differentiable augmentation of what the encoders see, real and fake alike, on the device (by kornia)."""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.config import EncoderAugmentConfig


class EncoderAugmentation:
    """Random shifts and cut-outs, each image its own; gradients flow through to the fakes.

    Args:
        config: what to do; nothing by default, and then images pass untouched.
    """

    def __init__(self, config: EncoderAugmentConfig) -> None:
        self.transforms: torch.nn.Module | None = None
        if config.shift or config.cutout:
            import kornia.augmentation as ka

            steps: list[torch.nn.Module] = []
            if config.shift:
                steps.append(
                    ka.RandomAffine(0.0, translate=(config.shift, config.shift), padding_mode="border", p=1.0)
                )
            if config.cutout:
                steps.append(ka.RandomErasing(scale=(0.02, config.cutout), value=0.5, p=0.5))
            self.transforms = torch.nn.Sequential(*steps)

    @property
    def active(self) -> bool:
        """Whether it changes images."""
        return self.transforms is not None

    def __call__(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1], in and out."""
        if self.transforms is None:
            return images
        changed: Tensor = self.transforms(images.float())
        return changed.contiguous(memory_format=torch.channels_last)
