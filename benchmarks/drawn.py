"""Two sets of drawn pictures on which nothing was chosen: scenes and charts.

They are for measurements of the check (`benchmarks.foreign`), as data sets that no model or setting of this
library has seen. Equal seeds give equal pictures.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

FINER = 4
"""How many times as large as the result a picture is drawn, to have smooth edges."""


def draw_many(kind: str, count: int, size: int, seed: int) -> np.ndarray:
    """Draw pictures.

    Args:
        kind: one of `KINDS`.
        count: number N of pictures.
        size: side S in pixels.
        seed: seed of all random draws.

    Returns:
        uint8 (N, S, S, 3).
    """
    rng = np.random.default_rng((seed, list(KINDS).index(kind)))
    pictures = []
    for _ in range(count):
        large = Image.new("RGB", (FINER * size, FINER * size), "white")
        KINDS[kind](ImageDraw.Draw(large), FINER * size, rng)
        pictures.append(np.asarray(large.resize((size, size), Image.Resampling.BOX)))
    return np.stack(pictures)


def draw_scene(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Sky with a sun, two ranges of hills, houses and trees."""
    top, bottom = (np.array(colour(rng, saturation=(0.2, 0.6))) for _ in range(2))
    for row in range(side):
        share = row / side
        pen.line([(0, row), (side, row)], tuple((top * (1 - share) + bottom * share).astype(int).tolist()))
    x, y, radius = (side * rng.uniform(*span) for span in ((0.1, 0.9), (0.1, 0.3), (0.04, 0.1)))
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], colour(rng, value=(0.9, 1.0)))
    for level in (0.55, 0.7):
        phase, waves, height = rng.uniform(0, 6.3), rng.uniform(0.5, 2.5), rng.uniform(0.02, 0.1)
        across = np.linspace(0, 1, 50)
        line = side * (level + height * np.sin(6.3 * waves * across + phase))
        hill = [(0.0, side), *zip(side * across, line, strict=True), (side, side)]
        pen.polygon(hill, colour(rng, value=(0.3, 0.8)))
    for _ in range(rng.integers(1, 4)):
        width, height = side * rng.uniform(0.1, 0.25), side * rng.uniform(0.1, 0.2)
        left, base = rng.uniform(0, side - width), side * rng.uniform(0.75, 0.95)
        pen.rectangle([left, base - height, left + width, base], colour(rng))
        roof = [(left, base - height), (left + width / 2, base - 1.6 * height), (left + width, base - height)]
        pen.polygon(roof, colour(rng, value=(0.3, 0.7)))
    for _ in range(rng.integers(0, 6)):
        x, base, radius = rng.uniform(0, side), side * rng.uniform(0.7, 1.0), side * rng.uniform(0.03, 0.08)
        pen.line([(x, base), (x, base - 2 * radius)], (90, 60, 40), width=max(1, side // 60))
        pen.ellipse([x - radius, base - 4 * radius, x + radius, base - 2 * radius], (40, 110, 50))


def draw_chart(pen: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Bars or lines on white, with axes and a grid."""
    low, high, thin = 0.12 * side, 0.92 * side, max(1, side // 100)
    for level in np.linspace(low, high, rng.integers(3, 7)):
        pen.line([(low, level), (high, level)], (215, 215, 215), width=thin)
    values = rng.integers(4, 12)
    if rng.random() < 0.5:
        step, fill = (high - low) / values, colour(rng)
        for place, height in enumerate(rng.uniform(0.05, 0.9, values)):
            box = [
                low + (place + 0.15) * step,
                high - height * (high - low),
                low + (place + 0.85) * step,
                high,
            ]
            pen.rectangle(box, fill)
    else:
        for _ in range(rng.integers(1, 4)):
            heights = high - (high - low) * np.clip(0.5 + np.cumsum(rng.normal(0, 0.12, values)), 0, 1)
            points = list(zip(np.linspace(low, high, values), heights, strict=True))
            pen.line(points, colour(rng), width=2 * thin)
    pen.line([(low, low), (low, high), (high, high)], (30, 30, 30), width=2 * thin)


def colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.3, 0.9),
    value: tuple[float, float] = (0.4, 0.95),
) -> tuple[int, int, int]:
    """A random colour of any hue."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


KINDS: dict[str, Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]] = {
    "scenes": draw_scene,
    "charts": draw_chart,
}
"""What is drawn, by name."""
