"""Reading any picture: files, Pillow images, arrays and tensors.

What comes out is a Pillow image in mode "L" or "RGB": 8 bits a channel, sRGB, upright, opaque. All the
oddities that files bring (transparency, palettes, colour profiles, 16 bits, EXIF rotation) end here.
"""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

import numpy as np
from PIL import ExifTags, Image, ImageFile
from torch import Tensor

from sivae_translate.data import colour, ranges
from sivae_translate.data.formats import HEAD, find_reader
from sivae_translate.data.limits import BLOCK, ClockedStream, TimeLimitError, require_regular, strip_metadata
from sivae_translate.utils.errors import DataError, InputError

MAX_PIXELS = 200_000_000
"""Larger images are refused by their header: a small file can claim a size that would fill the memory."""

ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray | Tensor"
"""What a user calls an image; see `from_any`."""


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        white_level: the value in files of more than 8 bits a channel that is white; None is 65535.
        seconds: the longest that one file may take.
    """

    white_level: int | None = None
    seconds: float = 60.0


DEFAULT = Reading()


def open_image(source: str | Path | BinaryIO, reading: Reading = DEFAULT) -> Image.Image:
    """Read and fully decode an image; of an animation, the first frame.

    Transparency is composited on white, 16-bit grey is scaled by its full range or the white level, EXIF
    rotation is applied, colours are converted to sRGB by the file's profile, CMYK becomes RGB.

    Args:
        source: a path, or a binary stream, which is read from its start and left open.
        reading: the range of integers, and the time limit.

    Returns:
        8-bit image in mode "L" where the file is grey, else "RGB"; independent of the file.

    Raises:
        DataError: no such file, not a regular file, no image, empty, truncated, larger than `MAX_PIXELS`,
            slower than the time limit, or of an unknown pixel range.
        InputError: the source is neither a path nor a binary stream.
    """
    name = (
        str(source)
        if isinstance(source, (str, Path))
        else str(getattr(source, "name", "") or "the image stream")
    )
    try:
        with _stream(source) as file:
            return _read(file, name, reading)
    except (DataError, InputError):
        raise
    except Exception as error:  # decoders raise whatever the damage led them to
        raise _unreadable(name, error) from error


def _stream(source: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        require_regular(path)
        return path.open("rb")
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


def _read(file: BinaryIO, name: str, reading: Reading) -> Image.Image:
    """An open file as a plain image; a PNG file that fails is read again without its metadata."""
    clock = ClockedStream(file, reading.seconds)
    stream = cast("BinaryIO", clock)
    try:
        return _decode(stream, name, reading)
    except DataError:
        raise
    except Exception as error:
        if clock.is_over:  # some decoders turn every error into one of their own
            raise TimeLimitError from error
        file.seek(0)
        if file.read(4) != b"\x89PNG":
            raise
        bare, profile = strip_metadata(stream)
        return _decode(bare, name, reading, profile)


def _decode(file: BinaryIO, name: str, reading: Reading, profile: bytes | None = None) -> Image.Image:
    image = _identify(file, name)
    white = ranges.white_of(image, reading.white_level)
    lower = None
    if white != ranges.WHITE and ranges.is_deep_colour(image):
        lower = ranges.lower_bytes(_identify(file, name))
        lower.load()
    image.load()
    profile = profile or image.info.get("icc_profile")
    orientation = _orientation(image)
    joined = image if lower is None else ranges.join_bytes(image, lower, white)
    return _plain(joined, name, white, profile, orientation)


def _identify(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header only.

    Raises:
        DataError: empty, no image, or too large.
    """
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        raise DataError(
            f"cannot read {name}: the file is empty", remedy="remove it, or copy it again from its source"
        )
    reader = find_reader(head, name)
    file.seek(0)
    image = reader(file)
    if image.format in {"JPEG", "MPO"}:
        image.decodermaxblock = BLOCK
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"cannot read {name}: its header claims {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS:,} in all",
            remedy="scale it down with another program, or remove it",
        )
    return image


_UNSUPPORTED = re.compile(
    "unsupported|unknown|unrecognized|not (supported|available|implemented)|cannot handle|more samples",
    re.IGNORECASE,
)
"""What Pillow says of files that are whole, but of a kind that it does not decode."""


def _unreadable(name: str, error: Exception) -> DataError:
    """The error for a failed open or decode, in words."""
    reason = str(error) or type(error).__name__
    smaller = "scale it down with another program, or remove it"
    for kind, what, remedy in (
        (FileNotFoundError, "no such file", "check the path"),
        (IsADirectoryError, "it is a folder", "name an image file"),
        (PermissionError, "permission denied", "allow yourself to read it"),
        (
            TimeLimitError,
            "decoding it takes longer than data.seconds_per_file",
            "convert it to PNG, or allow more",
        ),
        (MemoryError, "decoding it needs more memory than there is", smaller),
        (ranges.UnknownRangeError, reason, "convert it to 8 or 16 bits a channel"),
        (Image.DecompressionBombError, reason, smaller),
    ):
        if isinstance(error, kind):
            return DataError(f"cannot read {name}: {what}", remedy=remedy)
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"cannot read {name}: {error.strerror}", remedy="check the path and the disk")
    if _UNSUPPORTED.search(reason):
        return DataError(
            f"cannot read {name}: Pillow does not decode its kind ({reason})", remedy="convert it to PNG"
        )
    return DataError(
        f"cannot read {name}: it is damaged or truncated ({reason})", remedy="remove it, or copy it again"
    )


def _plain(image: Image.Image, name: str, white: int, profile: bytes | None, orientation: int) -> Image.Image:
    """A loaded image of any mode as a new, upright, opaque image in mode "L" or "RGB"."""
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    if image.mode == "F":
        raise ranges.UnknownRangeError("its pixels are floating point numbers of unknown range")
    if image.mode.startswith("I"):
        return colour.to_srgb(ranges.to_eight_bits(image, white), profile, name)
    grey = image.mode in {"1", "L", "LA", "La"}
    if profile or image.mode == "LAB":
        image = colour.to_srgb(_eight_bit_channels(image, grey), profile, name)
    if image.has_transparency_data:
        image = _on_white(image)
    return image.convert("L" if grey else "RGB")


def _eight_bit_channels(image: Image.Image, grey: bool) -> Image.Image:
    """In a mode that colour profiles are for."""
    if image.mode in {"CMYK", "LAB"}:
        return image
    if image.has_transparency_data:
        return image.convert("LA" if grey else "RGBA")
    return image.convert("L" if grey else "RGB")


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes it upright."""


def _orientation(image: Image.Image) -> int:
    # The pixels of a file with damaged EXIF are still good; without a readable rotation it is upright.
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return paper


def from_any(image: ImageLike, reading: Reading = DEFAULT) -> Image.Image:
    """Whatever a user calls an image.

    Args:
        image: a path; a Pillow image of any mode; an array (H, W) or (H, W, C); or a tensor (C, H, W). C is
            1, 3 or 4 (RGBA, composited on white). Arrays and tensors are uint8, or float in [0, 1].
        reading: how a file is read, and the white level of a Pillow image of 16 bits.

    Returns:
        New 8-bit image in mode "L" or "RGB", upright and opaque.

    Raises:
        DataError: a file cannot be read.
        InputError: another type, shape or range, or NaN.
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
        return _plain(image, str(name), white, profile, _orientation(image))
    except Exception as error:  # Pillow decodes lazily, so a damaged file may show itself only here
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
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return _plain(image, "", ranges.WHITE, None, 1)
