"""From integers of other ranges to 8 bits a channel."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageFile

WHITE = 65535
"""White of 16-bit files, unless somebody knows better."""


STRIP = 2**20
"""Pixels scaled at a time: as numbers of 64 bits, a large image at once would take gigabytes."""
_SCALED = {"PPM", "JPEG2000"}
"""Formats whose headers say what is white; Pillow scales them."""


class UnknownRangeError(ValueError):
    """Nothing says which pixel value is white."""


def white_of(image: Image.Image, white_level: int | None) -> int:
    """The integer that is white in an image, loaded or not.

    Args:
        image: any; Pillow scales PPM and JPEG 2000 to 16 bits by what their headers say.
        white_level: of files that do not say so; None is 65535.
    """
    if isinstance(image, ImageFile.ImageFile):
        if image.format in _SCALED:
            return WHITE
        if raw_mode(image).endswith(";12"):
            return 4095
    return white_level or WHITE


def to_eight_bits(image: Image.Image, white: int) -> Image.Image:
    """Grey integers, which Pillow gives as "I;16" or "I", scaled from 0..white to 0..255.

    Args:
        image: loaded.
        white: the value that becomes 255, and so does all above it.

    Raises:
        UnknownRangeError: negative values, or values above 65535 while ``white`` is 65535.
    """
    transparent = image.info.get("transparency")
    scaled = np.empty((image.height, image.width), np.uint8)
    for box in _strips(image):
        values = np.asarray(image.crop(box)).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or (high > WHITE and white == WHITE):
            raise UnknownRangeError(f"its pixels are 32-bit integers ({low} to {high}) of unknown range")
        if isinstance(transparent, int):
            values[values == transparent] = white
        scaled[box[1] : box[3]] = _scaled(values, white)
    return Image.fromarray(scaled)


def _strips(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of about `STRIP` pixels from the top to the bottom."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _scaled(values: np.ndarray, white: int) -> np.ndarray:
    """uint8, rounded to nearest."""
    scaled = (values.clip(0, white) * 255 + white // 2) // white
    return scaled.astype(np.uint8)


def is_open(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet has more than 8 bits a channel, and nothing says how many."""
    return image.format not in _SCALED and (image.mode.startswith("I") or is_deep_colour(image))


def raw_mode(image: ImageFile.ImageFile) -> str:
    """How an image that is not loaded yet is stored, in Pillow's words ("RGB;16B")."""
    args = image.tile[0][3] if image.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether an image that is not loaded yet has 16 bits a channel, of which Pillow keeps the upper 8."""
    return raw_mode(image) in {f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in "BLN"}


def lower_bytes(image: ImageFile.ImageFile) -> ImageFile.ImageFile:
    """The same image, opened once more, made to load the lower instead of the upper 8 bits."""
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
    """Colours of 16 bits a channel from their halves, scaled from 0..white to 0..255; a fourth channel
    (transparency) is scaled by its full range.
    """
    joined = np.empty((upper.height, upper.width, len(upper.getbands())), np.uint8)
    for box in _strips(upper):
        values = np.asarray(upper.crop(box)).astype(np.int64) * 256 + np.asarray(lower.crop(box))
        part = joined[box[1] : box[3]]
        part[...] = _scaled(values, white)
        part[..., 3:] = _scaled(values[..., 3:], WHITE)
    return Image.fromarray(joined)


def describe(values: Sequence[int]) -> str | None:
    """What to say of a domain whose 16-bit images are nearly black.

    Args:
        values: the largest value of each of some of its images.

    Returns:
        a note, or None where there is nothing to say.
    """
    top = max(values, default=WHITE)
    level = next((level for level in (255, 1023, 4095, 16383) if top <= level), None)
    if level is None:
        return None
    return (
        f"its 16-bit images use 0 to {top} of {WHITE} only, so they are nearly black; "
        f"data.white_level {level} reads them as {level.bit_length()} bits"
    )
