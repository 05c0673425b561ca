"""Colours by the profile of their file."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from sivae_translate.data.colour import IgnoredProfileWarning
from sivae_translate.data.image import from_any
from sivae_translate.data.reading import open_image
from tests.data import profiles


def reopened(image: Image.Image, kind: str, **options: Any) -> Any:
    """The first pixel of an image that was stored and read."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return np.asarray(open_image(stream))[0, 0].astype(int)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
def test_display_p3_becomes_srgb(kind: str) -> None:
    image = Image.new("RGB", (16, 16), (100, 200, 80))
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    colour = reopened(image, kind, icc_profile=profiles.DISPLAY_P3, **options)
    assert np.abs(colour - [43, 204, 54]).max() <= {"JPEG": 4, "AVIF": 8}.get(kind, 2)


def test_a_profile_of_an_image_in_memory_counts_too() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (100, 200, 80)).save(stream, "PNG", icc_profile=profiles.DISPLAY_P3)
    with Image.open(stream) as image:
        assert from_any(image).getpixel((0, 0)) == (45, 203, 56)


def test_transparency_and_palettes_keep_their_places() -> None:
    see_through = Image.new("RGBA", (4, 4), (100, 200, 80, 0))
    assert reopened(see_through, "PNG", icc_profile=profiles.DISPLAY_P3).tolist() == [255, 255, 255]
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 100, 200, 80])
    assert reopened(palette, "PNG", icc_profile=profiles.DISPLAY_P3).tolist() == [45, 203, 56]


def test_grey_by_its_own_curve_and_by_that_of_a_screen() -> None:
    image = Image.new("L", (4, 4), 55)
    assert abs(reopened(image, "PNG", icc_profile=profiles.LINEAR_GREY) - 128) <= 1
    assert reopened(image, "PNG", icc_profile=profiles.DISPLAY_P3) == 55
    deep = Image.fromarray(np.full((4, 4), 55 * 257, np.uint16))
    assert abs(reopened(deep, "PNG", icc_profile=profiles.LINEAR_GREY) - 128) <= 1


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_ink_by_its_press(kind: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(reopened(cyan, kind, icc_profile=profiles.press()) - 147).max() <= 2
    assert reopened(cyan, kind).tolist() == [0, 255, 255]


def test_lab_is_read() -> None:
    assert np.abs(reopened(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF") - 119).max() <= 2


@pytest.mark.parametrize(
    "profile", [profiles.SRGB, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()]
)
def test_pixels_that_are_srgb_already_stay_to_the_bit(profile: bytes) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", icc_profile=profile)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(np.asarray(open_image(stream)), pixels)


@pytest.mark.parametrize("profile", [b"no profile" * 20, profiles.DISPLAY_P3[:200], profiles.press()])
def test_an_unusable_profile_is_ignored_with_a_warning(profile: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (4, 4), (100, 200, 80)).save(path, icc_profile=profile)
    with pytest.warns(IgnoredProfileWarning, match=r"image\.png: its colour profile is ignored"):
        assert open_image(path).getpixel((0, 0)) == (100, 200, 80)
