"""Residual blocks without any statistic that mixes images, plain and modulated by the style.

Every layer treats each image of a batch alone, so a real image and a fake can share a batch, and an image's
codes do not depend on its neighbours. Features are normalised over channels at each pixel: with channels_last
memory that is one fused pass over contiguous numbers, on CPUs as well as on GPUs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def channel_norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each pixel; (B, C, H, W) in and out."""
    return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)


def conv3x3(channels_in: int, channels_out: int, gain: float = 1.0) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size; ``gain`` scales its initial weights (0 for a block that starts
    as identity).
    """
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # the bias exists
    with torch.no_grad():
        conv.weight.mul_(gain)
    return conv


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, the paper's."""
    return F.leaky_relu(x, 0.2)


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))); (B, C, H, W) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        hidden = self.conv1(activation(channel_norm(x)))
        out: Tensor = x + self.conv2(activation(channel_norm(hidden)))
        return out


class ModulatedBlock(nn.Module):
    """A residual block whose normalised features are scaled and shifted by the style, channel by channel.

    Args:
        channels: C.
        style_features: width of the style features that modulate it.
    """

    def __init__(self, channels: int, style_features: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels, gain=0.1)
        self.modulation = nn.Linear(style_features, 4 * channels)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Features (B, C, H, W) and style features (B, F) to features (B, C, H, W)."""
        scale1, shift1, scale2, shift2 = self.modulation(style)[:, :, None, None].chunk(4, dim=1)
        hidden = self.conv1(activation(torch.addcmul(shift1, channel_norm(x), 1 + scale1)))
        out: Tensor = x + self.conv2(activation(torch.addcmul(shift2, channel_norm(hidden), 1 + scale2)))
        return out
