"""The built-in glyphs benchmark: six fonts are the domains, the Unicode letter is the content.

The fonts come with matplotlib, so the data set is available wherever this package is installed. Any letter
can be drawn in every font, so the truth of every translation is known.

Protocol (seed 0 is the benchmark): 120 letters that all fonts have are for testing only; of its other
letters, each font trains on a random half, drawn per font. The model is not told which letter an image shows.

Drawing does not depend on FreeType's hinter: each glyph is rasterised ``OVERSAMPLING`` times too large and
averaged down. The random halves are ranked by SHA-256 instead of a random generator, so they are the same on
every machine and with every version of numpy.
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
"""Font file of each domain, in matplotlib's font folder."""

OVERSAMPLING = 4
EM = 0.72
"""Font size as a fraction of the image's side: the tallest accented capitals and deepest descenders fit."""
BASELINE = 0.74
"""Position of the baseline below the top edge, as a fraction of the image's side; the same in all fonts."""


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
        """Letters that all fonts have, without test letters and colours; see `Source.load_pairs`."""
        common = split(config.split_seed).common
        return np.stack([draw_many(font, common, config.image_size)[..., None] for font in FONTS])

    def draw(self, domain: str, codes: tuple[int, ...], config: DataConfig) -> np.ndarray:
        """Draw letters of a font: uint8 (N, size, size, channels)."""
        return np.repeat(draw_many(domain, codes, config.image_size)[..., None], config.channels, axis=3)

    def truth(self, config: DataConfig) -> Truth:
        """The truth: the same letter in the target font."""
        return PairedTruth()


class ColouredGlyphs(Glyphs):
    """Each image has its own ink and paper colours: style varies within a font."""

    name = "glyphs-colour"
    style_kinds = ("reference",)

    def load(self, config: DataConfig) -> DomainData:
        """See `Source.load`.

        Raises:
            ConfigError: ``data.channels`` is 1.
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
        """The truth: the letter in the font and colours of the reference."""
        return PaintedTruth(config.image_size, config.split_seed)


@dataclass(frozen=True)
class PaintedTruth:
    """The source's letter in the font and colours of a reference; unknown without a reference."""

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
    """The letters of each font, as sorted code points.

    Attributes:
        train: the training letters of each domain.
        test: the test letters, common to all fonts.
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
            remedy="reinstall matplotlib from PyPI; its wheels include the fonts",
        )
    return path


@cache
def letters(domain: str) -> tuple[int, ...]:
    """Sorted code points of the Unicode letters that a font can draw within the image.

    A letter is a character of general category L. Letters without ink and those that do not fit (wide
    ligatures, stacked marks) are excluded.
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
    """Choose the training and test letters.

    Args:
        seed: 0 is the benchmark's split.
        test_letters: number of test letters, common to all fonts.
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
    """Draw a glyph, black on white, with a fixed baseline and horizontally centred ink.

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
    """Draw glyphs of a font, or read them from the user's cache: uint8 array (len(codes), size, size)."""
    path = _cache_path(domain, codes, size)
    try:
        cached: np.ndarray = np.load(path, allow_pickle=False)
        if cached.shape == (len(codes), size, size):
            return cached
    except (OSError, ValueError, EOFError):
        pass  # not cached or damaged: draw them
    drawn = np.stack([draw(domain, code, size) for code in codes])
    with (
        suppress(OutputError),
        replacing(path) as temporary,
        temporary.open("wb") as file,
    ):  # caching is optional
        np.save(file, drawn, allow_pickle=False)
    return drawn


def _cache_path(domain: str, codes: tuple[int, ...], size: int) -> Path:
    """The cache file; its name contains everything that the drawing depends on."""
    font = hashlib.sha256(font_path(domain).read_bytes()).hexdigest()
    key = repr((font, codes, size, EM, BASELINE, OVERSAMPLING, features.version("freetype2")))
    return default_folder() / f"glyphs-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"


@dataclass(frozen=True)
class Colours:
    """Ink and paper colours of a glyph, each (red, green, blue) in 0..255."""

    ink: tuple[int, int, int]
    paper: tuple[int, int, int]


def draw_colours(seed: int, domain: str, code: int) -> Colours:
    """Draw the colours of an image of ``glyphs-colour``, with a luma contrast of at least 0.35."""
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
    """Colour a glyph (size, size), where 255 is paper and 0 is ink: uint8 (size, size, 3)."""
    paper_share = glyph[..., None].astype(np.float32) / 255
    mixed = paper_share * np.array(colours.paper, np.float32) + (1 - paper_share) * np.array(
        colours.ink, np.float32
    )
    return np.round(mixed).astype(np.uint8)
