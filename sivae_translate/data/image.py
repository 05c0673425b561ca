"""Reading any picture: files, Pillow images, arrays and tensors.

What comes out is a Pillow image in mode "L" or "RGB": 8 bits a channel, upright, opaque. All the oddities
that files bring (transparency, palettes, 16 bits, EXIF rotation) end here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import PREFIXES as TIFF_SIGNATURES
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from sivae_translate.utils.errors import DataError, InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Names that count as images when a folder is read; compare in lower case."""

MAX_PIXELS = 200_000_000
"""Larger images are refused by their header: a small file can claim a size that would fill the memory."""

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray | Tensor"
"""What a user calls an image; see `from_any`."""

# Readers are called directly instead of through Image.open: that one refuses at a global limit of its own
# (about 179 million pixels), warns at half of it, and would try decoders that run other programs (EPS). A GIF
# named .png is common on the web.
_READERS: tuple[tuple[bytes, Callable[[BinaryIO], ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"GIF8", GifImageFile),
    *((signature, TiffImageFile) for signature in TIFF_SIGNATURES),
)


def open_image(source: str | Path | BinaryIO) -> Image.Image:
    """Read and fully decode an image; of an animation, the first frame.

    Transparency is composited on white, 16-bit grey is scaled by its full range, EXIF rotation is applied,
    CMYK becomes RGB.

    Args:
        source: a path, or a binary stream, which is read from its start and left open.

    Returns:
        8-bit image in mode "L" where the file is grey, else "RGB"; independent of the file.

    Raises:
        DataError: no such file, no image, empty, truncated, larger than `MAX_PIXELS`, or of an unknown pixel
            range.
        InputError: the source is neither a path nor a binary stream.
    """
    name = (
        str(source)
        if isinstance(source, (str, Path))
        else str(getattr(source, "name", "") or "the image stream")
    )
    try:
        with _stream(source) as file:
            image = _identify(file, name)
            image.load()
            return _plain(image)
    except (DataError, InputError):
        raise
    except Exception as error:  # decoders raise whatever the damage led them to
        raise _unreadable(name, error) from error


def _stream(source: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, (str, Path)):
        return Path(source).open("rb")
    if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise InputError(
            f"cannot open an image from {type(source).__name__}",
            remedy="give a path or a file that was opened in binary mode",
        )
    try:
        source.seek(0)
    except (AttributeError, OSError):  # a pipe or a socket; decoders need to seek
        return io.BytesIO(source.read())
    return nullcontext(source)


def _identify(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header only.

    Raises:
        DataError: empty, no image, or too large.
    """
    head = file.read(16)
    if not head:
        raise DataError(
            f"cannot read {name}: the file is empty", remedy="remove it, or copy it again from its source"
        )
    reader = next((reader for signature, reader in _READERS if head.startswith(signature)), None)
    if reader is None:
        known = "PNG, JPEG, WebP, BMP, GIF or TIFF"
        raise DataError(
            f"cannot read {name}: it is not an image in {known} format",
            remedy="remove it, or convert it to PNG",
        )
    file.seek(0)
    image = reader(file)
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"cannot read {name}: its header claims {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS:,} in all",
            remedy="scale it down with another program, or remove it",
        )
    return image


def _unreadable(name: str, error: Exception) -> DataError:
    """The error for a failed open or decode, in words."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"cannot read {name}: no such file", remedy="check the path")
    if isinstance(error, IsADirectoryError):
        return DataError(f"cannot read {name}: it is a folder", remedy="name an image file")
    if isinstance(error, PermissionError):
        return DataError(f"cannot read {name}: permission denied", remedy="allow yourself to read it")
    if isinstance(error, _UnknownRangeError):
        return DataError(f"cannot read {name}: {error}", remedy="convert it to 8 or 16 bits a channel")
    if isinstance(error, Image.DecompressionBombError):
        return DataError(
            f"cannot read {name}: {error}", remedy="scale it down with another program, or remove it"
        )
    reason = str(error) or type(error).__name__
    return DataError(
        f"cannot read {name}: it is damaged or truncated ({reason})", remedy="remove it, or copy it again"
    )


class _UnknownRangeError(ValueError):
    """Nothing says which pixel value is white."""


def _plain(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as a new, upright, opaque image in mode "L" or "RGB"."""
    image = _upright(image)
    if image.mode == "F":
        raise _UnknownRangeError("its pixels are floating point numbers of unknown range")
    if image.mode.startswith("I"):
        return _eight_bits(image)
    grey = image.mode in {"1", "L", "LA", "La"}
    if image.has_transparency_data:
        image = _on_white(image)
    return image.convert("L" if grey else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    # The pixels of a file with damaged EXIF are still good; without a readable rotation it is upright.
    with suppress(Exception):
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            return ImageOps.exif_transpose(image)
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow gives as "I;16" or "I", scaled from 0..65535 to 0..255."""
    values = np.array(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise _UnknownRangeError(
            f"its pixels are 32-bit integers ({values.min()} to {values.max()}) of unknown range"
        )
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))  # 65535 / 255 = 257, rounded to nearest


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return paper


def from_any(image: ImageLike) -> Image.Image:
    """Whatever a user calls an image.

    Args:
        image: a path; a Pillow image of any mode; an array (H, W) or (H, W, C); or a tensor (C, H, W). C is
            1, 3 or 4 (RGBA, composited on white). Arrays and tensors are uint8, or float in [0, 1].

    Returns:
        New 8-bit image in mode "L" or "RGB", upright and opaque.

    Raises:
        DataError: a file cannot be read.
        InputError: another type, shape or range, or NaN.
    """
    if isinstance(image, (str, Path)):
        return open_image(image)
    if isinstance(image, Image.Image):
        return _from_pil(image)
    if isinstance(image, Tensor):
        return _from_pixels(_tensor_pixels(image))
    if isinstance(image, np.ndarray):
        return _from_pixels(_array_pixels(image))
    raise InputError(
        f"{type(image).__name__} is not an image",
        remedy="give a path, a Pillow image, a numpy array or a torch tensor",
    )


def _from_pil(image: Image.Image) -> Image.Image:
    if not image.width or not image.height:
        raise InputError(
            f"the image of {image.width} x {image.height} pixels is empty", remedy="give an image with pixels"
        )
    try:
        image.load()
        return _plain(image)
    except Exception as error:  # Pillow decodes lazily, so a damaged file may show itself only here
        name = getattr(image, "filename", "") or f"the image in mode {image.mode}"
        raise InputError(
            f"cannot use {name}: {error}", remedy="give an undamaged image of 8 or 16 bits a channel"
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
    """uint8, or float in [0, 1], (H, W, C) to an image."""
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
    return _plain(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
