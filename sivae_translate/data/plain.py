"""A loaded Pillow image of any mode as one in grey or RGB: 8 bits a channel, sRGB, upright, opaque."""

from __future__ import annotations

from contextlib import suppress

from PIL import ExifTags, Image

from sivae_translate.data import colour, ranges


def to_plain(
    image: Image.Image, name: str, white: int, profile: bytes | None, orientation: int
) -> Image.Image:
    """A loaded image of any mode as one that needs nothing more.

    Args:
        image: loaded.
        name: of its file, for warnings.
        white: value that becomes 255; see `ranges.to_eight_bits`.
        profile: its colour profile.
        orientation: see `orientation_of`.

    Returns:
        New, upright, opaque image in mode "L" or "RGB". It has no metadata, so it is not turned or converted
        once more when it is given again.

    Raises:
        UnknownRangeError: nothing says which value is white.
    """
    plain = _grey_or_rgb(image, name, white, profile, orientation)
    plain.info.clear()
    return plain


def _grey_or_rgb(
    image: Image.Image, name: str, white: int, profile: bytes | None, orientation: int
) -> Image.Image:
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


def orientation_of(image: Image.Image) -> int:
    """EXIF's number for how a loaded image lies. The pixels of a file with damaged EXIF are still good:
    without a readable number it is upright, 1.
    """
    with suppress(Exception):
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    paper = Image.new("RGB", image.size, "white")
    paper.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return paper
