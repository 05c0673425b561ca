"""Formats and qualities of the files that are written."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gif",), "no format 'gif'"),
        (("png", 90), "PNG files have no quality"),
        (("jpg", 0), "quality is 0"),
        (("webp", 101), "quality is 101"),
    ],
)
def test_formats_and_qualities_that_do_not_exist_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Encoding(*arguments)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_takes_grey_and_coloured_images(kind: Any, mode: str) -> None:
    soft = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    image = Image.fromarray(soft).convert(mode)
    content = Encoding(kind).encode(image)
    read = np.asarray(Image.open(io.BytesIO(content)).convert(mode)).astype(int)
    assert np.abs(read - np.asarray(image)).max() <= (0 if kind == "png" else 6)
    if kind != "png":
        assert len(Encoding(kind, 30).encode(image)) < len(content)
