"""Fitting a picture to the model's square, and undoing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from sivae_translate.data.processor import FitPolicy, ImageProcessor
from sivae_translate.data.reading import open_image
from sivae_translate.utils.errors import InputError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def fit(image: Image.Image, size: int, policy: FitPolicy) -> np.ndarray:
    """The square of a grey or coloured picture: (size, size) or (size, size, 3)."""
    channels: Literal[1, 3] = 1 if image.mode == "L" else 3
    return np.squeeze(
        ImageProcessor(size, channels, policy).prepare(image).pixels, 2 if channels == 1 else ()
    )


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    pixels = noise(8, 8, 3)
    for policy in ("cover", "contain", "stretch"):
        np.testing.assert_array_equal(fit(Image.fromarray(pixels), 8, policy), pixels)


@pytest.mark.parametrize(
    ("shape", "rows", "columns"), [((8, 20), slice(None), slice(6, 14)), ((21, 8), slice(6, 14), slice(None))]
)
def test_cover_cuts_out_the_centre(shape: tuple[int, int], rows: slice, columns: slice) -> None:
    pixels = noise(*shape)
    np.testing.assert_array_equal(fit(Image.fromarray(pixels), 8, "cover"), pixels[rows, columns])


def test_contain_keeps_everything_between_white_bars() -> None:
    pixels = noise(8, 16)
    fitted = fit(Image.fromarray(pixels), 16, "contain")
    assert (fitted[:4] == 255).all()
    assert (fitted[12:] == 255).all()
    np.testing.assert_array_equal(fitted[4:12], pixels)


def test_contain_of_a_thread_keeps_a_line_of_it() -> None:
    fitted = fit(Image.new("L", (1000, 1), 0), 10, "contain")
    assert (fitted == 0).all(1).sum() == 1


def test_stretch_fills_the_square() -> None:
    stripes = np.tile(np.repeat([0, 100, 200], [5, 10, 5]).astype(np.uint8), (4, 1))
    fitted = fit(Image.fromarray(stripes), 8, "stretch").astype(float)
    expected = np.tile(np.repeat([0, 100, 200], [2, 4, 2]), (8, 1))
    assert np.abs(fitted - expected).max() <= 10  # LANCZOS overshoots a step of 100 by up to a tenth


def test_shrinking_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (128, 64))
    fitted = fit(Image.fromarray(stripes), 16, "stretch").astype(int)
    assert np.abs(fitted[:, 2:-2] - 127.5).max() < 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 3, "cover"), "size = 0"), ((8, 2, "cover"), "channels = 2"), ((8, 3, "crop"), "'crop'")],
)
def test_nonsense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ImageProcessor(*arguments)


def test_a_grey_picture_becomes_three_equal_channels() -> None:
    pixels = noise(6, 6)
    prepared = ImageProcessor(6, 3).prepare(pixels)
    np.testing.assert_array_equal(prepared.pixels, np.repeat(pixels[..., None], 3, 2))


def test_a_coloured_picture_becomes_its_luma() -> None:
    pixels = noise(6, 6, 3)
    array = ImageProcessor(6, 1).prepare(pixels).pixels
    assert array.shape == (6, 6, 1)
    assert array.dtype == np.uint8
    assert np.abs(array[..., 0] - pixels @ [0.299, 0.587, 0.114]).max() <= 0.51


def test_pixels_are_writable() -> None:
    assert ImageProcessor(4, 1, "contain").prepare(np.zeros((5, 9), np.uint8)).pixels.flags.writeable


def test_a_transparent_picture_is_fitted_on_white() -> None:
    assert (ImageProcessor(4).prepare(Image.new("RGBA", (4, 4), (9, 9, 9, 0))).pixels == 255).all()


# ---- back to the picture's shape


def letters(width: int, height: int) -> Image.Image:
    """Three vertical bands, each of its own colour."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for index, part in enumerate(np.array_split(np.arange(width), 3)):
        pixels[:, part, index] = 200
    return Image.fromarray(pixels)


@pytest.mark.parametrize("policy", ["contain", "stretch"])
@pytest.mark.parametrize("size", [(192, 64), (64, 192), (63, 64)])
def test_a_result_comes_back_in_the_pictures_shape(size: tuple[int, int], policy: FitPolicy) -> None:
    picture = letters(*size)
    processor = ImageProcessor(64, 3, policy)
    prepared = processor.prepare(picture)
    restored = processor.restore(Image.fromarray(prepared.pixels), prepared.placement)
    assert restored.size == size
    for third in (1, 3, 5):
        place = (size[1] // 2, size[0] * third // 6)
        assert np.abs(np.asarray(restored)[place].astype(int) - np.asarray(picture)[place]).max() <= 12


def test_a_square_picture_comes_back_whatever_the_fit() -> None:
    for policy in ("cover", "contain", "stretch"):
        processor = ImageProcessor(32, 3, policy)
        prepared = processor.prepare(letters(96, 96))
        assert processor.restore(Image.fromarray(prepared.pixels), prepared.placement).size == (96, 96)


def test_what_was_cut_off_cannot_come_back() -> None:
    processor = ImageProcessor(64)
    prepared = processor.prepare(letters(192, 64))
    with pytest.raises(InputError, match=r"192 x 64 pixels.*\(64, 0\) to \(128, 64\)"):
        processor.restore(Image.fromarray(prepared.pixels), prepared.placement)


def test_padding_is_no_part_of_the_result() -> None:
    processor = ImageProcessor(64, 1, "contain")
    prepared = processor.prepare(np.zeros((64, 192), np.uint8))
    assert prepared.pixels.mean() > 150  # two thirds are white padding
    restored = np.asarray(processor.restore(Image.fromarray(prepared.pixels[..., 0]), prepared.placement))
    assert restored.shape == (64, 192)
    assert restored.max() == 0


def photograph(width: int, height: int) -> Image.Image:
    """Smooth colours with some grain, as photographs have."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray((smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(
    tmp_path: Path, fit: Any, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph(1203, 802).save(tmp_path / "large.jpg", quality=95, exif=exif)
    processor = ImageProcessor(32, 3, fit)
    prepared = processor.prepare(tmp_path / "large.jpg")
    whole = processor.prepare(open_image(tmp_path / "large.jpg"))
    assert prepared.placement == whole.placement
    assert prepared.placement.size == ((1203, 802) if orientation == 1 else (802, 1203))
    difference = np.abs(prepared.pixels.astype(int) - whole.pixels)
    assert difference.max() <= 5
    assert difference.mean() < 0.8
    drafted = open_image(tmp_path / "large.jpg", processor.file_reading)
    assert min(drafted.size) == 201
    assert np.array_equal(processor.prepare_plain(drafted).pixels, prepared.pixels)


def test_a_jpeg_of_less_than_eight_times_the_models_side_is_the_same_to_the_bit(tmp_path: Path) -> None:
    photograph(300, 255).save(tmp_path / "small.jpg", quality=95)
    processor = ImageProcessor(32)
    whole = processor.prepare(open_image(tmp_path / "small.jpg"))
    assert np.array_equal(processor.prepare(tmp_path / "small.jpg").pixels, whole.pixels)
