"""Dividing a picture into overlapping tiles, and blending their translations.

Tiles lie on a grid. Where two of them overlap, the weight of each rises smoothly from its own border, and the
weights of all tiles sum to 1 at every pixel, so tiles that agree are blended to themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sivae_translate.utils.errors import InputError

MARGIN = 0.25
"""Share of an overlap, from a tile's border on, without weight, where the networks see farther than that."""


@dataclass(frozen=True)
class Tiling:
    """How a picture is divided, as users ask for it.

    Args:
        tile: side of the tiles in pixels; None computes the picture whole if memory suffices.
        overlap: least overlap of neighbouring tiles in pixels; None is as much as the networks see, at most
            half the tile.

    Raises:
        InputError: the tile is not positive, or the overlap is not between 0 and half the tile.
    """

    tile: int | None = None
    overlap: int | None = None

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise InputError(f"tile is {self.tile}", remedy="give the side of a tile in pixels, such as 256")
        if self.overlap is None:
            return
        if self.overlap < 0 or (self.tile is not None and self.overlap > self.tile // 2):
            raise InputError(
                f"overlap is {self.overlap}", remedy="give 0 to half the side of a tile, in pixels"
            )


@dataclass(frozen=True)
class Axis:
    """Tiles along one side of a picture, in cells.

    Args:
        whole: cells of the picture.
        tile: cells of a tile; a smaller picture has one tile of its own size.
        overlap: least overlap of neighbours in cells, at most half a tile.
        reach: how far the networks see, in cells. So near to its border a tile has no weight if the overlap
            allows it; then tiles agree with the whole wherever they have weight.
    """

    whole: int
    tile: int
    overlap: int
    reach: int = 0

    @property
    def size(self) -> int:
        """Cells of each tile."""
        return min(self.whole, self.tile)

    @property
    def starts(self) -> list[int]:
        """First cell of each tile: as few tiles as the overlap allows, spread evenly.

        >>> Axis(10, 4, 1).starts
        [0, 3, 6]
        """
        room = self.whole - self.size
        if not room:
            return [0]
        gaps = -(-room // (self.size - self.overlap))
        return [index * room // gaps for index in range(gaps + 1)]

    def profiles(self, cell: int) -> list[np.ndarray]:
        """Weights of each tile's pixels, float32 (size * cell,), for cells of so many pixels.

        They sum to 1 over the tiles at every pixel.
        """
        margin = self.reach if 2 * self.reach <= self.overlap else MARGIN * self.overlap
        length, ramp = self.size * cell, _ramp(self.overlap * cell, margin * cell)
        raw = []
        for start in self.starts:
            weights = np.ones(length)
            if start > 0:
                weights[: len(ramp)] *= ramp
            if start + self.size < self.whole:
                weights[length - len(ramp) :] *= ramp[::-1]
            raw.append(weights)
        total = np.zeros(self.whole * cell)
        for start, weights in zip(self.starts, raw, strict=True):
            total[start * cell : start * cell + length] += weights
        return [
            (weights / total[start * cell : start * cell + length]).astype(np.float32)
            for start, weights in zip(self.starts, raw, strict=True)
        ]


def _ramp(overlap: int, margin: float) -> np.ndarray:
    """Weights from a tile's border inwards, (overlap,): 0, half a cosine wave from 0 to 1, and 1.

    Args:
        overlap: number of weights.
        margin: how many of them are 0, and how many are 1; at most half of them each.
    """
    places = np.arange(overlap) + 0.5
    rising = ((places - margin) / max(overlap - 2 * margin, 1e-6)).clip(0, 1)
    ramp: np.ndarray = 0.5 - 0.5 * np.cos(np.pi * rising)
    return ramp


@dataclass(frozen=True)
class Grid:
    """All tiles of a picture.

    Args:
        down: along its height.
        across: along its width.
        cell: side of a cell in pixels.
    """

    down: Axis
    across: Axis
    cell: int

    @classmethod
    def of(
        cls, size: tuple[int, int], cell: int, least: int, tile: int | None, overlap: int | None, reach: int
    ) -> Grid:
        """The grid for a picture of this width and height.

        Args:
            size: width and height in pixels; the last cells may reach beyond them.
            cell: side of a cell in pixels.
            least: least side of a tile in pixels, also where the picture is smaller.
            tile: side of a tile in pixels, rounded up to cells; None is one tile for all of it.
            overlap: least overlap in pixels, rounded up to cells; None is twice the reach.
            reach: how far the networks see, in cells.
        """
        width, height = (max(-(-side // cell), least // cell) for side in size)
        cells = max(width, height) if tile is None else max(-(-tile // cell), least // cell)
        shared = min(2 * reach if overlap is None else -(-overlap // cell), cells // 2)
        return cls(Axis(height, cells, shared, reach), Axis(width, cells, shared, reach), cell)

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.down.starts) * len(self.across.starts)

    def rows(self, cell: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """For each row of tiles: first cell, how many pixel rows it completes, and weights down its tiles.

        The pixel rows that a row completes are covered by no later one. A cell has so many pixels.
        """
        starts = self.down.starts
        ends = [*starts[1:], self.down.whole]
        for start, end, weights in zip(starts, ends, self.down.profiles(cell), strict=True):
            yield start, (end - start) * cell, weights

    def __str__(self) -> str:
        """The side of the tiles, for example, ``256 x 256 px``."""
        return f"{self.across.size * self.cell} x {self.down.size * self.cell} px"
