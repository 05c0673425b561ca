"""`ImageProcessor`: from any picture to the square that a model sees, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from sivae_translate.data.reading import DEFAULT, Reading, full_size
from sivae_translate.utils.errors import InputError

if TYPE_CHECKING:  # a process that only decodes files starts without torch
    from torch import Tensor

    from sivae_translate.config import DataConfig
    from sivae_translate.data.image import ImageLike

DETAIL = 4
"""Large JPEG pictures are decoded at a reduced size of at least this many times the model's side: an average
over 4 x 4 pixels or more hardly depends on how finer pixels were averaged before."""

FitPolicy = Literal["cover", "contain", "stretch"]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are exclusive."""


@dataclass(frozen=True)
class Placement:
    """Which part of a picture fills which part of the square.

    Attributes:
        size: width and height of the picture.
        source: the part of the picture that the square shows.
        square: the part of the square that it fills; the rest is padding.
    """

    size: tuple[int, int]
    source: Box
    square: Box

    @property
    def is_whole(self) -> bool:
        """Whether the square shows all of the picture."""
        return self.source == (0, 0, *self.size)


@dataclass(frozen=True)
class Prepared:
    """A picture as a model sees it.

    Attributes:
        pixels: uint8 (S, S, C).
        placement: how it was fitted.
    """

    pixels: np.ndarray
    placement: Placement


@dataclass(frozen=True)
class ImageProcessor:
    """Prepares pictures for a model and restores the shape of its results.

    Args:
        size: side S of the model's images in pixels.
        channels: 1 is grey (Rec. 601 luma of a coloured picture); 3 is RGB (a grey picture has three equal
            channels).
        fit: "cover" crops to a centred square; "contain" keeps the whole picture and pads with white;
            "stretch" changes the aspect ratio.
        reading: how files are read.

    Raises:
        InputError: the size is not positive, or another argument is not one of its choices.
    """

    size: int
    channels: Literal[1, 3] = 3
    fit: FitPolicy = "cover"
    reading: Reading = DEFAULT

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(
                f"size = {self.size} is not positive", remedy="give the side of the square in pixels"
            )
        if self.channels not in {1, 3}:
            raise InputError(f"channels = {self.channels} is neither 1 nor 3", remedy="1 is grey, 3 is RGB")
        if self.fit not in get_args(FitPolicy):
            raise InputError(
                f"there is no fit policy {self.fit!r}",
                remedy=f"choose one of {', '.join(get_args(FitPolicy))}",
            )

    @classmethod
    def of(cls, config: DataConfig) -> ImageProcessor:
        """The processor for a run's data settings."""
        return cls(config.image_size, config.channels, config.fit, Reading.of(config))

    def prepare(self, image: ImageLike) -> Prepared:
        """Prepare a picture for the model.

        Args:
            image: a path, a Pillow image, an array or a tensor: see `from_any`.

        Raises:
            DataError: a file cannot be read.
            InputError: an unusable array, tensor or type.

        >>> prepared = ImageProcessor(32).prepare(np.zeros((64, 96, 3), np.uint8))
        >>> prepared.pixels.shape, prepared.placement.source
        ((32, 32, 3), (16, 0, 80, 64))
        """
        from sivae_translate.data.image import from_any

        return self.prepare_plain(from_any(image, self.file_reading))

    @property
    def file_reading(self) -> Reading:
        """How files are read for this model: no larger than it needs."""
        return replace(self.reading, side=DETAIL * self.size)

    def prepare_plain(self, picture: Image.Image) -> Prepared:
        """Prepare a picture that `open_image` returned."""
        placement = self.place(full_size(picture))
        square = self._draw(picture, placement).convert("L" if self.channels == 1 else "RGB")
        return Prepared(np.array(square).reshape(self.size, self.size, self.channels), placement)

    def batch(self, images: Sequence[ImageLike]) -> Tensor:
        """Prepare pictures as a batch: float (B, C, S, S) in [0, 1].

        Raises:
            DataError: a file cannot be read.
            InputError: an unusable array, tensor or type.
        """
        return as_batch([self.prepare(image) for image in images])

    def place(self, size: tuple[int, int]) -> Placement:
        """How a picture of this width and height is fitted."""
        width, height = size
        whole, square = (0, 0, width, height), (0, 0, self.size, self.size)
        if self.fit == "stretch":
            return Placement(size, whole, square)
        if self.fit == "cover":
            side = min(size)
            left, top = (width - side) // 2, (height - side) // 2
            return Placement(size, (left, top, left + side, top + side), square)
        inner_width, inner_height = (max(1, round(side * self.size / max(size))) for side in size)
        left, top = (self.size - inner_width) // 2, (self.size - inner_height) // 2
        return Placement(size, whole, (left, top, left + inner_width, top + inner_height))

    def scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """The width and height of a picture whose shorter side is scaled to the model's.

        >>> ImageProcessor(32).scaled((300, 200))
        (48, 32)
        """
        width, height = (max(self.size, round(side * self.size / min(size))) for side in size)
        return width, height

    def restore(self, result: Image.Image, placement: Placement) -> Image.Image:
        """Give a model's square result the size of the picture it was made from.

        Args:
            result: square image of the model's size S.
            placement: the placement that `prepare` returned for the picture.

        Returns:
            Image of the picture's width and height, without padding.

        Raises:
            InputError: the model saw only part of the picture; see `require_whole`.
        """
        require_whole(placement)
        # Crop first: with resize's own box argument the filter would reach into the padding.
        return result.crop(placement.square).resize(placement.size, Image.Resampling.LANCZOS)

    def _draw(self, picture: Image.Image, placement: Placement) -> Image.Image:
        """Draw a picture into its square.

        LANCZOS does not alias when it shrinks, keeps edges sharper than BOX or bilinear, and is smooth when
        it enlarges, where BOX would repeat pixels in blocks. A picture of the right size keeps its pixels.
        """
        left, top, right, bottom = placement.square
        size = right - left, bottom - top
        if picture.size == placement.size:
            part = picture if placement.is_whole else picture.crop(placement.source)
            part = part.resize(size, Image.Resampling.LANCZOS)
        else:  # decoded at a reduced size; the placement refers to the full size
            x, y = (small / full for small, full in zip(picture.size, placement.size, strict=True))
            left_edge, upper, right_edge, lower = placement.source
            box = (left_edge * x, upper * y, right_edge * x, lower * y)
            part = picture.resize(size, Image.Resampling.LANCZOS, box=box)
        if part.size == (self.size, self.size):
            return part
        paper = Image.new(part.mode, (self.size, self.size), "white")
        paper.paste(part, (left, top))
        return paper


def as_batch(prepared: Sequence[Prepared]) -> Tensor:
    """Prepared pictures as a float tensor (B, C, S, S) in [0, 1]."""
    from sivae_translate.data.tensors import to_tensor

    return to_tensor(np.stack([picture.pixels for picture in prepared]))


def require_whole(placement: Placement) -> None:
    """Raise InputError if the model saw only part of the picture: its shape cannot be restored."""
    if not placement.is_whole:
        width, height = placement.size
        left, top, right, bottom = placement.source
        raise InputError(
            f"a picture of {width} x {height} pixels cannot keep its size: the model sees the square "
            f"({left}, {top}) to ({right}, {bottom}) of it",
            remedy="take the model's size, crop the picture to a square, or train with data.fit contain or "
            "stretch",
        )
