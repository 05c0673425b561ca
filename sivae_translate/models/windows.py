"""Decoding at any size: where parts of a picture lie in it, and the decoder's canvas there.

The canvas is what the decoder starts from before the content is added: features at every place of the
content code, made from the style. A model learns it for squares of one size. In a larger picture, it is a
field that spans all of the picture: its values at the places of the square, interpolated linearly between
them. So a part of a picture gets the same features, whichever part it is computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Equally large parts of one picture, in cells: places of the content code.

    Attributes:
        whole: height and width of the picture.
        size: height and width of the parts.
        corners: top and left of each part.
    """

    whole: tuple[int, int]
    size: tuple[int, int]
    corners: Sequence[tuple[int, int]]

    def cut(self, canvas: Tensor) -> Tensor:
        """The parts' features, (B, C, h, w) of `size`, from the canvas (B, C, h0, w0) of a square."""
        down, across = (
            torch.stack(
                [
                    interpolation(canvas.shape[2 + axis], self.whole[axis], corner[axis], self.size[axis])
                    for corner in self.corners
                ]
            ).to(canvas)
            for axis in (0, 1)
        )
        return torch.einsum("bchw,bih,bjw->bcij", canvas, down, across).to(canvas.dtype)


def interpolation(known: int, whole: int, start: int, count: int) -> Tensor:
    """Weights that interpolate linearly between ``known`` values that lie evenly over a side.

    Args:
        known: number of values; each lies at the centre of an equal part of the side.
        whole: number of cells of the side.
        start: first of the cells to interpolate at, at their centres.
        count: number of these cells.

    Returns:
        (count, known); rows sum to 1. Beyond the first and the last value, these are repeated.

    >>> interpolation(2, 4, 0, 4)[:, 1].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    places = (torch.arange(start, start + count) + 0.5) * (known / whole) - 0.5
    distances = places.clamp(0, known - 1)[:, None] - torch.arange(known)
    return (1 - distances.abs()).clamp(min=0)
