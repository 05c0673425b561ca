"""Makes assets/examples (inputs to try the commands on) and assets/translations.png (the README's picture).

    python assets/make_examples.py

The letters are test letters: the shipped models were not trained on them in any font.
"""

from __future__ import annotations

from pathlib import Path

from sivae_translate.data.loading import load_data
from sivae_translate.inference.translator import Translator
from sivae_translate.studies.demo import SOURCE, letter_grid, readable_letters
from sivae_translate.utils import pictures

ASSETS = Path(__file__).resolve().parent


def main() -> None:
    """Write the examples and the picture."""
    translator = Translator.from_pretrained("glyphs")
    data = load_data(translator.config.data)
    source, italic = data.domains.index(SOURCE), data.domains.index("dejavu-serif-bold-italic")
    chosen = readable_letters(data)
    for index in chosen[:8]:
        name = f"U+{ord(data.test_ids[source][index]):04X}.png"
        pictures.save(pictures.from_array(data.test[source][index]), ASSETS / "examples" / "letters" / name)
    pictures.save(pictures.from_array(data.test[italic][chosen[0]]), ASSETS / "examples" / "reference.png")
    larger = Translator.from_pretrained("glyphs-64")
    pictures.save(letter_grid({"ours": larger}, load_data(larger.config.data)), ASSETS / "translations.png")


if __name__ == "__main__":
    main()
