"""The layout of tiny pretrained autoencoders (TAESD and its relatives), to load their files.

Blocks are relu(conv(relu(conv(relu(conv(x))))) + x); some first add normalised features of a 1x1 convolution.
Layers are numbered as in the files, which therefore load unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sivae_translate.models.autoencoder import Autoencoder

WIDTH = 64
POOLED_WIDTH, POOLED_GROUPS = 256, 4
FACTOR = 8


def tiny_autoencoder(channels: int, *, pooled: bool) -> Autoencoder:
    """An autoencoder of RGB images in that layout, with random weights.

    Args:
        channels: K, of the latents.
        pooled: whether the blocks at the latents' resolution normalise.
    """
    return Autoencoder(tiny_encoder(channels, pooled), tiny_decoder(channels, pooled), 3, channels, FACTOR)


class TinyBlock(nn.Module):
    """A residual block of three convolutions; (B, 64, H, W) in and out.

    Args:
        pooled: first add normalised features.
    """

    def __init__(self, pooled: bool = False) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3)]
        first, second, third = convolutions
        self.conv = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)
        self.pool = (
            nn.Sequential(
                nn.Conv2d(WIDTH, POOLED_WIDTH, 1, bias=False),
                nn.GroupNorm(POOLED_GROUPS, POOLED_WIDTH),
                nn.ReLU(),
                nn.Conv2d(POOLED_WIDTH, WIDTH, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 64, H, W) in and out."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


class BoundedLatents(nn.Module):
    """Tanh(x / 3) * 3, which the decoder begins with."""

    def forward(self, latents: Tensor) -> Tensor:
        """Any shape in and out."""
        return torch.tanh(latents / 3) * 3


def _down() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)


def _after_up() -> nn.Conv2d:
    return nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)


def _three(pooled: bool = False) -> list[nn.Module]:
    return [TinyBlock(pooled) for _ in range(3)]


def tiny_encoder(channels: int, pooled: bool) -> nn.Sequential:
    """Images (B, 3, H, W) in [0, 1] to latents (B, K, H/8, W/8)."""
    finest = [nn.Conv2d(3, WIDTH, 3, padding=1), TinyBlock(), _down(), *_three(), _down(), *_three(), _down()]
    return nn.Sequential(*finest, *_three(pooled), nn.Conv2d(WIDTH, channels, 3, padding=1))


def tiny_decoder(channels: int, pooled: bool) -> nn.Sequential:
    """Latents (B, K, h, w) to images (B, 3, 8h, 8w), nominally in [0, 1]."""
    layers: list[nn.Module] = [BoundedLatents(), nn.Conv2d(channels, WIDTH, 3, padding=1), nn.ReLU()]
    for level in range(3):
        layers += [*_three(pooled and level == 0), nn.Upsample(scale_factor=2), _after_up()]
    return nn.Sequential(*layers, TinyBlock(), nn.Conv2d(WIDTH, 3, 3, padding=1))
