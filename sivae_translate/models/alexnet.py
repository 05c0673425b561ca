"""AlexNet's convolutions, which need no other package: what the check sees of an image.

`sivae_translate.models.lpips` has the same network inside the lpips package, which only training and
evaluation need.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.models.appearance import CHANNELS, large_enough
from sivae_translate.models.lpips import ASSET
from sivae_translate.models.lpips_weights import checked_weights, read_weights
from sivae_translate.utils.devices import exact_float32
from sivae_translate.utils.resources import asset_path

FEATURES = sum(CHANNELS)
"""Number F of channels of all five layers."""
BATCH = 32
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, by which torchvision normalises images."""
_LAYERS = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
"""Stride and padding of each convolution, by its index in torchvision's network."""
_POOLED = (3, 6)
"""Convolutions whose inputs are pooled."""


class AlexNet(nn.Module):
    """The network in evaluation mode, frozen.

    Args:
        weights: the convolutions with torchvision's names, of any float type.

    Raises:
        DataError: a tensor is missing or has the wrong shape.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in checked_weights(weights, "AlexNet").items():
            self.register_buffer(name.replace(".", "_"), tensor.float())
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(_DEVIATION).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Features after each of the five convolutions, after their rectifiers.

        Args:
            images: float (B, 1|3, H, W) in [0, 1], sides of 32 or more; grey counts as three equal channels.

        Returns:
            (B, 64, ...), (B, 192, ...), (B, 384, ...), (B, 256, ...) and (B, 256, ...).
        """
        layers, values = [], (images.expand(-1, 3, -1, -1) - self.mean) / self.deviation
        for index, (stride, padding) in _LAYERS.items():
            if index in _POOLED:
                values = F.max_pool2d(values, 3, 2)
            weight, bias = (self.get_buffer(f"features_{index}_{kind}") for kind in ("weight", "bias"))
            values = F.conv2d(values, weight, bias, stride, padding).relu()
            layers.append(values)
        return layers

    @torch.no_grad()
    def channel_means(self, images: Tensor) -> Tensor:
        """Means of all channels over each image, in float32 also under autocast.

        Args:
            images: float (N, 1|3, H, W), clamped to [0, 1]; images smaller than 32 px are enlarged.

        Returns:
            (N, F).
        """
        with exact_float32(images.device):
            parts = [
                torch.cat([layer.mean((2, 3)) for layer in self(large_enough(part.float().clamp(0, 1)))], 1)
                for part in torch.split(images, BATCH)
            ]
        return torch.cat(parts) if parts else images.new_zeros(0, FEATURES)


@lru_cache(maxsize=2)
def shipped_alexnet(device: torch.device) -> AlexNet:
    """The network with the weights that come with this library, on a device; read once.

    Raises:
        DataError: the file is missing.
    """
    return AlexNet(read_weights(asset_path(ASSET), "AlexNet")).to(device)
