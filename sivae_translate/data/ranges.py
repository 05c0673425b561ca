"""Conversion of deeper pixel values to 8 bits per channel."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageFile

WHITE = 65535
"""White level of 16-bit files, unless it is set."""


STRIP = 2**20
"""Pixels scaled at a time: all of a large image as 64-bit numbers would take gigabytes."""
_SCALED = {"PPM", "JPEG2000"}
"""Formats whose headers give the white level; Pillow scales them."""


class UnknownRangeError(ValueError):
    """It is not known which pixel value is white."""


class NearlyBlackWarning(UserWarning):
    """An image of 16 bits or more has values that 8 bits could hold; it may have been converted wrongly."""


def white_of(image: Image.Image, white_level: int | None) -> int:
    """The white level of an image, loaded or not.

    Args:
        image: any image; Pillow scales PPM and JPEG 2000 to 16 bits by their headers.
        white_level: for files whose header does not give it; None is 65535.
    """
    if isinstance(image, ImageFile.ImageFile):
        if image.format in _SCALED:
            return WHITE
        if raw_mode(image).endswith(";12"):
            return 4095
    return white_level or WHITE


def to_eight_bits(image: Image.Image, white: int, name: str = "an image") -> Image.Image:
    """Scale grey integers (Pillow's modes "I;16" and "I") from 0..white to 0..255.

    Args:
        image: a loaded image.
        white: the value that becomes 255; larger values are clipped.
        name: name of its file, for the warning if it is nearly black.

    Raises:
        UnknownRangeError: negative values, or values above 65535 while ``white`` is 65535.
    """
    transparent = image.info.get("transparency")
    scaled, highest = np.empty((image.height, image.width), np.uint8), 0
    for box in _strips(image):
        values = np.asarray(image.crop(box)).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or (high > WHITE and white == WHITE):
            raise UnknownRangeError(f"its pixels are 32-bit integers ({low} to {high}) of unknown range")
        highest = max(highest, high)
        if isinstance(transparent, int):
            values[values == transparent] = white
        scaled[box[1] : box[3]] = _scaled(values, white)
    if white == WHITE and 0 < highest <= 255:
        warnings.warn(
            f"{name}: its largest value is {highest} of {WHITE:,}, so it is nearly black; if {highest} is to "
            "be bright, save it with 8 bits",
            NearlyBlackWarning,
            stacklevel=2,
        )
    return Image.fromarray(scaled)


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of about `STRIP` pixels from the top to the bottom."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Scale to uint8, rounding to nearest."""
    scaled = (values.clip(0, white) * 255 + white // 2) // white
    return scaled.astype(np.uint8)


def is_open(image: ImageFile.ImageFile) -> bool:
    """Whether an unloaded image has more than 8 bits per channel and no white level in its header."""
    return image.format not in _SCALED and (image.mode.startswith("I") or is_deep_colour(image))


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Pillow's raw mode of an unloaded image ("RGB;16B")."""
    args = image.tile[0][3] if image.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether an unloaded image has colours of 16 bits per channel, of which Pillow keeps the upper 8."""
    return raw_mode(image) in {f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in "BLN"}


def lower_bytes(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """Make an unloaded image load the lower instead of the upper 8 bits."""
    mode, _, order = raw_mode(image).partition(";16")
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    tiles = []
    for tile in image.tile:
        swapped = f"{mode};16{'L' if big else 'B'}"
        args = (swapped, *tile[3][1:]) if isinstance(tile[3], tuple) else swapped
        tiles.append(tile._replace(args=args))
    image.tile = tiles
    return image


def join_bytes(upper: Image.Image, lower: Image.Image, white: int) -> Image.Image:
    """Join the upper and lower bytes of 16-bit colours and scale them from 0..white to 0..255.

    A fourth channel (transparency) is scaled by its full range.
    """
    joined = np.empty((upper.height, upper.width, len(upper.getbands())), np.uint8)
    for box in _strips(upper):
        values = np.asarray(upper.crop(box)).astype(np.int64) * 256 + np.asarray(lower.crop(box))
        part = joined[box[1] : box[3]]
        part[...] = _scaled(values, white)
        part[..., 3:] = _scaled(values[..., 3:], WHITE)
    return Image.fromarray(joined)


def describe(values: Sequence[int]) -> str | None:
    """A note on a domain whose 16-bit images are nearly black.

    Args:
        values: the largest value in each of a sample of its images.

    Returns:
        The note, or None if none is needed.
    """
    top = max(values, default=WHITE)
    level = next((level for level in (255, 1023, 4095, 16383) if top <= level), None)
    if level is None:
        return None
    return (
        f"its 16-bit images only use 0 to {top} of {WHITE}, so they are nearly black; "
        f"data.white_level {level} reads them as {level.bit_length()} bits"
    )
