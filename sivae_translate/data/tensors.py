"""Conversion between 8-bit pictures and the tensors that networks take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sivae_translate.utils.errors import DataError, InputError

if TYPE_CHECKING:
    from sivae_translate.data.domains import ImageSource


def to_tensor(arrays: np.ndarray | Sequence[np.ndarray]) -> Tensor:
    """Convert images to a batch for the networks.

    Args:
        arrays: uint8 (B, H, W, C), or B arrays (H, W, C) of one size.

    Returns:
        float (B, C, H, W) in [0, 1], in the channels_last memory format, like the arrays.

    Raises:
        InputError: another type or shape.
    """
    try:
        # torch cannot wrap read-only or negatively strided memory, so such arrays are copied
        pixels = np.require(arrays, requirements=["C", "W"])
    except ValueError as error:
        raise InputError(
            "the images of a batch differ in shape", remedy="give them one size with to_array"
        ) from error
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise InputError(
            f"a batch is {pixels.dtype} of shape {pixels.shape}", remedy="give uint8 (B, H, W, C)"
        )
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)


def read_batch(
    source: ImageSource,
    positions: Iterable[int],
    shape: tuple[int, ...],
    note_unreadable: Callable[[list[str]], object],
) -> Tensor:
    """The readable images at some positions, as a batch for the networks.

    Args:
        source: images.
        positions: positions of some of them.
        shape: (C, H, W), of the empty batch if none can be read.
        note_unreadable: called with the problem of each unreadable image.

    Returns:
        float (B, C, H, W) in [0, 1].
    """
    images = []
    for position in positions:
        try:
            images.append(source[int(position)])
        except DataError as error:
            note_unreadable([error.what])
    return to_tensor(np.stack(images)) if images else torch.empty(0, *shape)


def to_uint8(batch: Tensor) -> np.ndarray:
    """The inverse of `to_tensor`: float (B, C, H, W), clamped to [0, 1], to uint8 (B, H, W, C)."""
    pixels = batch.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def to_pixels(batch: Tensor) -> np.ndarray:
    """A model's outputs as `to_uint8` gives them, by as few transfers from its device as possible.

    Args:
        batch: float (B, C, H, W), nominally in [0, 1].

    Returns:
        uint8 (B, H, W, C).

    Raises:
        InputError: there is a NaN.
    """
    # On a CPU one image at a time stays in the caches.
    parts = torch.split(batch, len(batch) if batch.device.type != "cpu" else 1)
    pixels = [to_uint8(part) for part in parts]
    if torch.stack([part.sum() for part in parts]).isnan().any():
        raise InputError(
            f"the images of shape {tuple(batch.shape)} have NaN pixels", remedy="check what computed them"
        )
    return pixels[0] if len(pixels) == 1 else np.concatenate(pixels)


def to_pil(image: Tensor) -> Image.Image:
    """Convert a model's output to an image.

    Args:
        image: float (C, H, W), C = 1 or 3, nominally in [0, 1]; clamped, then rounded to 8 bits.

    Returns:
        Image in mode "L" for one channel, "RGB" for three.

    Raises:
        InputError: another type or shape, or NaN.
    """
    if image.ndim != 3 or image.shape[0] not in {1, 3} or not image.is_floating_point():
        raise InputError(
            f"an image is {image.dtype} of shape {tuple(image.shape)}", remedy="give float (1 or 3, H, W)"
        )
    pixels = image.detach().float().cpu()
    if pixels.isnan().any():
        raise InputError(
            f"the image of shape {tuple(image.shape)} has NaN pixels", remedy="check what computed it"
        )
    array = to_uint8(pixels[None])[0]
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
