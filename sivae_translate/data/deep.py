"""Grey pictures of 16 bits, for models that are to keep the depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sivae_translate.data.conversion import orientation_of, upright
from sivae_translate.data.image import ImageLike
from sivae_translate.data.ranges import white_of
from sivae_translate.data.reading import DEFAULT, Reading, opened

SCALE = 65535 / 255
"""Steps of 16 bits in a step of 8 bits."""


def deep_grey(image: ImageLike, reading: Reading = DEFAULT) -> Image.Image | None:
    """A grey picture of 16 bits in full precision; None if the image is another.

    Args:
        image: a path or a Pillow image; arrays and tensors have no integers of 16 bits.
        reading: time limit and white level.

    Returns:
        Upright, of mode "F": 0 is black and 255 is white, as in `from_any`. Colour profiles are ignored.

    Raises:
        DataError: a file cannot be read.
    """
    if isinstance(image, (str, Path)):
        with opened(Path(image), reading) as file:
            return _of_picture(file, reading)
    return _of_picture(image, reading) if isinstance(image, Image.Image) else None


def _of_picture(image: Image.Image, reading: Reading) -> Image.Image | None:
    if not image.mode.startswith("I;16"):
        return None
    white = white_of(image, reading.white_level)
    image.load()
    values = np.asarray(image).astype(np.float32) * np.float32(255 / white)
    return upright(Image.fromarray(values.clip(0, 255)), orientation_of(image))


def to_sixteen_bits(picture: Image.Image) -> Image.Image:
    """The inverse of `deep_grey` for a white level of 65535: mode "F" to "I;16", clipped and rounded."""
    values = np.rint(np.asarray(picture) * SCALE).clip(0, 65535)
    return Image.fromarray(values.astype(np.uint16))
