"""Integers of other ranges than 8 and 16 bits."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data import ranges
from sivae_translate.data.image import from_any
from sivae_translate.data.loading import load_data
from sivae_translate.data.processor import ImageProcessor
from sivae_translate.data.reading import Reading, open_image
from tests.data.test_formats import chunk

TWELVE = Reading(white_level=4095)
VALUES = np.array([[0, 16, 2048, 4095, 5000]], np.uint16)
SCALED = [0, 1, 128, 255, 255]


def deep_png(pixels: np.ndarray) -> io.BytesIO:
    """A PNG file of 16 bits and 3 or 4 channels, which Pillow does not write."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if channels == 3 else 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_is_scaled_by_the_white_level(kind: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(VALUES).save(stream, kind)
    assert np.asarray(open_image(stream, TWELVE)).tolist() == [SCALED]
    assert np.asarray(open_image(stream)).tolist() == [[0, 0, 8, 16, 19]]


def test_integers_of_32_bits_have_a_range_with_a_white_level() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.array([[0, 100_000, 200_000]], np.int32)).save(stream, "TIFF")
    assert np.asarray(open_image(stream, Reading(200_000))).tolist() == [[0, 128, 255]]


def test_colours_of_16_bits_are_scaled_from_all_their_bits() -> None:
    pixels = np.stack([VALUES, VALUES[:, ::-1], np.full_like(VALUES, 1000)], 2)
    opened = open_image(deep_png(pixels), TWELVE)
    assert np.asarray(opened)[0].tolist() == [[a, b, 62] for a, b in zip(SCALED, SCALED[::-1], strict=True)]
    assert np.asarray(open_image(deep_png(pixels))).max() == 19
    see_through = np.concatenate([pixels, np.array([[[0], [65535], [0], [65535], [0]]], np.uint16)], 2)
    first, second, *_ = np.asarray(open_image(deep_png(see_through), TWELVE))[0].tolist()
    assert (first, second) == ([255, 255, 255], [1, 255, 62])


def test_files_that_say_what_is_white_need_no_setting() -> None:
    plain = io.BytesIO(b"P5\n3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes())
    for reading in (Reading(), TWELVE):
        assert np.asarray(open_image(plain, reading)).tolist() == [[0, 128, 255]]


def test_eight_bits_stay_as_they_are() -> None:
    stream = io.BytesIO()
    pixels = np.arange(75, dtype=np.uint8).reshape(5, 5, 3)
    Image.fromarray(pixels).save(stream, "PNG")
    np.testing.assert_array_equal(np.asarray(open_image(stream, TWELVE)), pixels)


def test_a_models_setting_holds_for_single_files(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 4095, np.uint16)).save(tmp_path / "a.png")
    processor = ImageProcessor.of(DataConfig(image_size=32, channels=1, white_level=4095))
    assert processor.prepare(tmp_path / "a.png").pixels.min() == 255


def data_of(tmp_path: Path, tops: dict[str, int | None], **settings: Any) -> Any:
    for name, top in tops.items():
        (tmp_path / name).mkdir(exist_ok=True)
        for index in range(3):
            pixels = np.full((40, 40), 200, np.uint8) if top is None else np.full((40, 40), top, np.uint16)
            Image.fromarray(pixels // (index + 1)).save(tmp_path / name / f"{index}.png")
    return load_data(DataConfig(root=tmp_path, image_size=32, channels=1, **settings))


def test_a_domain_that_would_be_nearly_black_is_named_with_the_setting(tmp_path: Path) -> None:
    tops = {"eight": None, "twelve": 3900, "sixteen": 60_000}
    (note,) = data_of(tmp_path, tops).notes
    assert note.startswith("twelve: its 16-bit images only use 0 to 3900 of 65535")
    assert "data.white_level 4095" in note
    data = data_of(tmp_path, {"eight": None, "twelve": 4095}, white_level=4095)
    assert data.notes == ()
    assert data.train[data.domains.index("twelve")][0].min() == 255
    assert data.train[data.domains.index("eight")][0].max() == 200


def test_the_sample_of_files_reaches_the_last_ones(tmp_path: Path) -> None:
    for index in range(60):
        folder = tmp_path / "a"
        folder.mkdir(exist_ok=True)
        top = 4000 if index < 40 else 60_000
        Image.fromarray(np.full((8, 8), top, np.uint16)).save(folder / f"{index:02}.png")
    assert load_data(DataConfig(root=tmp_path, image_size=32, channels=1)).notes == ()


def test_dark_colours_are_found_too(tmp_path: Path) -> None:
    for domain in ("a", "b"):
        (tmp_path / domain).mkdir()
        for index in range(2):
            pixels = np.full((4, 4, 3), 4000 if domain == "a" else 50_000, np.uint16)
            (tmp_path / domain / f"{index}.png").write_bytes(deep_png(pixels).getvalue())
    (note,) = load_data(DataConfig(root=tmp_path, image_size=32)).notes
    assert note.startswith("a: ")
    assert "data.white_level 4095" in note


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_a_large_image_is_scaled_as_a_small_one_in_little_memory(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (50, 30))
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.int32)).save(stream, "TIFF")
    whole = np.asarray(open_image(stream))
    np.testing.assert_array_equal(whole, np.rint(values * 255 / 65535))
    monkeypatch.setattr(ranges, "STRIP", 100)
    np.testing.assert_array_equal(np.asarray(open_image(stream)), whole)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_deep_integers_that_8_bits_could_hold_are_read_as_they_are_with_a_warning(dtype: Any) -> None:
    picture = Image.fromarray(np.array([[0, 100, 255]], dtype))
    with pytest.warns(ranges.NearlyBlackWarning, match="its largest value is 255 of 65,535"):
        assert np.asarray(from_any(picture)).tolist() == [[0, 0, 1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(from_any(picture, Reading(white_level=255))).tolist() == [[0, 100, 255]]
        from_any(Image.fromarray(np.array([[0, 0]], dtype)))  # black is black
