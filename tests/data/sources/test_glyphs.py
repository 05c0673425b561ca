"""The protocol of the glyphs benchmark."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from benchmarks.supervised_bound import Pairs
from sivae_translate.config import DataConfig
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import glyphs
from sivae_translate.utils.errors import DataError


def test_the_split_holds_out_120_common_letters_and_shows_each_font_half_of_its_others() -> None:
    split = glyphs.split()
    assert len(split.test) == len(set(split.test)) == 120
    for domain, codes in split.train.items():
        letters = set(glyphs.letters(domain))
        assert set(split.test) <= letters
        assert not set(codes) & set(split.test)
        assert set(codes) <= letters
        assert len(codes) == (len(letters) - 120) // 2
    assert not set(split.common) & set(split.test)
    assert all(unicodedata.category(chr(code)).startswith("L") for code in split.test)


def test_fonts_show_different_halves_and_seeds_different_splits() -> None:
    split = glyphs.split()
    common = [set(codes) & set(split.common) for codes in split.train.values()]
    assert len(set.union(*common)) > 1.5 * len(common[0])
    assert glyphs.split(seed=1).test != split.test
    assert glyphs.split() == split


@pytest.mark.parametrize("size", [32, 64])
def test_letters_stand_on_one_baseline_centred_and_whole(size: int) -> None:
    for domain in glyphs.FONTS:
        ink = glyphs.draw(domain, ord("E"), size) < 128
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        assert abs(rows[-1] + 1 - glyphs.BASELINE * size) <= 1
        assert abs((columns[0] + columns[-1] + 1) / 2 - size / 2) <= 1
        assert columns[0] > 0
        assert columns[-1] < size - 1


def test_the_same_letter_differs_between_fonts_and_a_font_is_bolder() -> None:
    drawn = {domain: glyphs.draw(domain, ord("a"), 32) for domain in glyphs.FONTS}
    assert len({image.tobytes() for image in drawn.values()}) == 6
    assert drawn["dejavu-sans-bold-oblique"].mean() < drawn["dejavu-sans"].mean()


def test_colours_are_drawn_per_image_with_contrast_and_paint_ink_and_paper() -> None:
    drawn = [glyphs.draw_colours(0, "dejavu-sans", code) for code in range(65, 91)]
    assert len(set(drawn)) == 26
    glyph = np.array([[255, 0, 128]], dtype=np.uint8)
    painted = glyphs.paint(glyph, glyphs.Colours(ink=(10, 20, 30), paper=(210, 220, 230)))
    assert painted[0, 0].tolist() == [210, 220, 230]
    assert painted[0, 1].tolist() == [10, 20, 30]
    assert abs(int(painted[0, 2, 0]) - 110) <= 1


def test_the_truth_of_a_coloured_translation_is_the_letter_in_the_references_font_and_colours() -> None:
    data = load_data(DataConfig(name="glyphs-colour", image_size=32))
    split = glyphs.split()
    truth = data.truth_of((0, 5), (3, 9))
    colours = glyphs.draw_colours(0, data.domains[3], split.test[9])
    assert np.array_equal(truth, glyphs.paint(glyphs.draw(data.domains[3], split.test[5], 32), colours))
    assert data.truth_of((0, 5), 3) is None


def test_the_truth_of_a_grey_translation_is_the_target_fonts_letter() -> None:
    data = load_data(DataConfig(name="glyphs", image_size=32, channels=1))
    expected = glyphs.draw(data.domains[4], glyphs.split().test[7], 32)
    assert np.array_equal(data.truth_of((1, 7), 4)[..., 0], expected)


def test_drawings_are_cached_and_a_damaged_cache_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    codes = (65, 66, 67)
    first = glyphs.draw_many("dejavu-serif", codes, 32)
    (cached,) = tmp_path.rglob("*.npy")
    monkeypatch.setattr(glyphs, "draw", None)
    assert np.array_equal(glyphs.draw_many("dejavu-serif", codes, 32), first)
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached.write_bytes(cached.read_bytes()[:200])
    assert np.array_equal(glyphs.draw_many("dejavu-serif", codes, 32), first)


def test_an_unknown_font_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="dejavu-serif"):
        glyphs.font_path("comic")


def test_the_truth_of_a_coloured_pair_is_the_letter_in_the_references_colours() -> None:
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 256, (2, 3, 32, 32, 1), dtype=np.uint8)
    colours = np.empty((2, 3), dtype=object)
    for place in np.ndindex(2, 3):
        colours[place] = glyphs.draw_colours(place[0], "dejavu-sans", place[1])
    made = Pairs(grey, by_reference=True, colours=colours).draw(8, np.random.default_rng(1))
    again = np.random.default_rng(1)
    content, other = again.integers(3, size=(2, 8))
    source, target = again.integers(2, size=(2, 8))
    for at, (c, o, s, t) in enumerate(zip(content, other, source, target, strict=True)):
        expected = (
            glyphs.paint(grey[s, c, ..., 0], colours[s, c]),
            glyphs.paint(grey[t, c, ..., 0], colours[t, o]),
            glyphs.paint(grey[t, o, ..., 0], colours[t, o]),
        )
        for images, image in zip(made, expected, strict=False):
            np.testing.assert_array_equal((images[at].permute(1, 2, 0) * 255).round().byte().numpy(), image)
    assert made[3].tolist() == target.tolist()
