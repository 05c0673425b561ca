r"""LPIPS, the learned perceptual distance (Zhang et al. 2018), on AlexNet features, without any download.

.. math:: d(a, b) = \sum_l \frac{1}{H_l W_l} \sum_{h, w} \sum_k w_{lk} (\hat f^a_{lkhw} - \hat f^b_{lkhw})^2

with features f of AlexNet's five convolutions, of unit length over the channels, and the learned weights w.
The network and w come from the ``lpips`` package; the convolutions, which that package would fetch at run
time, come with this library.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sivae_translate.utils.devices import exact_float32
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.resources import asset_path

ASSET = "lpips_alexnet.safetensors"
TOLERANCE = 1e-4
"""How far rounding may take a pixel out of [0, 1]."""
SMALLEST_SIDE = 32
"""AlexNet's poolings leave nothing of images below 31 pixels; at 32 its last features are a single pixel."""
STRIDE = 4
"""Pixels between two places that AlexNet's first convolution looks at."""

SHAPES: dict[str, tuple[int, ...]] = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
}
"""Names, as in torchvision, and shapes of AlexNet's convolutions."""

_SLICES = {"0": "slice1", "3": "slice2", "6": "slice3", "8": "slice4", "10": "slice5"}
_REMEDY = (
    "pass the path of torchvision's AlexNet weights (.pth or .safetensors, with features.0.weight "
    "and so on), "
    "or make the shipped file with assets/make_lpips.py"
)


def _network() -> nn.Module:
    """The lpips package's AlexNet network with its trained heads; its convolutions are still random."""
    import lpips

    # torchvision warns of the way lpips calls it, and AlexNet's random start must not advance the user's
    # generator.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        network: nn.Module = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    return network


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or of a state dict saved by torch.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise DataError(f"there is no LPIPS weights file {path}", remedy=_REMEDY)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise DataError(f"the LPIPS weights file {path} cannot be read: {error}", remedy=_REMEDY) from error
    if not isinstance(content, dict):
        raise DataError(
            f"the LPIPS weights file {path} holds a {type(content).__name__}, not a state dict",
            remedy=_REMEDY,
        )
    return content


def _checked(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolutions' tensors; others, such as those of AlexNet's classifier, are left out.

    Raises:
        DataError: a tensor is missing or has another shape.
    """
    missing = [name for name in SHAPES if name not in weights]
    if missing:
        raise DataError(f"the LPIPS weights lack {', '.join(missing)}", remedy=_REMEDY)
    for name, shape in SHAPES.items():
        if tuple(weights[name].shape) != shape:
            raise DataError(
                f"LPIPS weight '{name}' has shape {tuple(weights[name].shape)}, not {shape}", remedy=_REMEDY
            )
    return {name: weights[name] for name in SHAPES}


def _rgb(images: Tensor, argument: str) -> Tensor:
    """Images (B, 1|3, H, W) as float32 (B, 3, H, W).

    Raises:
        InputError: any other shape, a side that is too small, or integers.
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
    """Raises InputError for pixels outside [0, 1]: LPIPS of another range is a plausible wrong number."""
    if not len(images):
        return
    low, high = (float(end) for end in images.detach().aminmax())
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # written so that NaN fails too
        raise InputError(
            f"the {which} images of LPIPS have pixels from {low:g} to {high:g}",
            remedy="give them in [0, 1] without NaN: divide bytes by 255, halve [-1, 1] and add 0.5",
        )


class Lpips(nn.Module):
    """LPIPS distance (version 0.1, AlexNet) between images. Its weights are frozen; gradients reach the
    images.

    Args:
        weights: AlexNet's convolutions under torchvision's names, with the shapes in `SHAPES`, of any float
            type; further entries are ignored.

    Raises:
        DataError: a tensor is missing or has the wrong shape.

    >>> images = torch.linspace(0, 1, 2 * 64 * 64).view(2, 1, 64, 64)
    >>> Lpips.load()(images, images)
    tensor([0., 0.])
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = _network()
        parameters = dict(self.network.named_parameters())
        with torch.no_grad():
            for name, tensor in _checked(weights).items():
                _, index, kind = name.split(".")
                parameters[f"net.{_SLICES[index]}.{index}.{kind}"].copy_(tensor)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(cls, weights: Path | None = None, device: torch.device | str = "cpu") -> Lpips:
        """LPIPS with the weights of a file.

        Args:
            weights: a .safetensors file or a state dict saved by torch (.pth), with torchvision's names; None
                for the file that comes with this library.
            device: where to put the network.

        Raises:
            DataError: there is no such file, it cannot be read, or a tensor is missing or has the wrong
                shape.
        """
        if weights is None:
            try:
                weights = asset_path(ASSET)
            except DataError as error:
                raise DataError(error.what, remedy=_REMEDY) from error
        return cls(_read(Path(weights))).to(device)

    def train(self, mode: bool = True) -> Lpips:
        """Stay in evaluation mode: the heads would drop features at random when a surrounding model is set to
        train.
        """
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
        """AlexNet's features after each of its five convolutions, in float32 also under autocast.

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
    def distances(self, a: Tensor, b: Tensor, batch: int = 256) -> Tensor:
        """`forward` without gradient, ``batch`` pairs at a time, for any number of images on any device.

        Args:
            a: as in `forward`.
            b: as in `forward`.
            batch: pairs at a time; sets the memory needed.

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
