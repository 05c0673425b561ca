"""The decoder's canvas at any size, and networks that move with their input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from sivae_translate.inference.translator import Translator
from sivae_translate.models.windows import Windows


def test_a_square_has_its_own_canvas_and_larger_pictures_interpolate_it() -> None:
    canvas = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Windows((4, 4), (4, 4), [(0, 0)] * 2).cut(canvas), canvas)
    whole = Windows((12, 20), (12, 20), [(0, 0)] * 2).cut(canvas)
    expected = F.interpolate(canvas, (12, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(whole, expected)
    parts = Windows((12, 20), (5, 6), [(1, 2), (7, 14)]).cut(canvas)
    torch.testing.assert_close(parts[0], expected[0, :, 1:6, 2:8])
    torch.testing.assert_close(parts[1], expected[1, :, 7:12, 14:20])


def test_windows_of_a_models_square_translate_it_as_ever(translator: Translator) -> None:
    images, code = torch.rand(2, 3, 32, 32), translator.style_code("dogs")
    content = translator.engine.content(images)
    at_own_size = translator.engine.draw_windows(content, code, Windows((4, 4), (4, 4), [(0, 0)] * 2))
    assert torch.equal(at_own_size, translator.engine.translate(images, code))


def test_a_translation_moves_with_its_image_away_from_the_borders(translator: Translator) -> None:
    model, code = translator.model, translator.style_code("dogs")
    noise = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wide = F.interpolate(noise, (64, 256), mode="bicubic").clamp(0, 1)
    moved = wide.roll(8, 3)
    canvas: Any = model.decoder.canvas
    # The same features at every place; the learned field varies slowly over a large picture.
    weight, bias = canvas.weight.data.clone(), canvas.bias.data.clone()
    try:
        canvas.weight.data = (
            weight.unflatten(0, (-1, 16)).mean(1, keepdim=True).expand(-1, 16, -1).flatten(0, 1)
        )
        canvas.bias.data = bias.unflatten(0, (-1, 16)).mean(1, keepdim=True).expand(-1, 16).flatten()
        windows = Windows((8, 32), (8, 32), [(0, 0)])
        contents = [translator.engine.content(images) for images in (wide, moved)]
        here, there = (translator.engine.draw_windows(content, code, windows) for content in contents)
    finally:
        canvas.weight.data, canvas.bias.data = weight, bias
    middle = slice(96, 160)
    torch.testing.assert_close(here.roll(8, 3)[..., middle], there[..., middle], atol=1e-5, rtol=0)
    assert (here - there)[..., middle].abs().max() > 1e-3
