"""Residual blocks, plain and modulated by the style, without statistics over the batch.

Every layer treats the images of a batch independently, so real images and fakes can share a batch, and an
image's codes do not depend on its neighbours. Features are normalised over channels at each pixel: in
channels_last memory format this is one fused pass over contiguous memory, on CPUs and GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sivae_translate.models.fused import joint_linear
from sivae_translate.models.norms import activated, activated_in_style


def conv3x3(channels_in: int, channels_out: int, gain: float = 1.0) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size; ``gain`` scales its initial weights (0 starts as identity)."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # the bias exists
    with torch.no_grad():
        conv.weight.mul_(gain)
    return conv


class Block(nn.Module):
    """A block of features whose insides backward passes may compute again instead of keeping them.

    Attributes:
        recomputed: whether they do, which costs time and saves memory.
    """

    recomputed = False

    def features(self, x: Tensor, *modulation: Tensor) -> Tensor:
        """The block itself."""
        raise NotImplementedError

    def run(self, x: Tensor, *modulation: Tensor) -> Tensor:
        """The block's features, kept or to be computed again."""
        if not (self.recomputed and torch.is_grad_enabled()):
            return self.features(x, *modulation)
        # A training step gives every call its own weights, which later calls replace.
        owners = [part._parameters for part in self.modules()]
        weights = [dict(owner) for owner in owners]

        def again(*inputs: Tensor) -> Tensor:
            present = [dict(owner) for owner in owners]
            try:
                for owner, own in zip(owners, weights, strict=True):
                    owner.update(own)
                return self.features(*inputs)
            finally:
                for owner, own in zip(owners, present, strict=True):
                    owner.update(own)

        out: Tensor = checkpoint(again, x, *modulation, use_reentrant=False, preserve_rng_state=False)
        return out


class ResidualBlock(Block):
    """x + conv(act(norm(conv(act(norm(x)))))); (B, C, H, W) in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, channels)
        self.conv2 = conv3x3(channels, channels, gain=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        return self.run(x)

    def features(self, x: Tensor, *modulation: Tensor) -> Tensor:
        """The block itself; it takes no modulation."""
        out: Tensor = x + self.conv2(activated(self.conv1(activated(x))))
        return out


class ModulatedBlock(Block):
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

    def forward(self, x: Tensor, modulation: Sequence[Tensor]) -> Tensor:
        """Features (B, C, H, W), in and out.

        Args:
            x: the features.
            modulation: scales and shifts of its first, then of its second normalisation, (B, C, 1, 1) each
                (`Modulations`).
        """
        return self.run(x, *modulation)

    def features(self, x: Tensor, *modulation: Tensor) -> Tensor:
        """The block itself."""
        scale1, shift1, scale2, shift2 = modulation
        hidden = self.conv1(activated_in_style(x, scale1, shift1))
        out: Tensor = x + self.conv2(activated_in_style(hidden, scale2, shift2))
        return out


class Modulations(nn.Module):
    """The scales and shifts of all blocks, computed in one matrix product.

    Args:
        blocks: the blocks in the order of their use; they keep their weights.
    """

    neutral: Tensor

    def __init__(self, blocks: Iterable[ModulatedBlock]) -> None:
        super().__init__()
        self._layers = [block.modulation for block in blocks]
        self._sizes = [layer.out_features // 4 for layer in self._layers for _ in range(4)]
        neutral = torch.cat([torch.full((size,), 1.0 - index % 2) for index, size in enumerate(self._sizes)])
        self.register_buffer("neutral", neutral, persistent=False)

    def forward(self, style: Tensor) -> Iterator[Sequence[Tensor]]:
        """Map style features (B, F) to the modulation of each `ModulatedBlock`, in order."""
        weights = [layer.weight for layer in self._layers]
        biases = [layer.bias for layer in self._layers]
        numbers = joint_linear(style, weights, biases)
        numbers = numbers + self.neutral.to(numbers.dtype)
        parts = torch.split(numbers.view(numbers.shape[0], -1, 1, 1), self._sizes, 1)
        return iter(list(zip(*4 * [iter(parts)], strict=True)))
