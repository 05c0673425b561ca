"""Masks, detail and transparency of translations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from sivae_translate.inference.engine import Engine
from sivae_translate.inference.finish import masked, with_detail
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.encoding import Encoding


def noise(width: int, height: int, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels)


def test_a_mask_chooses_between_source_and_translation_and_its_border_is_smooth() -> None:
    source, made = Image.new("L", (128, 64), 0), Image.new("L", (128, 64), 200)
    mask = np.zeros((32, 64))
    mask[:, 32:] = 1  # half the size: it is scaled
    result = np.asarray(masked(source, made, mask)).astype(int)
    assert (result[:, :56] == 0).all()
    assert (result[:, 72:] == 200).all()
    steps = np.diff(result[32])
    assert steps.min() >= 0
    assert 0 < steps.max() < 100
    coloured = masked(Image.new("RGB", (128, 64), "red"), made, mask)
    assert coloured.getpixel((0, 0)) == (255, 0, 0)
    assert coloured.getpixel((127, 0)) == (200, 200, 200)


def test_detail_is_added_where_the_translation_is_like_the_reconstruction() -> None:
    source = noise(96, 48)
    rebuilt = source.filter(ImageFilter.GaussianBlur(2))
    same = np.asarray(with_detail(source, rebuilt, rebuilt, 1.0)).astype(int)
    before = np.abs(np.asarray(rebuilt).astype(int) - np.asarray(source)).mean()
    assert np.abs(same - np.asarray(source)).mean() < 0.4 * before
    other = Image.eval(rebuilt, lambda value: min(value + 200, 255))
    changed = np.asarray(with_detail(source, rebuilt, other, 1.0)).astype(int)
    assert np.abs(changed - np.asarray(other)).mean() < 0.1 * before


@pytest.mark.parametrize("tile", [None, "auto"])
def test_translations_are_masked_detailed_and_transparent(translator: Translator, tile: Any) -> None:
    source = noise(60, 40)
    plain = translator(source, "dogs", size="input", tile=tile)
    mask = np.zeros((40, 60), np.uint8)
    assert np.array_equal(np.asarray(translator(source, "dogs", size="input", tile=tile, mask=mask)), source)
    detailed = translator(source, "dogs", size="input", tile=tile, keep_detail=True)
    assert not np.array_equal(np.asarray(detailed), np.asarray(plain))
    alpha = Image.fromarray(np.tile(np.arange(60, dtype=np.uint8) + 195, (40, 1)))
    transparent = source.copy()
    transparent.putalpha(alpha)
    kept = translator(transparent, "dogs", size="input", tile=tile)
    assert np.array_equal(np.asarray(kept.getchannel("A")), np.asarray(alpha))
    white = translator(transparent, "dogs", size="input", tile=tile, alpha="white")
    assert white.mode == "RGB"
    assert translator(transparent, "dogs").mode == "RGB"


def test_files_keep_transparency_and_metadata(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchanged(engine: Engine, images: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        return images

    monkeypatch.setattr(Engine, "translate", unchanged)
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a tree", 3
    (tmp_path / "in").mkdir()
    solid = noise(32, 32)
    solid.save(tmp_path / "in" / "solid.png")
    clear = solid.copy()
    clear.putalpha(noise(32, 32, 1).point(lambda value: 255 if value > 99 else 0))
    clear.save(tmp_path / "in" / "clear.png", exif=exif, dpi=(150, 150))
    given: Any = {"inputs": [tmp_path / "in"], "style": "dogs", "size": "input"}
    translate_files(translator, out=tmp_path / "plain", **given)
    upright = np.asarray(clear.rotate(180))
    opaque = upright[..., 3] == 255
    with Image.open(tmp_path / "plain" / "clear.png") as made:
        assert made.mode == "RGBA"
        assert np.array_equal(np.asarray(made)[..., 3], upright[..., 3])
        assert np.array_equal(np.asarray(made)[opaque], upright[opaque])
        assert not made.getexif()
    with Image.open(tmp_path / "plain" / "solid.png") as made:
        assert np.array_equal(np.asarray(made), np.asarray(solid))
    translate_files(translator, out=tmp_path / "white", **given, alpha="white", metadata=True)
    with Image.open(tmp_path / "white" / "clear.png") as made:
        assert (made.mode, made.getexif()[0x010E], 0x0112 in made.getexif()) == ("RGB", "a tree", False)
        assert made.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    translate_files(translator, out=tmp_path / "jpg", **given, encoding=Encoding("jpg"))
    with Image.open(tmp_path / "jpg" / "clear.jpg") as made:
        assert made.mode == "RGB"
