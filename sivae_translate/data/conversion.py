"""Conversion of a loaded Pillow image to a plain one: grey or RGB, 8 bits, sRGB, upright, opaque."""

from __future__ import annotations

from contextlib import suppress

from PIL import ExifTags, Image

from sivae_translate.data import colour, ranges


def to_plain(
    image: Image.Image, name: str, white: int, profile: bytes | None, orientation: int
) -> Image.Image:
    """Convert a loaded image of any mode to a plain one.

    Args:
        image: a loaded image.
        name: name of its file, for warnings.
        white: value that becomes 255; see `ranges.to_eight_bits`.
        profile: its colour profile.
        orientation: see `orientation_of`.

    Returns:
        New, upright, opaque image in mode "L" or "RGB". It has no metadata, so converting it again changes
        nothing.

    Raises:
        UnknownRangeError: it is not known which value is white.
    """
    plain = _grey_or_rgb(image, name, white, profile, orientation)
    plain.info.clear()
    return plain


def _grey_or_rgb(
    image: Image.Image, name: str, white: int, profile: bytes | None, orientation: int
) -> Image.Image:
    image = upright(image, orientation)
    if image.mode == "F":
        raise ranges.UnknownRangeError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        return colour.to_srgb(ranges.to_eight_bits(image, white, name), profile, name)
    grey = image.mode in {"1", "L", "LA", "La"}
    if profile or image.mode == "LAB":
        image = colour.to_srgb(_eight_bit_channels(image, grey), profile, name)
    if image.has_transparency_data:
        image = _on_white(image)
    return image.convert("L" if grey else "RGB")


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn an image by its EXIF orientation, see `orientation_of`."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _eight_bit_channels(image: Image.Image, grey: bool) -> Image.Image:
    """Convert to a mode that colour profiles apply to."""
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
"""EXIF orientation to the transpositions that make the image upright."""


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of a loaded image; 1 (upright) if its EXIF data is missing or damaged."""
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return paper
