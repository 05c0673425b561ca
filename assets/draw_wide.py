"""Draws docs/pictures/wide.png: a line of letters, translated whole and in tiles by a model of letters.

python assets/draw_wide.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from sivae_translate import Translator
from sivae_translate.data.sources import glyphs
from sivae_translate.utils.pictures import caption_font

OUT = Path(__file__).parents[1] / "docs" / "pictures" / "wide.png"
SIDE = 64
TEXT = "LETTERSINALINE"
ROWS: dict[str, dict[str, Any]] = {
    "whole": {},
    "tiles of 640 px, which overlap by what the networks see": {"tile": 640},
    "tiles of 128 px, which overlap by 16 px": {"tile": 128, "overlap": 16},
}


def main() -> None:
    """Draw the letters, translate them, and put all below each other."""
    line = Image.new("L", (SIDE * len(TEXT), SIDE), 255)
    for index, letter in enumerate(TEXT):
        drawn = glyphs.draw("dejavu-sans", ord(letter), SIDE)
        line.paste(Image.fromarray(drawn.reshape(SIDE, SIDE)), (SIDE * index, 0))
    translator = Translator.from_pretrained("glyphs-64", device="cpu", dtype="float32")
    pictures = {"input": line}
    for name, options in ROWS.items():
        pictures[name] = translator(line, "dejavu-serif-bold-italic", size="input", **options)
    step = SIDE + 24
    sheet = Image.new("L", (line.width + 16, step * len(pictures) + 8), 235)
    pen = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures.items()):
        pen.text((8, step * index + 6), name, 60, font=caption_font(14))
        sheet.paste(picture, (8, step * index + 24))
    sheet.save(OUT, optimize=True)


if __name__ == "__main__":
    main()
