"""The page of an evaluation has every translation with its truth, metrics and verdict."""

from __future__ import annotations

from pathlib import Path

from sivae_translate import DomainData, Translator, evaluate
from sivae_translate.data.sources.glyphs import draw
from sivae_translate.evaluation.case_page import write_case_page
from sivae_translate.evaluation.results import Case
from tests.utils.test_pages import Page


def test_every_translation_is_on_the_page_the_worst_first(tmp_path: Path) -> None:
    translator = Translator.from_pretrained("glyphs", device="cpu")
    fonts = ("dejavu-sans", "dejavu-serif")
    images = {font: [draw(font, ord(letter), 32) for letter in "ABC"] for font in fonts}
    data = DomainData.of(images, images, config=translator.config.data, pairs=True)
    cases: list[Case] = []
    result = evaluate(translator, data, probes=False, watch=cases.extend)
    (path,) = write_case_page(tmp_path / "page.html", "fonts", result, cases, translator.engine)
    page = Page(path)
    head, *rows = page.rows
    assert head[:5] == ["source", "translation", "truth", "name", "LPIPS"]
    assert {"L1", "SSIM", "copy LPIPS", "verdict"} <= set(head)
    assert len(rows) == 6
    shown = [float(row[4]) for row in rows]
    assert shown == sorted(shown, reverse=True)
    assert shown == [float(f"{value:.4g}") for value in sorted((c.lpips for c in cases), reverse=True)]
    assert all("percentile" in row[-1] for row in rows)
    assert len(page.images) == 18
    assert rows[0][3].startswith("dejavu-s")
