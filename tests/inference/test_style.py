"""Styles are explicit, and a plain string that could mean two things is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import StyleLike, Translator
from sivae_translate.utils.errors import InputError


def test_every_explicit_style_resolves_as_its_plain_form(translator: Translator, pixels: np.ndarray) -> None:
    code = torch.arange(8.0)
    pairs: list[tuple[Style, StyleLike | torch.Tensor]] = [
        (Style.domain("dogs"), "dogs"),
        (Style.draw("dogs", 3), ("dogs", 3)),
        (Style.like(pixels[0], pixels[1]), [pixels[0], pixels[1]]),
        (Style.code(code), code),
    ]
    for explicit, plain in pairs:
        assert torch.equal(translator.style_code(explicit), translator.style_code(plain))
        assert torch.equal(
            translator(pixels[2], explicit, output="tensor"), translator(pixels[2], plain, output="tensor")
        )


def test_a_domain_that_is_also_a_file_must_be_said(
    translator: Translator, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels[0]).save(tmp_path / "dogs.png")
    (tmp_path / "dogs.png").rename(tmp_path / "dogs")
    with pytest.raises(
        InputError, match=r"'dogs' is both a domain of the model and the file .*dogs"
    ) as raised:
        translator.style_code("dogs")
    assert "Style.domain('dogs') or Style.like('dogs')" in str(raised.value)
    torch.testing.assert_close(translator.style_code(Style.like("dogs")), translator.style_code(pixels[0]))
    assert not torch.equal(
        translator.style_code(Style.domain("dogs")), translator.style_code(Style.like("dogs"))
    )


def test_a_folder_named_like_a_domain_is_no_reference(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dogs").mkdir()
    assert torch.equal(translator.style_code("dogs"), translator.style_code(Style.domain("dogs")))


def test_no_reference_and_a_code_of_another_size_are_errors(translator: Translator) -> None:
    with pytest.raises(InputError, match="no reference image"):
        Style.like()
    with pytest.raises(InputError, match=r"a style code has shape \(3,\)"):
        translator.style_code(Style.code(torch.zeros(3)))


def test_a_saved_translator_translates_alike(
    translator: Translator, pixels: np.ndarray, tmp_path: Path
) -> None:
    translator.save(tmp_path / "model.safetensors")
    again = Translator.from_pretrained(tmp_path / "model.safetensors", device="cpu", dtype="float32")
    assert again.domains == translator.domains
    assert again.to("cpu") is again
    assert torch.equal(
        again(pixels[0], "dogs", output="tensor"), translator(pixels[0], "dogs", output="tensor")
    )


@pytest.mark.parametrize(
    "code", [torch.full((8,), torch.nan), torch.arange(8), torch.full((2, 8), torch.inf)]
)
def test_codes_that_are_no_numbers_are_refused(translator: Translator, code: torch.Tensor) -> None:
    with pytest.raises(InputError, match="the style code is torch"):
        translator.style_code(Style.code(code))


@pytest.mark.parametrize("seed", [-1, 2**63, 0.5, "1", None])
def test_seeds_that_no_generator_takes_are_explained(translator: Translator, seed: Any) -> None:
    with pytest.raises(InputError, match="the seed is"):
        Style.draw("dogs", seed)
    with pytest.raises(InputError, match="the seed is"):
        translator.sample("dogs", 1, seed)
