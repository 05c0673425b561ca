from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.data import reading
from sivae_translate.data.image import from_any
from sivae_translate.data.reading import open_image
from sivae_translate.utils.errors import DataError, InputError
from tests.data.profiles import DISPLAY_P3


def noise(*shape: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def stored(image: Any, suffix: str, tmp_path: Path, **options: Any) -> Any:
    path = tmp_path / f"image{suffix}"
    image.save(path, **options)
    return path


def png_claiming(width: int, height: int) -> Any:
    def chunk(kind: bytes, data: Any) -> Any:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
@pytest.mark.parametrize(("mode", "shape"), [("RGB", (5, 7, 3)), ("L", (5, 7))])
def test_lossless_formats_keep_mode_and_pixels(suffix: str, mode: str, shape: Any, tmp_path: Path) -> None:
    pixels = noise(*shape)
    opened = open_image(stored(Image.fromarray(pixels), suffix, tmp_path))
    assert opened.mode == mode
    np.testing.assert_array_equal(np.asarray(opened), pixels)


def test_lossless_webp_keeps_pixels(tmp_path: Path) -> None:
    pixels = noise(5, 7, 3)
    np.testing.assert_array_equal(
        np.asarray(open_image(stored(Image.fromarray(pixels), ".webp", tmp_path, lossless=True))), pixels
    )


def test_a_path_may_be_a_string_and_a_stream_stays_open(tmp_path: Path) -> None:
    pixels = noise(4, 4, 3)
    path = stored(Image.fromarray(pixels), ".png", tmp_path)
    np.testing.assert_array_equal(np.asarray(open_image(str(path))), pixels)
    with path.open("rb") as stream:
        stream.read(3)
        np.testing.assert_array_equal(np.asarray(open_image(stream)), pixels)
        assert not stream.closed


def test_a_pipe_that_cannot_seek_is_read(tmp_path: Path) -> None:
    pixels = noise(4, 4, 3)
    data = stored(Image.fromarray(pixels), ".png", tmp_path).read_bytes()
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as sink:
        sink.write(data)
    with os.fdopen(reading, "rb") as stream:
        np.testing.assert_array_equal(np.asarray(open_image(stream)), pixels)


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 4), ("LA", 2)])
def test_transparency_is_composited_on_white(mode: str, channels: int, tmp_path: Path) -> None:
    pixels = noise(6, 5, channels)
    opened = open_image(stored(Image.fromarray(pixels, mode), ".png", tmp_path))
    alpha = pixels[..., -1:] / 255.0
    expected = pixels[..., :-1] * alpha + 255 * (1 - alpha)
    assert opened.mode == ("RGB" if mode == "RGBA" else "L")
    assert np.abs(np.asarray(opened).reshape(expected.shape) - expected).max() <= 0.51


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    path = stored(image, ".png", tmp_path, transparency=1)
    opened = open_image(path)
    assert opened.mode == "RGB"
    assert np.asarray(opened).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_a_transparent_grey_value_becomes_white(tmp_path: Path) -> None:
    opened = open_image(
        stored(Image.fromarray(np.array([[0, 10, 20]], np.uint8)), ".png", tmp_path, transparency=10)
    )
    assert opened.mode == "L"
    assert np.asarray(opened).tolist() == [[0, 255, 20]]


def test_a_one_bit_image_becomes_black_and_white_grey(tmp_path: Path) -> None:
    bits = np.array([[0, 1, 1], [1, 0, 0]], np.uint8) * 255
    opened = open_image(stored(Image.fromarray(bits).convert("1"), ".png", tmp_path))
    assert opened.mode == "L"
    assert np.asarray(opened).tolist() == bits.tolist()


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    opened = open_image(stored(Image.new("CMYK", (3, 2), (0, 255, 0, 0)), ".tif", tmp_path))
    assert opened.mode == "RGB"
    assert np.asarray(opened)[0, 0].tolist() == [255, 0, 255]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_is_scaled_by_its_full_range(suffix: str, tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    opened = open_image(stored(Image.fromarray(values), suffix, tmp_path))
    assert opened.mode == "L"
    assert np.asarray(opened).tolist() == [[round(int(value) * 255 / 65535) for value in values[0]]]


def test_integer_mode_is_scaled_alike_and_beyond_sixteen_bits_refused(tmp_path: Path) -> None:
    inside = open_image(stored(Image.fromarray(np.array([[0, 65535]], np.int32)), ".tif", tmp_path))
    assert np.asarray(inside).tolist() == [[0, 255]]
    with pytest.raises(DataError, match=r"32-bit integers \(0 to 65536\)"):
        open_image(stored(Image.fromarray(np.array([[0, 65536]], np.int32)), ".tif", tmp_path))


def test_floating_point_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="floating-point numbers of unknown range"):
        open_image(stored(Image.fromarray(np.zeros((2, 2), np.float32)), ".tif", tmp_path))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).swapaxes(0, 1)),
        (8, np.rot90),
    ],
)
def test_exif_rotation_is_applied(suffix: str, orientation: Any, upright: Any, tmp_path: Path) -> None:
    pixels = noise(3, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    opened = open_image(stored(Image.fromarray(pixels), suffix, tmp_path, exif=exif, **options))
    np.testing.assert_array_equal(np.asarray(opened), upright(pixels))


def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    path = stored(Image.fromarray(noise(4, 6, 3)), ".png", tmp_path, exif=b"Exif\0\0garbage that is not TIFF")
    assert open_image(path).size == (6, 4)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_file_is_an_error_that_names_it(suffix: str, share: Any, tmp_path: Path) -> None:
    path = stored(Image.fromarray(noise(64, 64, 3)), suffix, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="damaged or truncated") as caught:
        open_image(path)
    assert str(path) in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"just some text, really", "not an image"), (b"\x89PN", "not an image")],
)
def test_what_is_no_image_is_an_error_that_says_so(content: Any, reason: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        open_image(path)
    assert str(path) in caught.value.what


def test_missing_files_and_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="it is a folder"):
        open_image(tmp_path)


@pytest.mark.parametrize("source", [3, None, io.StringIO("text")])
def test_what_is_neither_path_nor_binary_stream_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match="cannot open an image from"):
        open_image(source)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(20_000, 10_001))
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=r"bomb\.png.*20000 x 10001 pixels, more than 200,000,000"):
        open_image(path)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_ours_and_not_that_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(Image.fromarray(noise(10, 10, 3)), ".png", tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    monkeypatch.setattr(reading, "MAX_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(path).size == (10, 10)
    monkeypatch.setattr(reading, "MAX_PIXELS", 99)
    with pytest.raises(DataError, match="10 x 10"):
        open_image(path)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files through /proc")  # noqa: PTH112
def test_no_file_stays_open(tmp_path: Path) -> None:
    good = [
        stored(Image.fromarray(noise(20, 20, 3)), suffix, tmp_path)
        for suffix in (".png", ".jpg", ".tif", ".webp", ".bmp")
    ]
    bad = tmp_path / "bad.png"
    bad.write_bytes(good[0].read_bytes()[:200])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kept = [open_image(path) for path in good]
    with pytest.raises(DataError) as caught:
        open_image(bad)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert len(kept) == 5
    assert caught.value


GREY, COLOUR = noise(5, 7), noise(5, 7, 3)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (COLOUR, COLOUR),
        (COLOUR / 255.0, COLOUR),
        ((GREY / 255.0).astype(np.float16), GREY),
        (COLOUR[::-1, ::-1], COLOUR[::-1, ::-1]),
        (torch.from_numpy(GREY)[None], GREY),
        (torch.from_numpy(COLOUR).permute(2, 0, 1), COLOUR),
        (torch.from_numpy(COLOUR).permute(2, 0, 1).float().div(255).requires_grad_(), COLOUR),
        (Image.fromarray(COLOUR), COLOUR),
        (np.concatenate([COLOUR, np.full((5, 7, 1), 255, np.uint8)], 2), COLOUR),
        (np.concatenate([COLOUR, np.zeros((5, 7, 1), np.uint8)], 2), np.full_like(COLOUR, 255)),
        (
            torch.cat(
                [torch.from_numpy(COLOUR).permute(2, 0, 1), torch.full((1, 5, 7), 255, dtype=torch.uint8)]
            ),
            COLOUR,
        ),
    ],
)
def test_arrays_tensors_and_images_are_all_understood(given: Any, expected: Any) -> None:
    image = from_any(given)
    assert image.mode == ("L" if expected.ndim == 2 else "RGB")
    np.testing.assert_array_equal(np.asarray(image), expected)


def test_bfloat16_tensor_is_understood() -> None:
    assert np.asarray(from_any(torch.tensor([[[0.0, 0.5, 1.0]]], dtype=torch.bfloat16))).tolist() == [
        [0, 128, 255]
    ]


def test_paths_are_understood(tmp_path: Path) -> None:
    path = stored(Image.fromarray(COLOUR), ".png", tmp_path)
    for given in (path, str(path)):
        np.testing.assert_array_equal(np.asarray(from_any(given)), COLOUR)


def test_from_any_does_not_share_memory_with_its_input() -> None:
    original = Image.fromarray(COLOUR)
    from_any(original).putpixel((0, 0), (0, 0, 0))
    array = COLOUR.copy()
    from_any(array).putpixel((0, 0), (0, 0, 0))
    np.testing.assert_array_equal(np.asarray(original), COLOUR)
    np.testing.assert_array_equal(array, COLOUR)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "int is not an image"),
        ([[0, 1]], "list is not an image"),
        (noise(2, 5, 7, 3), r"\(2, 5, 7, 3\)"),
        (noise(3, 5, 7), r"\(3, 5, 7\)"),
        (noise(0, 7), r"\(0, 7\)"),
        (torch.zeros(1, 3, 5, 7), r"\(1, 3, 5, 7\)"),
        (torch.zeros(5, 7), r"\(5, 7\)"),
        (np.array([[0.0, np.nan]]), "nan"),
        (np.array([[0.0, 1.1]]), r"\[0, 1.1\]"),
        (torch.tensor([[[-1.0, 1.0]]]), r"\[-1, 1\]"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.zeros((2, 2), bool), "bool"),
        (torch.zeros(1, 2, 2, dtype=torch.int32), "int32"),
        (Image.new("L", (0, 3)), "0 x 3"),
        (Image.new("F", (2, 2)), "floating-point"),
    ],
)
def test_what_is_no_image_is_refused_by_its_type_shape_or_range(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_any(given)


def test_a_lazily_opened_damaged_image_is_refused_by_name(tmp_path: Path) -> None:
    path = stored(Image.fromarray(noise(64, 64, 3)), ".png", tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with Image.open(path) as lazy, pytest.raises(InputError, match=r"image\.png"):
        from_any(lazy)


@pytest.mark.parametrize("options", [{}, {"icc_profile": DISPLAY_P3}])
def test_what_was_read_can_be_given_again(options: dict[str, bytes], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in (".jpg", ".png", ".webp", ".tif"):
        path = stored(Image.fromarray(noise(3, 5, 3)), kind, tmp_path, exif=exif, **options)
        once = open_image(path)
        np.testing.assert_array_equal(np.asarray(from_any(once)), np.asarray(once))
        assert once.size == (3, 5)
