"""Fitting an image: always square, exact where it already fits, equal for an image turned over."""

from __future__ import annotations

import io
from typing import Literal, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sivae_translate.data.processor import FitPolicy, ImageProcessor
from sivae_translate.data.reading import open_image
from sivae_translate.data.tensors import to_pil, to_tensor
from sivae_translate.utils.errors import DataError
from tests.data.profiles import DISPLAY_P3

POLICIES = st.sampled_from(get_args(FitPolicy))


@st.composite
def images(draw: st.DrawFn) -> Image.Image:
    """Noise of any proportions, grey or coloured."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    shape = (height, width, 3) if draw(st.booleans()) else (height, width)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


def fit(image: Image.Image, size: int, policy: FitPolicy) -> np.ndarray:
    """uint8 (size, size, C)."""
    return ImageProcessor(size, 1 if image.mode == "L" else 3, policy).prepare(image).pixels


@given(images(), st.integers(1, 48), POLICIES)
def test_fitting_twice_changes_nothing_more(image: Image.Image, size: int, policy: FitPolicy) -> None:
    fitted = fit(image, size, policy)
    assert fitted.shape[:2] == (size, size)
    again = Image.fromarray(np.squeeze(fitted, 2) if fitted.shape[2] == 1 else fitted)
    assert np.array_equal(fit(again, size, policy), fitted)


@given(st.integers(0, 255), st.integers(1, 30), st.integers(1, 30), st.sampled_from(["cover", "stretch"]))
def test_one_colour_stays_one_colour(value: int, width: int, height: int, policy: FitPolicy) -> None:
    fitted = fit(Image.new("L", (width, height), value), 16, policy)
    assert np.unique(fitted).tolist() == [value]


@given(images(), st.sampled_from([1, 3]), POLICIES)
def test_arrays_and_tensors_hold_the_same_pixels(
    image: Image.Image, channels: Literal[1, 3], policy: FitPolicy
) -> None:
    array = ImageProcessor(16, channels, policy).prepare(image).pixels
    assert array.shape == (16, 16, channels)
    back = np.asarray(to_pil(to_tensor([array])[0])).reshape(array.shape)
    assert np.array_equal(back, array)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 48), POLICIES)
def test_restoring_undoes_the_fit(width: int, height: int, size: int, policy: FitPolicy) -> None:
    """A picture of one colour comes back in its shape and without padding, or the fit cut something off."""
    processor = ImageProcessor(size, 1, policy)
    prepared = processor.prepare(Image.new("L", (width, height), 70))
    square = Image.fromarray(prepared.pixels[..., 0])
    if not prepared.placement.is_whole:
        assert policy == "cover"
        assert width != height
        return
    restored = np.asarray(processor.restore(square, prepared.placement))
    assert restored.shape == (height, width)
    assert np.unique(restored).tolist() == [70]


def encoded(kind: str) -> bytes:
    """A small picture in a format, with metadata."""
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind, exif=exif, icc_profile=DISPLAY_P3)
    return stream.getvalue()


ENCODED = {
    kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000", "PPM", "TGA")
}


@given(st.sampled_from(sorted(ENCODED)), st.data())
@settings(max_examples=200)
@pytest.mark.filterwarnings("ignore")
def test_whatever_bytes_are_in_a_file_it_is_a_picture_or_unreadable(kind: str, data: st.DataObject) -> None:
    content = bytearray(ENCODED[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.sampled_from([0, 1, 4, 40]))
        content[place : place + length] = data.draw(st.binary(max_size=4))
    stream = io.BytesIO(content)
    stream.name = f"image.{kind.lower()}"
    try:
        assert open_image(stream).mode in {"L", "RGB"}
    except DataError as error:
        assert error.what.startswith("cannot read image.")
