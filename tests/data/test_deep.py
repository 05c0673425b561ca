"""Grey pictures of 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sivae_translate.data.deep import deep_grey, to_sixteen_bits
from sivae_translate.data.reading import Reading


def every_value() -> Image.Image:
    return Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_value_survives(tmp_path: Path, suffix: str) -> None:
    place = tmp_path / f"a{suffix}"
    every_value().save(place)
    for image in (place, every_value()):
        deep = deep_grey(image)
        assert deep is not None
        assert deep.mode == "F"
        assert np.array_equal(np.asarray(to_sixteen_bits(deep)), np.asarray(every_value()))
    low = deep_grey(place, Reading(white_level=4095))
    assert low is not None
    assert low.getpixel((255, 15)) == 255
    to_sixteen_bits(deep).save(tmp_path / "again.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again.png")), np.asarray(every_value()))


def test_other_images_are_none(tmp_path: Path) -> None:
    for mode in ("L", "RGB"):
        Image.new(mode, (4, 4)).save(tmp_path / "a.png")
        assert deep_grey(tmp_path / "a.png") is None
    assert deep_grey(np.zeros((4, 4))) is None
