"""The built-in glyphs benchmark: six fonts are six domains, the Unicode letter is the content.

The fonts come with matplotlib, so the data set exists wherever this package is installed, and because the
same letter can be drawn in every font, the truth of every translation is known.

Protocol (seed 0 is the benchmark): 120 letters that all fonts have are for the test alone; of its
other letters, each font shows a random half, drawn per font. Nobody tells the model which letter an image
shows.

Drawing does not depend on FreeType's hinter: each glyph is rasterised ``OVERSAMPLING`` times larger than
needed and averaged down. The random halves are ranked by SHA-256 rather than by a generator, so they are
the same on every machine and for every version of numpy.
"""

from __future__ import annotations

import hashlib
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from sivae_translate.config import DataConfig
from sivae_translate.data.cache import default_folder
from sivae_translate.data.domains import ArrayImages, DomainData, PairedTruth, Place, Truth, ranked
from sivae_translate.data.layouts import UNLABELLED
from sivae_translate.data.sources.base import Source, StyleKind
from sivae_translate.utils.errors import ConfigError, DataError, OutputError
from sivae_translate.utils.files import replacing
from sivae_translate.utils.progress import track

FONTS: dict[str, str] = {
    "dejavu-sans": "DejaVuSans.ttf",
    "dejavu-sans-bold-oblique": "DejaVuSans-BoldOblique.ttf",
    "dejavu-sans-mono": "DejaVuSansMono.ttf",
    "dejavu-serif": "DejaVuSerif.ttf",
    "dejavu-serif-bold-italic": "DejaVuSerif-BoldItalic.ttf",
    "stix-general": "STIXGeneral.ttf",
}
"""Domain name to font file, in matplotlib's own font folder."""

OVERSAMPLING = 4
EM = 0.72
"""Font size as a share of the image's side: the tallest accented capitals and the deepest descenders fit."""
BASELINE = 0.74
"""Height of the baseline below the image's top edge, as a share of its side. Baselines align across fonts."""


class Glyphs(Source):
    """Black letters on white."""

    name = "glyphs"
    needs_root = False
    style_kinds: ClassVar[tuple[StyleKind, ...]] = ("domain", "reference")

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`."""
        letters = split(config.split_seed)
        domains = tuple(FONTS)
        train = {
            domain: ArrayImages(self.draw(domain, letters.train[domain], config))
            for domain in track(domains, "drawing glyphs")
        }
        if not config.labels:
            train = {UNLABELLED: ArrayImages(np.concatenate([source.array for source in train.values()]))}
        return DomainData(
            domains=tuple(train),
            train=tuple(train.values()),
            test=tuple(ArrayImages(self.draw(domain, letters.test, config)) for domain in domains),
            test_ids=tuple(tuple(map(chr, letters.test)) for _ in domains),
            truth=self.truth(config),
        )

    def load_pairs(self, config: DataConfig) -> np.ndarray:
        """The letters that all fonts have, but for the test's: see `Source.load_pairs`. Without colours."""
        common = split(config.split_seed).common
        return np.stack([draw_many(font, common, config.image_size)[..., None] for font in FONTS])

    def draw(self, domain: str, codes: tuple[int, ...], config: DataConfig) -> np.ndarray:
        """Letters of a font: uint8 (N, size, size, channels)."""
        return np.repeat(draw_many(domain, codes, config.image_size)[..., None], config.channels, axis=3)

    def truth(self, config: DataConfig) -> Truth:
        """The same letter in the target font."""
        return PairedTruth()


class ColouredGlyphs(Glyphs):
    """Each letter has an ink and a paper of its own: style varies within a font."""

    name = "glyphs-colour"
    style_kinds = ("reference",)

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: the images are to have one channel.
        """
        if config.channels == 1:
            raise ConfigError(
                "glyphs-colour has 3 channels, but data.channels is 1", remedy="set --data.channels 3"
            )
        return super().load(config)

    def draw(self, domain: str, codes: tuple[int, ...], config: DataConfig) -> np.ndarray:
        """See `Glyphs.draw`."""
        grey = draw_many(domain, codes, config.image_size)
        colours = (draw_colours(config.split_seed, domain, code) for code in codes)
        return np.stack([paint(letter, colour) for letter, colour in zip(grey, colours, strict=True)])

    def pair_colours(self, config: DataConfig) -> np.ndarray:
        """The colours of the letters of `load_pairs`: `Colours` (D, N)."""
        common = split(config.split_seed).common
        colours = np.empty((len(FONTS), len(common)), dtype=object)
        for font, letter in np.ndindex(colours.shape):
            colours[font, letter] = draw_colours(config.split_seed, list(FONTS)[font], common[letter])
        return colours

    def truth(self, config: DataConfig) -> Truth:
        """The letter in the font and in the colours of the reference."""
        return PaintedTruth(config.image_size, config.split_seed)


@dataclass(frozen=True)
class PaintedTruth:
    """The source's letter in the font and the colours of a reference; without one it is not known."""

    size: int
    seed: int

    def __call__(self, data: DomainData, content: Place, style: Place | int) -> np.ndarray | None:
        """See `Truth`."""
        if isinstance(style, int):
            return None
        font = list(FONTS)[style[0]]
        letter, reference = (ord(data.test_ids[domain][index]) for domain, index in (content, style))
        return paint(draw(font, letter, self.size), draw_colours(self.seed, font, reference))


@dataclass(frozen=True)
class GlyphSplit:
    """Which letters each font shows.

    Attributes:
        train: domain name to the letters (code points, sorted) that its training folder holds.
        test: the test letters (code points, sorted), common to all fonts.
        common: letters that all fonts have, without the test letters; the supervised bound trains on their
            true pairs.
    """

    train: dict[str, tuple[int, ...]]
    test: tuple[int, ...]
    common: tuple[int, ...]


def font_path(domain: str) -> Path:
    """Path of a domain's font file in matplotlib's data folder.

    Raises:
        DataError: no such domain, or matplotlib was installed without its fonts.
    """
    import matplotlib

    if domain not in FONTS:
        raise DataError(f"glyphs has no domain '{domain}'", remedy=f"choose one of {', '.join(FONTS)}")
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", FONTS[domain])
    if not path.is_file():
        raise DataError(
            f"the font file {path} is missing",
            remedy="reinstall matplotlib from PyPI; its wheels bring the fonts",
        )
    return path


@cache
def letters(domain: str) -> tuple[int, ...]:
    """Code points of the Unicode letters that a font can draw within the image, sorted.

    A letter is a character of general category L. Left out are those without ink and those that do not fit
    (ligatures wider than the image, stacked marks).
    """
    from matplotlib.ft2font import FT2Font

    charmap = FT2Font(str(font_path(domain))).get_charmap()
    font = ImageFont.truetype(
        str(font_path(domain)), size=round(EM * 256), layout_engine=ImageFont.Layout.BASIC
    )
    codes = []
    for code in sorted(charmap):
        if not unicodedata.category(chr(code)).startswith("L"):
            continue
        left, top, right, bottom = font.getbbox(chr(code), anchor="ls")
        fits = right - left <= 256 and -top <= BASELINE * 256 and bottom <= (1 - BASELINE) * 256
        if fits and right > left and bottom > top:
            codes.append(code)
    return tuple(codes)


def split(seed: int = 0, test_letters: int = 120) -> GlyphSplit:
    """The letters of the training folders and of the test.

    Args:
        seed: 0 is the benchmark's split.
        test_letters: how many common letters are for the test alone.
    """
    per_font = {domain: set(letters(domain)) for domain in FONTS}
    everywhere = set.intersection(*per_font.values())
    test = set(ranked(everywhere, f"{seed}:test")[:test_letters])
    train = {}
    for domain, codes in per_font.items():
        rest = codes - test
        train[domain] = tuple(sorted(ranked(rest, f"{seed}:{domain}")[: len(rest) // 2]))
    return GlyphSplit(train=train, test=tuple(sorted(test)), common=tuple(sorted(everywhere - test)))


@lru_cache(maxsize=32)
def _font(domain: str, size: int) -> ImageFont.FreeTypeFont:
    pixels = round(EM * size * OVERSAMPLING)
    return ImageFont.truetype(str(font_path(domain)), size=pixels, layout_engine=ImageFont.Layout.BASIC)


def draw(domain: str, code: int, size: int) -> np.ndarray:
    """One glyph, black on white, its baseline at a fixed height and its ink centred from left to right.

    Args:
        domain: one of `FONTS`.
        code: Unicode code point.
        size: side of the image in pixels.

    Returns:
        uint8 array (size, size); 255 is paper, 0 is ink.
    """
    side = size * OVERSAMPLING
    font = _font(domain, size)
    left, _, right, _ = font.getbbox(chr(code), anchor="ls")
    canvas = Image.new("L", (side, side), 255)
    origin = ((side - (right - left)) // 2 - left, round(BASELINE * side))
    ImageDraw.Draw(canvas).text(origin, chr(code), fill=0, font=font, anchor="ls")
    return np.asarray(canvas.reduce(OVERSAMPLING))


def draw_many(domain: str, codes: tuple[int, ...], size: int) -> np.ndarray:
    """Glyphs of one font: uint8 array (len(codes), size, size). Kept in the user's cache folder for the next
    time.
    """
    path = _cache_path(domain, codes, size)
    try:
        cached: np.ndarray = np.load(path, allow_pickle=False)
        if cached.shape == (len(codes), size, size):
            return cached
    except (OSError, ValueError, EOFError):
        pass  # not drawn yet, or damaged: draw it
    drawn = np.stack([draw(domain, code, size) for code in codes])
    with (
        suppress(OutputError),
        replacing(path) as temporary,
        temporary.open("wb") as file,
    ):  # a cache is no necessity
        np.save(file, drawn, allow_pickle=False)
    return drawn


def _cache_path(domain: str, codes: tuple[int, ...], size: int) -> Path:
    """Named by everything that the drawing depends on."""
    font = hashlib.sha256(font_path(domain).read_bytes()).hexdigest()
    key = repr((font, codes, size, EM, BASELINE, OVERSAMPLING, features.version("freetype2")))
    return default_folder() / f"glyphs-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"


@dataclass(frozen=True)
class Colours:
    """Ink and paper of a coloured glyph, each (red, green, blue) in 0..255."""

    ink: tuple[int, int, int]
    paper: tuple[int, int, int]


def draw_colours(seed: int, domain: str, code: int) -> Colours:
    """The colours of one image of ``glyphs-colour``: any paper, and an ink that differs from it by at least
    0.35 in luma.
    """
    for attempt in range(1000):
        raw = hashlib.sha256(f"{seed}:colour:{domain}:{code}:{attempt}".encode()).digest()
        ink, paper = (raw[0], raw[1], raw[2]), (raw[3], raw[4], raw[5])
        if abs(_luma(ink) - _luma(paper)) >= 0.35:
            return Colours(ink, paper)
    raise AssertionError("a thousand draws without contrast cannot happen")


def _luma(rgb: tuple[int, int, int]) -> float:
    """Rec. 601 luma in 0..1."""
    return (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]) / 255


def paint(glyph: np.ndarray, colours: Colours) -> np.ndarray:
    """A glyph (size, size), 255 paper and 0 ink, in the given colours: uint8 (size, size, 3)."""
    paper_share = glyph[..., None].astype(np.float32) / 255
    mixed = paper_share * np.array(colours.paper, np.float32) + (1 - paper_share) * np.array(
        colours.ink, np.float32
    )
    return np.round(mixed).astype(np.uint8)
