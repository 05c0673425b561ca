"""What is done to a translation of the input's size: detail of the source, a mask, transparency."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from sivae_translate.data.image import ImageLike, from_any

STRIP = 2**20
"""Pixels that are blended at a time."""
FEATHER = 64
"""The border of a mask is blended over about the shorter side divided by this."""
AGREEMENT = 24.0
"""Difference of a translation from the reconstruction, of 255, at which half of the detail is added."""


def masked(source: Image.Image, made: Image.Image, mask: ImageLike) -> Image.Image:
    """The translation where a mask is white, and the source where it is black.

    The border of the mask is smoothed; where it is black over a large area, the source keeps its pixels.

    Args:
        source: the input, plain.
        made: its translation, of the same size; grey if the model is.
        mask: any image; it is scaled to the input.
    """
    weight = from_any(mask).convert("L").resize(source.size, Image.Resampling.BILINEAR)
    weight = weight.filter(ImageFilter.GaussianBlur(max(1.0, min(source.size) / FEATHER / 2)))
    mode = "RGB" if "RGB" in (source.mode, made.mode) else "L"
    return Image.composite(made.convert(mode), source.convert(mode), weight)


def with_detail(source: Image.Image, rebuilt: Image.Image, made: Image.Image, scale: float) -> Image.Image:
    """Add the fine detail of a source that its reconstruction lacks to its translation.

    The detail is the difference of source and reconstruction without its low frequencies. It is weighted by
    1 / (1 + (d / `AGREEMENT`)^2), where d is the smoothed difference of translation and reconstruction: where
    the translation is something else, the source's detail does not belong to it.

    Args:
        source: the input, plain.
        rebuilt: its reconstruction, of the same size and mode as the translation.
        made: its translation.
        scale: side of a pixel of the model's in pixels of the source.
    """
    blur = ImageFilter.GaussianBlur(2 * max(scale, 1.0))
    source = source.convert(made.mode)
    smooth = [picture.filter(blur) for picture in (source, rebuilt, made)]
    result = Image.new(made.mode, made.size)
    rows = max(1, STRIP // made.width)
    for top in range(0, made.height, rows):
        box = (0, top, made.width, min(top + rows, made.height))
        strips = (picture.crop(box) for picture in (source, rebuilt, made, *smooth))
        x, r, t, x_low, r_low, t_low = (np.asarray(strip).astype(np.float32) for strip in strips)
        detail = (x - r) - (x_low - r_low)
        distance = np.abs(t_low - r_low)
        distance = distance.max(-1, keepdims=True) if distance.ndim == 3 else distance
        values = t + detail / (1 + (distance / AGREEMENT) ** 2)
        result.paste(Image.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8)), box)
    return result
