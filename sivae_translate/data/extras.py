"""What a picture has besides the colours that a model sees: transparency, EXIF data and resolution.

A model sees a transparent picture on white. The translation gets the transparency back with colours that,
on white, look as the model made them; what was hardly visible has no colour to be read from, and is clipped.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from torch import Tensor

from sivae_translate.data.conversion import orientation_of, upright
from sivae_translate.data.image import ImageLike
from sivae_translate.data.reading import DEFAULT, Reading, opened

STRIP = 2**20
"""Pixels whose colours are computed at a time."""


@dataclass(frozen=True)
class Extras:
    """What a picture has besides colours.

    Attributes:
        alpha: upright, mode "L", 255 is opaque; None if all of it is opaque.
        exif: its EXIF data without the orientation, which is applied to the pixels; None without any.
        dpi: pixels per inch in both directions; None if unknown.
    """

    alpha: Image.Image | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


NONE = Extras()


def has_alpha(path: Path) -> bool:
    """Whether an image file may have transparent pixels, by its header; False if it cannot be read."""
    with suppress(Exception), opened(path) as image:  # the reason is reported when the file is read
        return image.has_transparency_data
    return False


def extras_of(image: ImageLike | io.BytesIO, reading: Reading = DEFAULT) -> Extras:
    """What an image has besides colours: a file, its bytes, or anything that `from_any` takes.

    Raises:
        DataError: a file cannot be read.
    """
    if isinstance(image, (str, Path, io.BytesIO)):
        with opened(image if isinstance(image, io.BytesIO) else Path(image), reading) as file:
            return _of_picture(file)
    if isinstance(image, Image.Image):
        return _of_picture(image)
    pixels = image.detach().cpu().float().numpy() if isinstance(image, Tensor) else np.asarray(image)
    pixels = pixels if isinstance(image, np.ndarray) else np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return NONE
    whole = image.is_floating_point() if isinstance(image, Tensor) else pixels.dtype.kind == "f"
    alpha = np.rint(pixels[..., 3] * (255 if whole else 1)).astype(np.uint8)
    return Extras(_unless_opaque(Image.fromarray(alpha)))


def _of_picture(image: Image.Image) -> Extras:
    image.load()  # EXIF data may follow the pixels
    alpha = None
    if image.has_transparency_data and not image.mode.startswith("I"):
        alpha = _unless_opaque(upright(image.convert("RGBA").getchannel("A"), orientation_of(image)))
    exif = None
    with suppress(Exception):  # damaged EXIF data
        data = image.getexif()
        data.pop(ExifTags.Base.Orientation, None)
        exif = data.tobytes() if len(data) else None
    dpi = image.info.get("dpi")
    return Extras(alpha, exif, (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None)


def _unless_opaque(alpha: Image.Image) -> Image.Image | None:
    return None if alpha.getextrema() == (255, 255) else alpha


def with_alpha(picture: Image.Image, alpha: Image.Image | None) -> Image.Image:
    """Make a picture transparent that looks the same on white.

    Args:
        picture: of mode "L" or "RGB".
        alpha: of mode "L" and the same size; None returns the picture itself.

    Returns:
        Of mode "LA" or "RGBA".
    """
    if alpha is None:
        return picture
    result = Image.new(f"{picture.mode}A", picture.size)
    rows = max(1, STRIP // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        part, opacity = picture.crop(box), alpha.crop(box)
        result.paste(Image.merge(result.mode, [*_bare(part, opacity).split(), opacity]), box)
    return result


def _bare(picture: Image.Image, alpha: Image.Image) -> Image.Image:
    """The colours that are a picture when they are drawn on white with some opacity."""
    values = np.asarray(picture).astype(np.float32)
    opacity = np.asarray(alpha).astype(np.float32).reshape(*alpha.size[::-1], *[1] * (values.ndim - 2))
    colours = 255 - (255 - values) * (255 / opacity.clip(min=1))
    return Image.fromarray(np.rint(colours.clip(0, 255)).astype(np.uint8))
