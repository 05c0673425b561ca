"""Conversion of files, Pillow images, arrays and tensors to plain images.

A plain image is a Pillow image in mode "L" or "RGB": 8 bits per channel, sRGB, upright, opaque. Transparency,
palettes, colour profiles, 16 bits and EXIF rotation are all dealt with here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from sivae_translate.data import ranges
from sivae_translate.data.conversion import orientation_of, to_plain
from sivae_translate.data.reading import DEFAULT, Reading, open_image
from sivae_translate.utils.errors import InputError

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray | Tensor"
"""Everything that counts as an image; see `from_any`."""


def from_any(image: ImageLike, reading: Reading = DEFAULT) -> Image.Image:
    """Convert any image to a plain one.

    Args:
        image: a path; a Pillow image of any mode; an array (H, W) or (H, W, C); or a tensor (C, H, W). C is
            1, 3 or 4 (RGBA, composited on white). Arrays and tensors are uint8, or float in [0, 1].
        reading: how files are read, and the white level of 16-bit Pillow images.

    Returns:
        New 8-bit image in mode "L" or "RGB", upright and opaque.

    Raises:
        DataError: a file cannot be read.
        InputError: an unsupported type, shape or range, or NaN.
    """
    if isinstance(image, (str, Path)):
        return open_image(image, reading)
    if isinstance(image, Image.Image):
        return _from_pil(image, reading)
    if isinstance(image, Tensor):
        return _from_pixels(_tensor_pixels(image))
    if isinstance(image, np.ndarray):
        return _from_pixels(_array_pixels(image))
    raise InputError(
        f"{type(image).__name__} is not an image",
        remedy="give a path, a Pillow image, a numpy array or a torch tensor",
    )


def _from_pil(image: Image.Image, reading: Reading) -> Image.Image:
    if not image.width or not image.height:
        raise InputError(
            f"the image of {image.width} x {image.height} pixels is empty", remedy="give an image with pixels"
        )
    name = getattr(image, "filename", "") or f"the image in mode {image.mode}"
    try:
        white = ranges.white_of(image, reading.white_level)
        image.load()
        profile = image.info.get("icc_profile")
        return to_plain(image, str(name), white, profile, orientation_of(image))
    except Exception as error:  # Pillow decodes lazily, so a damaged file may fail only here
        raise InputError(
            f"cannot use {name}: {error}", remedy="give an undamaged image with 8 or 16 bits per channel"
        ) from error


def _array_pixels(array: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) to (H, W, C)."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in {1, 3, 4} or 0 in pixels.shape:
        raise InputError(
            f"an array of shape {array.shape} is not an image",
            remedy="give one image as (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); tensors, not "
            "arrays, are (C, H, W)",
        )
    return pixels


def _tensor_pixels(tensor: Tensor) -> np.ndarray:
    """(C, H, W) to (H, W, C)."""
    if tensor.ndim != 3 or tensor.shape[0] not in {1, 3, 4} or 0 in tensor.shape:
        raise InputError(
            f"a tensor of shape {tuple(tensor.shape)} is not an image",
            remedy="give one image as (C, H, W) with C = 1, 3 or 4",
        )
    plain = tensor.detach().cpu().permute(1, 2, 0)
    # numpy has no bfloat16
    array: np.ndarray = (plain.float() if plain.is_floating_point() else plain).numpy()
    return array


def _from_pixels(pixels: np.ndarray) -> Image.Image:
    """Convert (H, W, C), uint8 or float in [0, 1], to an image."""
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = float(pixels.min()), float(pixels.max())
        if not (
            low >= -1e-6 and high <= 1 + 1e-6
        ):  # written so that NaN fails too; 1e-6 forgives float32 rounding
            raise InputError(
                f"the image's pixels lie in [{low:g}, {high:g}]",
                remedy="give floats in [0, 1] without NaN, or uint8 in 0..255",
            )
        pixels = np.rint(np.clip(pixels.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise InputError(
            f"the image's pixels are {pixels.dtype}", remedy="give uint8 in 0..255, or floats in [0, 1]"
        )
    pixels = np.ascontiguousarray(pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return to_plain(image, "", ranges.WHITE, None, 1)
