"""Pictures of any shape and size, whole and in tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sivae_translate.data.tensors import to_pil
from sivae_translate.inference import large
from sivae_translate.inference.engine import Engine
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.tiles import Axis, Tiling
from sivae_translate.inference.translator import Translator
from sivae_translate.models.windows import Windows
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import InputError


def picture_of(width: int, height: int) -> Image.Image:
    """Noise: every pixel that is moved or changed shows."""
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def parts(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Makes models return their inputs, and collects the heights and widths of what they are given."""
    seen: list[tuple[int, int]] = []

    def content(engine: Engine, images: torch.Tensor) -> torch.Tensor:
        seen.extend([(images.shape[2], images.shape[3])] * len(images))
        return F.pixel_unshuffle(images, 8)

    def draw(engine: Engine, content: torch.Tensor, style: torch.Tensor, windows: Windows) -> torch.Tensor:
        return F.pixel_shuffle(content, 8)

    monkeypatch.setattr(Engine, "content", content)
    monkeypatch.setattr(Engine, "draw_windows", draw)
    monkeypatch.setattr(Engine, "reach", (0, 0))
    monkeypatch.setattr(translator.model, "content_shape", (3 * 8 * 8, 4, 4))
    return seen


@pytest.mark.parametrize("size", [(192, 64), (1, 500), (500, 1), (33, 47), (4001, 3003)])
@pytest.mark.parametrize("tile", ["auto", 256])
def test_a_model_that_changes_nothing_returns_the_picture(
    translator: Translator, parts: list[tuple[int, int]], size: tuple[int, int], tile: Any
) -> None:
    picture = picture_of(*size)
    result = translator(picture, "dogs", size="input", tile=tile, overlap=None)
    assert np.array_equal(np.asarray(result), np.asarray(picture))
    assert {side % 8 for part in parts for side in part} == {0}
    assert max(max(part) for part in parts) <= 256 or tile == "auto"


def test_tiles_of_every_remainder_are_blended_to_the_picture(
    translator: Translator, parts: list[tuple[int, int]]
) -> None:
    for width in range(64, 64 + 40):
        picture = picture_of(width, 70)
        result = translator(picture, "dogs", size="input", tile=40, overlap=9)
        assert np.array_equal(np.asarray(result), np.asarray(picture)), width
    assert set(parts) == {(40, 40)}


def test_at_the_scale_of_training_the_shorter_side_is_the_models(
    translator: Translator, parts: list[tuple[int, int]], pixels: np.ndarray
) -> None:
    wide = Image.fromarray(pixels[0]).resize((96, 32), Image.Resampling.BICUBIC)
    large_wide = wide.resize((384, 128), Image.Resampling.BICUBIC)
    result = translator([large_wide, wide, wide.crop((0, 0, 32, 32))], "dogs", size="input")
    assert [made.size for made in result] == [(384, 128), (96, 32), (32, 32)]
    assert parts == [(32, 96), (32, 96)]
    assert np.array_equal(np.asarray(result[1]), np.asarray(wide))
    assert np.abs(np.asarray(result[0]).astype(int) - np.asarray(large_wide)).mean() < 3


def test_a_square_of_the_models_size_is_translated_as_ever(
    translator: Translator, pixels: np.ndarray
) -> None:
    plain = translator(pixels[0], "dogs", output="tensor")[0]
    own = translator(pixels[0], "dogs", size="input", tile="auto")
    assert np.array_equal(np.asarray(own), np.asarray(to_pil(plain)))


def test_tiles_that_overlap_by_what_the_networks_see_equal_the_whole(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, decoder = translator.engine.reach
    # In cells of 8 px: a 3x3 convolution at the coarsest level sees one, four at 2 and 4 px one more.
    assert (encoder, decoder) == (5, 5)
    noise, side = picture_of(300, 200), 4 * 8 * decoder
    whole = np.asarray(translator(noise, "dogs", size="input", tile="auto")).astype(int)
    tiled = np.asarray(translator(noise, "dogs", size="input", tile=side)).astype(int)
    assert np.abs(whole - tiled).max() <= 1
    monkeypatch.setattr(large, "CPU_PIXELS", 1)  # one tile at a time
    again = np.asarray(translator(noise, "dogs", size="input", tile=side)).astype(int)
    assert np.abs(again - tiled).max() <= 1
    close = np.asarray(translator(noise, "dogs", size="input", tile=64, overlap=16)).astype(int)
    assert np.abs(whole - close).max() > 1
    assert np.abs(whole - close).mean() < 5


def test_without_memory_for_the_whole_it_is_divided(
    translator: Translator, monkeypatch: pytest.MonkeyPatch, parts: list[tuple[int, int]]
) -> None:
    assert large.most_pixels(translator.engine) > 10**6
    picture = picture_of(700, 600)
    monkeypatch.setattr(large, "device_memory", lambda name: 10**6)
    code = translator.style_code("dogs")
    drawn = large.translate_picture(translator.engine, translator.processor, picture, code, Tiling())
    assert drawn.how.startswith("700 x 600 px in ")
    assert max(max(part) for part in parts) < 600
    assert np.array_equal(np.asarray(drawn.picture), np.asarray(picture))


@pytest.mark.parametrize(
    "axis", [Axis(10, 4, 1), Axis(11, 4, 2), Axis(100, 7, 3), Axis(5, 9, 3), Axis(6, 2, 0)]
)
def test_tiles_cover_a_side_with_the_overlap_and_weights_of_one(axis: Axis) -> None:
    total = np.zeros(axis.whole * 5)
    for start, weights in zip(axis.starts, axis.profiles(5), strict=True):
        total[start * 5 : start * 5 + len(weights)] += weights
    assert np.allclose(total, 1, atol=1e-6)
    assert axis.starts[-1] + axis.size == axis.whole
    assert all(b - a <= axis.size - axis.overlap for a, b in zip(axis.starts, axis.starts[1:], strict=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 64}, "size='input'"),
        ({"size": "input", "overlap": 8}, "give tile"),
        ({"size": "input", "tile": "whole"}, "'whole'"),
        ({"size": "input", "tile": 0}, "tile is 0"),
        ({"size": "input", "tile": 16}, "smaller than the model's images of 32 px"),
        ({"size": "input", "tile": 64, "overlap": 33}, "overlap is 33"),
        ({"size": "input", "tile": 64, "overlap": -1}, "overlap is -1"),
    ],
)
def test_impossible_tiles_are_explained(translator: Translator, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        translator(picture_of(40, 40), "dogs", **options)


def test_a_folder_is_translated_in_tiles_as_single_pictures_are(
    translator: Translator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    picture = picture_of(90, 70)
    picture.save(tmp_path / "in" / "wide.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    result = translate_files(
        translator,
        [tmp_path / "in"],
        "dogs",
        tmp_path / "out",
        size="input",
        tile=48,
        grid=tmp_path / "grid.png",
    )
    assert [path.name for path in result.written] == ["wide.png"]
    assert len(result.unreadable) == 1
    expected = translator(picture, "dogs", size="input", tile=48)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "wide.png")), np.asarray(expected))
    assert "wide.png: 90 x 70 px in 6 tiles of 48 x 48 px" in capsys.readouterr().err
    assert Image.open(tmp_path / "grid.png").width > 96


@pytest.mark.parametrize("tile", [None, "auto", 32])
def test_sixteen_bits_stay_sixteen_bits_on_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tile: Any
) -> None:
    grey = Translator.from_pretrained("glyphs", device="cpu", dtype="float32")
    monkeypatch.setattr(Engine, "content", lambda engine, images: F.pixel_unshuffle(images, 8))
    monkeypatch.setattr(Engine, "draw_windows", lambda engine, content, *_: F.pixel_shuffle(content, 8))
    monkeypatch.setattr(grey.model, "content_shape", (64, 4, 4))
    values = np.random.default_rng(0).integers(0, 65536, (32, 41), dtype=np.uint16)
    (tmp_path / "in").mkdir()
    Image.fromarray(values).save(tmp_path / "in" / "deep.png")
    Image.fromarray((values // 257).astype(np.uint8)).save(tmp_path / "in" / "plain.png")
    options: Any = {"size": "input", "tile": tile, "bits": 16}
    made = grey(tmp_path / "in" / "deep.png", "stix-general", **options)
    assert np.array_equal(np.asarray(made), values)
    translate_files(grey, [tmp_path / "in"], "stix-general", tmp_path / "out", **options)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "deep.png")), values)
    assert Image.open(tmp_path / "out" / "plain.png").mode == "L"
    with pytest.raises(InputError, match="webp files have 8 bits"):
        translate_files(
            grey, [tmp_path / "in"], "stix-general", tmp_path / "x", encoding=Encoding("webp"), **options
        )
    with pytest.raises(InputError, match="compute with 8 bits"):
        grey(picture_of(40, 40), "stix-general", keep_detail=True, **options)
