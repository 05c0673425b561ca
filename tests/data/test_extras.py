"""Transparency, EXIF data and resolution of pictures of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.data.extras import NONE, Extras, extras_of, has_alpha, with_alpha
from sivae_translate.data.image import from_any
from sivae_translate.utils.encoding import Encoding

ALPHA = np.linspace(0, 255, 60).round().astype(np.uint8).reshape(6, 10)


def coloured() -> Image.Image:
    """RGBA with every kind of opacity."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
    return Image.fromarray(np.dstack([colours, ALPHA]))


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".png", "RGBA"), (".png", "LA"), (".png", "P"), (".webp", "RGBA"), (".tif", "RGBA"), (".tif", "LA")],
)
def test_transparency_of_files(tmp_path: Path, suffix: str, mode: str) -> None:
    image = coloured().quantize(255) if mode == "P" else coloured().convert(mode)
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    image.save(tmp_path / f"a{suffix}", **options)
    assert has_alpha(tmp_path / f"a{suffix}")
    alpha = extras_of(tmp_path / f"a{suffix}").alpha
    assert alpha is not None
    assert np.array_equal(np.asarray(alpha), np.asarray(image.convert("RGBA"))[..., 3])


def test_transparency_is_turned_with_the_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a tree"
    coloured().save(tmp_path / "turned.png", exif=exif, dpi=(300, 300))
    extras = extras_of(tmp_path / "turned.png")
    assert extras.alpha is not None
    assert np.array_equal(np.asarray(extras.alpha), np.rot90(ALPHA, -1))
    assert extras.dpi == pytest.approx((300, 300), abs=0.1)
    kept = Image.Exif()
    kept.load(extras.exif)  # type: ignore[no-untyped-call]
    assert dict(kept) == {0x010E: "a tree"}


def test_pictures_arrays_and_tensors_have_it_and_opaque_ones_do_not(tmp_path: Path) -> None:
    array = np.array(coloured())
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    for image in (coloured(), array, array / 255.0, tensor, tensor.float() / 255):
        alpha = extras_of(image).alpha
        assert alpha is not None
        assert np.array_equal(np.asarray(alpha), ALPHA)
    opaque = coloured().convert("RGB")
    opaque.convert("RGBA").save(tmp_path / "opaque.png")
    for other in (opaque, opaque.convert("RGBA"), np.asarray(opaque), tmp_path / "opaque.png"):
        assert extras_of(other) == NONE
    assert not has_alpha(tmp_path / "missing.png")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_on_white_a_transparent_picture_looks_as_it_was_made(mode: str) -> None:
    source = coloured().convert(mode)
    plain = from_any(source)
    made = with_alpha(plain, extras_of(source).alpha)
    assert made.mode == mode
    assert np.array_equal(np.asarray(made.getchannel("A")), ALPHA)
    again = np.asarray(from_any(made)).astype(int)
    assert np.abs(again - np.asarray(plain)).max() <= 1
    solid = np.asarray(source)[ALPHA > 200].astype(int)
    assert np.abs(np.asarray(made)[ALPHA > 200].astype(int) - solid).max() <= 2
    assert with_alpha(plain, Extras().alpha) is plain


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_files_are_tagged_as_srgb_and_read_back_as_they_are(tmp_path: Path, kind: Any, mode: str) -> None:
    encoding = Encoding(kind)
    if mode.endswith("A") and not encoding.has_alpha:
        return
    image = coloured().resize((40, 24)).convert(mode)
    encoding.save(image, tmp_path / "a", dpi=(72, 72), exif=None)
    data = (tmp_path / "a").read_bytes()
    encoding.save(image, tmp_path / "b", dpi=(72, 72))
    assert (tmp_path / "b").read_bytes() == data
    with Image.open(tmp_path / "a") as saved:
        assert (
            saved.info.get("srgb") == 0 if kind == "png" else ("icc_profile" in saved.info) == ("RGB" in mode)
        )
        if kind == "png":
            assert np.array_equal(np.asarray(saved), np.asarray(image))
            assert np.array_equal(np.asarray(from_any(tmp_path / "a")), np.asarray(from_any(image)))
