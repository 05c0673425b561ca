"""Draws docs/pictures/concepts.png: two images, their codes, and the translation made of both.

    python assets/draw_concepts.py

The letters and the translation are real: the shipped glyphs model makes them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sivae_translate import Translator
from sivae_translate.data.sources.glyphs import draw
from sivae_translate.utils.pictures import caption_font, from_array, save

ROOT = Path(__file__).resolve().parent.parent
SIZE = (860, 330)
CELL = 96
INK, CONTENT, STYLE = "#222222", "#2d6cdf", "#d9601a"


def letter(font: str, character: str) -> Image.Image:
    """A letter as the model sees it."""
    return from_array(draw(font, ord(character), 32)[..., None])


def arrow(pen: ImageDraw.ImageDraw, start: tuple[int, int], end: tuple[int, int], colour: str) -> None:
    """A line with a head."""
    pen.line([start, end], fill=colour, width=3)
    direction = np.subtract(end, start) / np.hypot(*np.subtract(end, start))
    across = np.array([-direction[1], direction[0]])
    corners = [end, *(tuple(np.array(end) - 12 * direction + side * 6 * across) for side in (-1, 1))]
    pen.polygon([(float(x), float(y)) for x, y in corners], fill=colour)


def box(pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, colour: str) -> None:
    """A code."""
    x, y = place
    pen.rounded_rectangle((x, y, x + 150, y + 40), radius=8, outline=colour, width=3)
    pen.text((x + 75, y + 20), text, fill=colour, font=caption_font(17), anchor="mm")


def main() -> None:
    """Write the picture."""
    source, reference = letter("dejavu-sans", "R"), letter("dejavu-serif-bold-italic", "k")
    translation = Translator.from_pretrained("glyphs", device="cpu")(source, style="dejavu-serif-bold-italic")
    canvas = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(canvas)
    for image, place, caption in (
        (source, (30, 40), "source: sans R"),
        (reference, (30, 190), "domain: bold italic"),
        (translation, (690, 115), "translation"),
    ):
        canvas.paste(image.convert("RGB").resize((CELL, CELL), Image.Resampling.LANCZOS), place)
        pen.rectangle((place[0] - 1, place[1] - 1, place[0] + CELL, place[1] + CELL), outline=INK)
        pen.text(
            (place[0] + CELL // 2, place[1] + CELL + 14),
            caption,
            fill=INK,
            font=caption_font(15),
            anchor="mm",
        )
    box(pen, (230, 68), "content: R", CONTENT)
    box(pen, (230, 218), "style: bold italic", STYLE)
    pen.rounded_rectangle((470, 115, 600, 211), radius=10, outline=INK, width=3)
    pen.text((535, 163), "decoder", fill=INK, font=caption_font(19), anchor="mm")
    arrow(pen, (134, 88), (226, 88), CONTENT)
    arrow(pen, (134, 238), (226, 238), STYLE)
    arrow(pen, (384, 88), (466, 145), CONTENT)
    arrow(pen, (384, 238), (466, 181), STYLE)
    arrow(pen, (602, 163), (684, 163), INK)
    pen.text((180, 70), "encoder", fill=CONTENT, font=caption_font(13), anchor="mm")
    pen.text((180, 220), "prior mean", fill=STYLE, font=caption_font(13), anchor="mm")
    save(canvas, ROOT / "docs" / "pictures" / "concepts.png")


if __name__ == "__main__":
    main()
