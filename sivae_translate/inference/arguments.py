"""Checks of a translation's arguments, and of inputs that are unlike the training data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Literal, TypedDict, get_args

import numpy as np
from torch import Tensor

from sivae_translate.data.image import ImageLike, from_any
from sivae_translate.inference.tiles import Tiling
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils.choices import Check
from sivae_translate.utils.errors import InputError

PERCENTILE = 99.0
"""Default percentile above which an image counts as unusual, if the calibration has enough images."""


class CoarseCheckWarning(UserWarning):
    """There are too few validation images for the default percentile; a lower one is used."""


class OutOfDistributionWarning(UserWarning):
    """An image is unlike the training data, so its translation may be meaningless."""


class Options(TypedDict, total=False):
    """Options of a translation, by name; `Request` explains them."""

    batch_size: int
    size: Literal["model", "input"]
    tile: int | Literal["auto"] | None
    overlap: int | None
    alpha: Literal["keep", "white"]
    mask: ImageLike | None
    keep_detail: bool
    bits: Literal[8, 16]
    check: Check
    percentile: float | None


@dataclass(frozen=True)
class Request:
    """Options of a translation.

    Args:
        batch_size: images computed at a time.
        size: ``model`` for the model's size; ``input`` gives each result the width and height of its input.
            The model still sees inputs at the scale of training, unless there is a tile.
        tile: with size ``input``, translate at the input's own scale, in tiles of this side in pixels;
            ``auto`` computes it whole if memory suffices.
        overlap: least overlap of neighbouring tiles in pixels; None is as much as the networks see, at most
            half a tile.
        alpha: ``keep`` gives results of the input's size its transparency; ``white`` leaves it on white, as
            the model sees it, and as results of the model's size are.
        mask: with size ``input``, translate only where this picture is white; it is scaled to the input.
        keep_detail: with size ``input``, add the fine detail that a reconstruction lacks, where the
            translation is like the reconstruction.
        bits: 16, with size ``input``, gives grey inputs of 16 bits results of 16 bits, if the model is grey.
            They are scaled as with ``data.fit`` cover.
        check: ``warn`` or ``raise`` if an image is unlike the training data; takes twice the time.
        percentile: an image above it counts as unusual: 99 flags one in a hundred images like the training
            data. None is 99, or the highest that the model's validation images resolve.

    Raises:
        InputError: an option is not one of its choices, or has no effect.
    """

    batch_size: int = 64
    size: Literal["model", "input"] = "model"
    tile: int | Literal["auto"] | None = None
    overlap: int | None = None
    alpha: Literal["keep", "white"] = "keep"
    mask: ImageLike | None = None
    keep_detail: bool = False
    bits: Literal[8, 16] = 8
    check: Check = "off"
    percentile: float | None = None

    def __post_init__(self) -> None:
        require_choice("size", self.size, ("model", "input"))
        require_choice("check", self.check, get_args(Check))
        self._check_numbers()
        if self.tile is None and self.overlap is not None:
            raise InputError("overlap is that of tiles", remedy="give tile as well, or leave overlap out")
        require_choice("alpha", self.alpha, ("keep", "white"))
        require_choice("bits", str(self.bits), ("8", "16"))
        if self.bits == 16 and (self.keep_detail or self.mask is not None):
            raise InputError("mask and keep_detail compute with 8 bits", remedy="omit them, or bits=16")
        for_sizes = {
            "tile": self.tile is not None,
            "mask": self.mask is not None,
            "keep_detail": self.keep_detail,
            "bits": self.bits != 8,
        }
        for name, given in for_sizes.items():
            if given and not self.keeps_size:
                raise InputError(
                    f"{name} is for results of the input's size", remedy="give size='input' as well"
                )
        if isinstance(self.tile, str):
            require_choice("tile", self.tile, ("auto", "a number of pixels"))
        _ = self.tiling

    def with_mask_read(self) -> Request:
        """The same with the mask as a picture, for many inputs: its file is read once, before work starts.

        Raises:
            DataError: it cannot be read.
            InputError: it is no image.
        """
        return self if self.mask is None else replace(self, mask=from_any(self.mask))

    def _check_numbers(self) -> None:
        """Raise InputError for an option of another type than it should have."""
        require_whole("batch_size", self.batch_size)
        if self.percentile is not None and not (
            isinstance(self.percentile, Real) and math.isfinite(self.percentile)
        ):
            raise InputError(f"percentile is {self.percentile}", remedy="give a number, such as 99")
        if not isinstance(self.keep_detail, bool | np.bool_ | int):
            raise InputError(f"keep_detail is {self.keep_detail!r}", remedy="give True or False")
        for name, value in (("tile", self.tile), ("overlap", self.overlap)):
            if not isinstance(value, Integral | str | None) or isinstance(value, bool):
                raise InputError(f"{name} is {value}", remedy="give a whole number of pixels")

    @property
    def keeps_size(self) -> bool:
        """Whether results have the sizes of their inputs."""
        return self.size == "input"

    @property
    def keeps_alpha(self) -> bool:
        """Whether results have the transparency of their inputs."""
        return self.keeps_size and self.alpha == "keep"

    @property
    def is_simple(self) -> bool:
        """Whether results are what the model makes of squares, at most scaled, and made transparent."""
        return self.tile is None and self.mask is None and not self.keep_detail and self.bits == 8

    @property
    def checks(self) -> bool:
        """Whether there is a check."""
        return self.check != "off"

    @property
    def tiling(self) -> Tiling | None:
        """How pictures are divided at their own scale; None for the scale of training."""
        if self.tile is None:
            return None
        return Tiling(None if isinstance(self.tile, str) else self.tile, self.overlap)


def require_choice(name: str, value: str, allowed: Sequence[str]) -> None:
    """Raise InputError if an option is not one of its choices."""
    if value not in allowed:
        raise InputError(f"{name} is '{value}'", remedy=f"choose {' or '.join(allowed)}")


def require_whole(name: str, value: int, least: int = 1) -> None:
    """Raise InputError if an option is not a whole number of at least ``least``."""
    if not isinstance(value, Integral) or value < least:
        raise InputError(f"{name} is {value!r}", remedy=f"give {least} or more")


def check_output(output: str, request: Request) -> None:
    """Raise InputError if results cannot be returned in this form."""
    require_choice("output", output, ("pil", "tensor"))
    if output == "tensor" and request.keeps_size:
        raise InputError(
            "a tensor cannot hold results of several sizes", remedy="use output='pil' with size='input'"
        )


def as_list(images: ImageLike | Sequence[ImageLike]) -> tuple[bool, list[ImageLike]]:
    """Whether a single image was given, and the images as a list.

    Raises:
        InputError: an empty list.
    """
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
        images = list(images)
    if isinstance(images, list | tuple):
        if not images:
            raise InputError("an empty list of images", remedy="give at least one image")
        return False, list(images)
    return True, [images]  # type: ignore[list-item]  # one image, by elimination


def unusual(verdicts: Sequence[Verdict], percentile: float) -> dict[int, Verdict]:
    """The verdicts that reach a percentile, by image index."""
    return {index: verdict for index, verdict in enumerate(verdicts) if verdict.percentile >= percentile}


def act_on(verdicts: Sequence[Verdict], check: Check, percentile: float) -> None:
    """Warn about images unlike the training data, or raise InputError."""
    flagged = [f"image {index}: {verdict}" for index, verdict in unusual(verdicts, percentile).items()]
    if not flagged:
        return
    message = "; ".join(flagged[:5]) + (f"; and {len(flagged) - 5} more" if len(flagged) > 5 else "")
    if check == "raise":
        raise InputError(
            f"{len(flagged)} of {len(verdicts)} images are unusual. {message}",
            remedy="remove them, or use check='warn'",
        )
    warnings.warn(message, OutOfDistributionWarning, stacklevel=3)
