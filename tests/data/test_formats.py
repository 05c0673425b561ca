"""Which pictures can be read, and what reading may cost."""

from __future__ import annotations

import io
import os
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, features

from sivae_translate.data import limits
from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import images_below
from sivae_translate.data.reading import Reading, open_image
from sivae_translate.utils.errors import DataError

COLOUR = (200, 100, 40)


@pytest.mark.parametrize(
    "suffix", [*(sorted(IMAGE_SUFFIXES - {".heic", ".heif"})), pytest.param(".upper.JPG", id="upper case")]
)
def test_every_ending_that_counts_can_be_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image{suffix}"
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    grey = suffix in {".pgm", ".pbm"}
    image = Image.new("RGB", (20, 16), COLOUR).convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB"))
    kind = {".jfif": "JPEG", ".jpe": "JPEG", ".pbm": "PPM"}.get(suffix)
    image.save(path, kind, **({"lossless": True} if suffix == ".webp" else {}))
    assert images_below(tmp_path) == {path.name: path}
    opened = open_image(path)
    assert (opened.size, opened.mode) == ((20, 16), "L" if grey else "RGB")
    if suffix != ".pbm":
        expected = [round(float(np.dot(COLOUR, [0.299, 0.587, 0.114])))] if grey else list(COLOUR)
        assert np.abs(np.asarray(opened)[8, 10].astype(int) - expected).max() <= 8


def test_a_plain_text_ppm_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.ppm"
    path.write_text("P3\n# by hand\n2 1 255\n1 2 3  4 5 6\n")
    assert np.asarray(open_image(path)).tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_without_its_package_says_how_to_get_it(
    brand: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.heic"
    path.write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", brand, 0, b"heic") + bytes(50))
    with pytest.raises(DataError, match=r"photo\.heic: HEIC needs") as caught:
        open_image(path)
    assert "pip install 'sivae-translate[heif]'" in caught.value.remedy


def test_heic_is_read_with_its_package(tmp_path: Path) -> None:
    heif: Any = pytest.importorskip("pillow_heif")
    path = tmp_path / "photo.heic"
    heif.from_pillow(Image.new("RGB", (64, 48), COLOUR)).save(path, quality=95)
    opened = open_image(path)
    assert opened.size == (64, 48)
    assert np.abs(np.asarray(opened)[20, 20].astype(int) - COLOUR).max() <= 6


def test_what_would_run_other_programs_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "drawing.png"
    Image.new("RGB", (4, 4)).save(path, "EPS")
    with pytest.raises(DataError, match="not an image"):
        open_image(path)


# ---- files that never end


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has neither")
def test_a_pipe_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match=r"pipe\.png: it is a pipe"):
        open_image(pipe)
    with pytest.raises(DataError, match="it is a device"):
        open_image("/dev/zero")


def test_a_link_to_itself_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError, match=r"loop\.png: Too many levels of symbolic links"):
        open_image(tmp_path / "loop.png")


def many_scans(count: int) -> bytes:
    """A progressive JPEG of 3 megapixels whose last scan comes so many times."""
    stream = io.BytesIO()
    Image.new("L", (2000, 1500), 9).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def test_a_jpeg_of_thousands_of_scans_ends_at_the_time_limit() -> None:
    start = time.monotonic()
    with pytest.raises(DataError, match="takes longer than"):
        open_image(io.BytesIO(many_scans(20_000)), Reading(seconds=0.3))
    assert time.monotonic() - start < 5
    assert open_image(io.BytesIO(many_scans(0))).size == (2000, 1500)


def test_a_tiff_of_thousands_of_scans_ends_at_once() -> None:
    """The time limit cannot interrupt libtiff; it has a limit of its own."""
    for count, message in ((20_000, "cannot read"), (0, None)):
        jpeg = many_scans(count)
        fields = [(256, 2000), (257, 1500), (258, 8), (259, 7), (262, 1), (277, 1), (278, 1500)]
        fields += [(273, 8 + 2 + 12 * 9 + 4), (279, len(jpeg))]
        head = struct.pack("<2sHIH", b"II", 42, 8, len(fields))
        head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(fields))
        file, start = io.BytesIO(head + bytes(4) + jpeg), time.monotonic()
        if message is None:
            assert open_image(file).size == (2000, 1500)
        else:
            with pytest.raises(DataError, match=message):
                open_image(file)
        assert time.monotonic() - start < 5


def test_a_progressive_jpeg_is_decoded_as_by_pillow() -> None:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", progressive=True, quality=95)
    with Image.open(stream) as expected:
        np.testing.assert_array_equal(np.asarray(open_image(stream)), np.asarray(expected))


# ---- metadata


def test_large_texts_cost_nothing() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "long " * 2**19, zip=True)
    info.add_itxt("other", "long " * 2**19, zip=True)
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(stream, "PNG", pnginfo=info, exif=exif)
    assert np.asarray(open_image(stream)).tolist() == [[255, 0]]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(extra: bytes) -> io.BytesIO:
    """A PNG file of two pixels with a chunk behind its header."""
    stream = io.BytesIO()
    Image.fromarray(np.array([[10, 200]], np.uint8)).save(stream, "PNG")
    return io.BytesIO(stream.getvalue()[:33] + extra + stream.getvalue()[33:])


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"iCCP", b"name\0\0" + b"no zlib"),
        chunk(b"iCCP", b"name\0\1" + zlib.compress(b"x")),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**21))),
        chunk(b"zTXt", b"name\0\1" + zlib.compress(b"x")),
        chunk(b"tEXt", b"wrong checksum")[:-1] + b"?",
        chunk(b"gAMA", b""),
        chunk(b"pHYs", b"1"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*colour profile is ignored")
def test_damaged_metadata_does_not_cost_the_pixels(extra: bytes) -> None:
    assert np.asarray(open_image(with_chunk(extra))).tolist() == [[10, 200]]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_large_exif_is_read_over(kind: str) -> None:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x010E] = "a" * 60_000
    exif[0x0112] = 6
    Image.new("RGB", (30, 20), COLOUR).save(stream, kind, exif=exif)
    assert open_image(stream).size == (20, 30)


def test_running_out_of_memory_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.png"
    Image.new("L", (4, 4)).save(path)

    def fails(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(limits.ClockedStream, "read", fails)
    with pytest.raises(DataError, match=r"image\.png: there is not enough memory to decode it"):
        open_image(path)


def test_a_kind_that_pillow_does_not_decode_is_not_called_damage() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "BMP")
    data = bytearray(stream.getvalue())
    data[30] = 9  # a compression of its own
    with pytest.raises(DataError, match="Pillow does not support this variant"):
        open_image(io.BytesIO(data))
