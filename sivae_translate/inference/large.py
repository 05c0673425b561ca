"""Translation of pictures of any shape and size, whole or in tiles.

A picture is translated at the scale of training, where its shorter side is the model's, or at its own. The
networks compute it whole if memory suffices, else in overlapping tiles (`tiles`): first the content code of
the whole picture, then its pixels. All tiles share a style code, and the decoder starts from one field for
the whole picture (`models/windows.py`). No layer has statistics over places, so where two tiles overlap by
twice as much as a network sees (`Engine.reach`), the result is that of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sivae_translate.data.deep import deep_grey, to_sixteen_bits
from sivae_translate.data.extras import extras_of, with_alpha
from sivae_translate.data.image import ImageLike, from_any
from sivae_translate.data.processor import ImageProcessor, as_batch
from sivae_translate.data.tensors import to_pil, to_pixels, to_tensor
from sivae_translate.inference.arguments import Request
from sivae_translate.inference.engine import CPU_PIXELS, Engine
from sivae_translate.inference.finish import masked, with_detail
from sivae_translate.inference.tiles import Grid, Tiling
from sivae_translate.models.typicality import Verdict
from sivae_translate.models.windows import Windows
from sivae_translate.utils.devices import device_memory
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.pictures import from_array

T = TypeVar("T")
SHARE = 0.25
"""Share of a device's memory that a picture may take to be computed whole."""
COPIES = 6
"""How many features as large as the largest ones exist at a time, rounded up."""
LARGEST = 2**31 - 1
"""Most numbers in features: convolutions count them in 32 bits."""
TILE = 512
"""Least side of tiles, unless it is given; half of a tile may overlap others."""


@dataclass(frozen=True)
class Drawn:
    """A translated picture.

    Attributes:
        picture: of the input's width and height.
        how: in words, such as ``3000 x 2000 px in 96 tiles of 256 x 256 px``.
    """

    picture: Image.Image
    how: str


def keep_sizes(
    engine: Engine,
    processor: ImageProcessor,
    sources: Sequence[ImageLike],
    codes: Tensor,
    request: Request,
) -> tuple[list[Image.Image], list[Verdict]]:
    """Translate pictures to results of their own sizes.

    Args:
        engine: the model.
        processor: prepares pictures for it.
        sources: the pictures.
        codes: style codes (N, S), one for each.
        request: what is asked for; a batch has pictures that the model sees whole in a square.

    Raises:
        InputError: an unusable picture or tile.
        DataError: a file cannot be read.
    """
    pictures: list[Image.Image] = []
    verdicts: list[Verdict] = []
    size, simple = request.batch_size, request.is_simple
    for start in range(0, len(sources), size):
        part, styles = sources[start : start + size], codes[start : start + size]
        prepared = [processor.prepare(source) for source in part] if request.checks or simple else []
        whole = [i for i, seen in enumerate(prepared) if seen.placement.is_whole] if simple else []
        if request.checks:
            verdicts += engine.typicality(as_batch(prepared))
        made: dict[int, Image.Image] = {}
        if whole:
            squares = engine.translate(as_batch([prepared[index] for index in whole]), styles[whole])
            for index, square in zip(whole, squares, strict=True):
                made[index] = processor.restore(to_pil(square), prepared[index].placement)
        for index, source in enumerate(part):
            if index not in made:
                code = styles[index][None]
                made[index] = translate_source(engine, processor, source, code, request).picture
        pictures += [made[index] for index in range(len(part))]
    if request.keeps_alpha:
        extras = (extras_of(source, processor.reading) for source in sources)
        pictures = [with_alpha(made, kept.alpha) for made, kept in zip(pictures, extras, strict=True)]
    return pictures, verdicts


def translate_source(
    engine: Engine,
    processor: ImageProcessor,
    source: ImageLike,
    code: Tensor,
    request: Request,
    plain: Image.Image | None = None,
) -> Drawn:
    """Translate an image as requested, in its depth; transparency is left to the caller.

    Args:
        engine: the model.
        processor: how pictures are prepared for it.
        source: the image.
        code: style code (1, S).
        request: what is asked for.
        plain: the image as `from_any` reads it, if it has been read.

    Raises:
        InputError: see `translate_one`.
        DataError: a file cannot be read.
    """
    deep = None
    if request.bits == 16 and processor.channels == 1:
        deep = deep_grey(source, processor.reading)
    if deep is not None:
        drawn = translate_picture(engine, processor, deep, code, request.tiling)
        return Drawn(to_sixteen_bits(drawn.picture), drawn.how)
    picture = from_any(source, processor.reading) if plain is None else plain
    return translate_one(engine, processor, picture, code, request)


def translate_one(
    engine: Engine, processor: ImageProcessor, picture: Image.Image, code: Tensor, request: Request
) -> Drawn:
    """Translate a picture as requested; transparency is left to the caller.

    Args:
        engine: the model.
        processor: how pictures are prepared for it.
        picture: a plain picture, see `from_any`.
        code: style code (1, S).
        request: what is asked for.

    Raises:
        InputError: the tile is smaller than the model's side, or the mask is no image.
        DataError: the mask cannot be read.
    """
    drawn = _translated(engine, processor, picture, code, request)
    made = drawn.picture
    if request.keep_detail:
        own = engine.encode(as_batch([processor.prepare_plain(picture)])).style.mean
        rebuilt = _translated(engine, processor, picture, own, request).picture
        scale = 1.0 if request.tiling else min(picture.size) / processor.size
        made = with_detail(picture, rebuilt, made, scale)
    if request.mask is not None:
        made = masked(picture, made, request.mask)
    return Drawn(made, drawn.how)


def _translated(
    engine: Engine, processor: ImageProcessor, picture: Image.Image, code: Tensor, request: Request
) -> Drawn:
    """Translate a picture that the model may see in a square."""
    placement = processor.place(picture.size)
    if request.keeps_size and (request.tiling or not placement.is_whole):
        return translate_picture(engine, processor, picture, code, request.tiling)
    square = to_pil(engine.translate(as_batch([processor.prepare_plain(picture)]), code)[0])
    return Drawn(processor.restore(square, placement) if request.keeps_size else square, "in a square")


def translate_picture(
    engine: Engine, processor: ImageProcessor, picture: Image.Image, code: Tensor, tiling: Tiling | None
) -> Drawn:
    """Translate a picture to a result of its width and height.

    Args:
        engine: the model.
        processor: how pictures are prepared for it.
        picture: a plain picture, see `from_any`, or one of mode "F", whose result is of mode "F".
        code: style code (1, S).
        tiling: how to divide it at its own scale; None scales its shorter side to the model's.

    Raises:
        InputError: the tile is smaller than the model's side.
    """
    working = picture if tiling else picture.resize(processor.scaled(picture.size), Image.Resampling.LANCZOS)
    grids = _grids(engine, processor, working.size, tiling or Tiling())
    mode = "L" if processor.channels == 1 else "RGB"
    mode = "F" if picture.mode == "F" else mode
    content = _contents(engine, working, grids[0], mode)
    result = _draw(engine, content, code, grids[1], Image.new(mode, working.size))
    if result.size != picture.size:
        result = result.resize(picture.size, Image.Resampling.LANCZOS)
    width, height = working.size
    parts = "whole" if grids[1].count == 1 else f"in {grids[1].count:,} tiles of {grids[1]}"
    return Drawn(result, f"{width} x {height} px {parts}")


def _grids(
    engine: Engine, processor: ImageProcessor, size: tuple[int, int], tiling: Tiling
) -> tuple[Grid, Grid]:
    """The tiles that a picture of this width and height is encoded in, and those that it is decoded in.

    Raises:
        InputError: the tile is smaller than the model's side.
    """
    side, cell, tile = processor.size, engine.model.cell, tiling.tile
    if tile is not None and tile < side:
        raise InputError(
            f"tile is {tile}, smaller than the model's images of {side} px", remedy=f"give {side} or more"
        )
    most = most_pixels(engine)
    whole = size[0] * size[1] <= most if tile is None else max(size) <= tile
    if whole:
        reaches = (0, 0)
    else:
        reaches = engine.reach
        fitting = min(max(TILE, 4 * max(reaches) * cell), math.isqrt(most))
        tile = max(side, fitting) if tile is None else tile
    encoding, decoding = (Grid.of(size, cell, side, tile, tiling.overlap, reach) for reach in reaches)
    return encoding, decoding


def most_pixels(engine: Engine) -> int:
    """The number of pixels that a picture may have to be computed whole."""
    room = SHARE * device_memory(str(engine.device)) / (4 * COPIES)
    return int(min(room, LARGEST) / engine.largest_features)


def _contents(engine: Engine, picture: Image.Image, grid: Grid, mode: str) -> Tensor:
    """The content code (Cc, h, w) of a picture."""
    cell, height, width = grid.cell, grid.down.size, grid.across.size
    content = torch.zeros(engine.model.content_shape[0], grid.down.whole, grid.across.whole)
    across = [torch.from_numpy(weights) for weights in grid.across.profiles(1)]
    for top, _, weights in grid.rows(1):
        for lefts, columns in _batches(grid, across):
            size = (width * cell, height * cell)
            pixels = [_cut(picture, (left * cell, top * cell), size, mode) for left in lefts]
            parts = engine.content(_as_tensor(pixels)).cpu()
            for left, part, column in zip(lefts, parts, columns, strict=True):
                place = content[:, top : top + height, left : left + width]
                place += part * torch.from_numpy(weights)[:, None] * column
    return content


def _draw(engine: Engine, content: Tensor, code: Tensor, grid: Grid, result: Image.Image) -> Image.Image:
    """Decode a content code (Cc, h, w) into a picture; only one row of tiles is in memory beside it."""
    cell, height, width = grid.cell, grid.down.size, grid.across.size
    row = np.zeros((height * cell, grid.across.whole * cell, len(result.getbands())), np.float32)
    across = grid.across.profiles(cell)
    whole = (grid.down.whole, grid.across.whole)
    for top, done, weights in grid.rows(cell):
        for lefts, columns in _batches(grid, across):
            windows = Windows(whole, (height, width), [(top, left) for left in lefts])
            parts = [content[:, top : top + height, left : left + width] for left in lefts]
            made = engine.draw_windows(torch.stack(parts), code, windows)
            tiles = made.float().permute(0, 2, 3, 1).cpu().numpy()
            for left, tile, column in zip(lefts, tiles, columns, strict=True):
                place = row[:, left * cell : (left + width) * cell]
                place += tile * weights[:, None, None] * column[:, None]
        if result.mode == "F":
            finished = Image.fromarray(row[:done, :, 0].clip(0, 1) * 255)
        else:
            finished = from_array(to_pixels(torch.from_numpy(row[:done]).permute(2, 0, 1)[None])[0])
        result.paste(finished, (0, top * cell))  # what reaches beyond the picture is cut off
        row = np.concatenate([row[done:], np.zeros_like(row[:done])])
    return result


def _batches(grid: Grid, weights: Sequence[T]) -> Iterator[tuple[list[int], Sequence[T]]]:
    """The left cells of a row's tiles and their weights, as many as a CPU computes at a time."""
    count = max(1, CPU_PIXELS // (grid.down.size * grid.across.size * grid.cell**2))
    for first in range(0, len(weights), count):
        yield grid.across.starts[first : first + count], weights[first : first + count]


def _as_tensor(pixels: Sequence[np.ndarray]) -> Tensor:
    """Parts (H, W, C), uint8 or float in [0, 255], as a batch in [0, 1]."""
    stacked = np.stack(pixels)
    if stacked.dtype == np.uint8:
        return to_tensor(stacked)
    return torch.from_numpy(stacked / 255).permute(0, 3, 1, 2)


def _cut(picture: Image.Image, corner: tuple[int, int], size: tuple[int, int], mode: str) -> np.ndarray:
    """A part of a picture, (H, W, C) in [0, 255], by its left and top and its width and height.

    What lies beyond the picture's right and lower border is mirrored there.
    """
    (left, top), (width, height) = corner, size
    box = (left, top, min(left + width, picture.width), min(top + height, picture.height))
    inside = np.asarray(picture.crop(box).convert(mode))
    inside = inside.reshape(*inside.shape[:2], -1)
    missing = (height - inside.shape[0], width - inside.shape[1])
    if not any(missing):
        return inside
    return np.pad(inside, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
