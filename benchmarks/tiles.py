"""Seams between tiles, and the memory that a large picture takes.

    python -m benchmarks.tiles --run glyphs-64 --to dejavu-serif --tile 256
    python -m benchmarks.tiles --run untrained --to day --tile 640 --memory 10000

For each kind of image, "seams" is the mean absolute difference of neighbouring pixels across the borders of
tiles (and in the middle of overlaps) over that elsewhere, divided by the same ratio in the translation of the
whole. 1 is right; a visible seam is above, and a blurred one below. Differences from the whole are in grey
levels.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.common import read_options
from sivae_translate.config import Config
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.large import translate_picture
from sivae_translate.inference.tiles import Grid, Tiling
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.utils.files import write_json
from sivae_translate.utils.pictures import caption_font


@dataclass(frozen=True)
class Options:
    """What to measure."""

    run: str = "glyphs-64"
    """Run folder, model file or a shipped model; untrained is one of default sizes."""
    to: str = "dejavu-serif"
    """Domain to translate to."""
    tile: int = 256
    """Side of the tiles."""
    overlap: int | None = None
    """Least overlap; default: as much as the networks see, at most half a tile."""
    width: int = 1500
    """Width of the images; their height is two thirds of it."""
    pictures: Path | None = None
    """More images, each a kind of its own: a folder."""
    memory: int | None = None
    """Instead, translate a file of this side and measure time and memory."""
    out: Path = Path("runs/tiles")
    """Folder for pictures and results."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = read_options(Options, __doc__, arguments)
    translator = untrained() if options.run == "untrained" else Translator.from_pretrained(options.run)
    measured = measure_memory(translator, options) if options.memory else measure_seams(translator, options)
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "results.json", measured)
    print(json.dumps(measured, indent=1))
    return 0


def untrained() -> Translator:
    """An untrained model of default sizes with the domains day and night."""
    config = Config()
    return Translator(make_model(config.model, config.data, 2), config, ("day", "night"))


def kinds(width: int, channels: int) -> dict[str, Image.Image]:
    """Lines of text, a smooth picture with details of every size, and stripes of every direction."""
    size, mode = (width, width * 2 // 3), "L" if channels == 1 else "RGB"
    text = Image.new("L", size, 255)
    pen, generator = ImageDraw.Draw(text), np.random.default_rng(0)
    for y in range(0, size[1], 64):
        letters = generator.integers(65, 91, width // 40).tolist()
        pen.text((4, y), "".join(map(chr, letters)), 0, font=caption_font(56))
    smooth = np.zeros(size[::-1])
    for octave in range(2, 8):
        coarse = generator.random((2**octave * 2 // 3, 2**octave)).astype(np.float32)
        smooth += np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)) / 2**octave
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    y, x = np.mgrid[: size[1], : size[0]]
    waves = 0.5 + 0.5 * np.sin(((x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2) / (9 * width))
    arrays = {"smooth": smooth, "rings": waves}
    images = {name: Image.fromarray((array * 255).astype(np.uint8)) for name, array in arrays.items()}
    return {name: image.convert(mode) for name, image in {"text": text, **images}.items()}


def measure_seams(translator: Translator, options: Options) -> dict[str, dict[str, float]]:
    """For each kind of image: ratios of gradients, and the mean difference from the whole."""
    images = kinds(options.width, translator.processor.channels)
    for path in sorted(options.pictures.iterdir()) if options.pictures else ():
        images[path.stem] = Image.open(path).convert("RGB")
    options.out.mkdir(parents=True, exist_ok=True)
    code, results = translator.style_code(options.to), {}
    for name, image in images.items():
        both = []
        for kind, tiling in (("whole", Tiling()), ("tiles", Tiling(options.tile, options.overlap))):
            drawn = translate_picture(translator.engine, translator.processor, image, code, tiling)
            drawn.picture.save(options.out / f"{name}-{kind}.png")
            both.append(np.asarray(drawn.picture).astype(np.float64))
        places = borders(image.size, translator, options)
        ratios = [ratio(pixels, places) for pixels in both]
        results[name] = {
            "seams": ratios[1] / ratios[0],
            "difference": float(np.abs(both[0] - both[1]).mean()),
            "largest difference": float(np.abs(both[0] - both[1]).max()),
        }
    return {
        "reach in cells": dict(zip(("encoder", "decoder"), translator.engine.reach, strict=True)),
        **results,
    }


def borders(size: tuple[int, int], translator: Translator, options: Options) -> tuple[list[int], list[int]]:
    """Rows and columns where a tile begins or ends, and the middles of overlaps."""
    cell, reach = translator.model.cell, translator.engine.reach[1]
    grid = Grid.of(size, cell, translator.image_size, options.tile, options.overlap, reach)
    places = []
    for axis in (grid.down, grid.across):
        starts = [start * cell for start in axis.starts[1:]]
        ends = [(start + axis.size) * cell for start in axis.starts[:-1]]
        middles = [(start + end) // 2 for start, end in zip(starts, ends, strict=True)]
        places.append(sorted({*starts, *ends, *middles}))
    return places[0], places[1]


def ratio(pixels: np.ndarray, places: tuple[list[int], list[int]]) -> float:
    """Mean absolute difference of neighbours across borders over that elsewhere."""
    at, elsewhere = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(pixels, axis=axis)).mean(
            axis=tuple({0, 1, 2} & set(range(pixels.ndim)) - {axis})
        )
        seams = np.zeros(len(steps), bool)
        seams[[place - 1 for place in places[axis] if 0 < place <= len(steps)]] = True
        at.append(steps[seams])
        elsewhere.append(steps[~seams])
    return float(np.concatenate(at).mean() / np.concatenate(elsewhere).mean())


def measure_memory(translator: Translator, options: Options) -> dict[str, float]:
    """Seconds from file to file, and the peak memory of this process in bytes."""
    assert options.memory is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "large.png")
        mode = "L" if translator.processor.channels == 1 else "RGB"
        Image.effect_noise((options.memory // 8,) * 2, 64).convert(mode).resize((options.memory,) * 2).save(
            source, compress_level=1
        )
        start = time.perf_counter()
        out = Path(folder, "out")
        translate_files(
            translator, [source], options.to, out, size="input", tile=options.tile, overlap=options.overlap
        )
        return {
            "side": options.memory,
            "seconds": time.perf_counter() - start,
            "peak bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }


if __name__ == "__main__":
    sys.exit(main())
