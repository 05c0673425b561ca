"""Checks of a translation's arguments, and of inputs that are unlike the training data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import get_args

import numpy as np
from torch import Tensor

from sivae_translate.data.image import ImageLike
from sivae_translate.data.processor import Placement, Prepared, require_whole
from sivae_translate.models.typicality import Verdict
from sivae_translate.utils.choices import Check
from sivae_translate.utils.errors import InputError

PERCENTILE = 99.0
"""Default percentile above which an image counts as unusual, if there are enough validation images."""


class CoarseCheckWarning(UserWarning):
    """There are too few validation images for the default percentile; a lower one is used."""


class OutOfDistributionWarning(UserWarning):
    """An image is unlike the training data, so its translation may be meaningless."""


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


def check_choices(output: str, size: str, check: str, batch_size: int) -> None:
    """Raise InputError if an argument of `Translator.__call__` is not one of its choices."""
    choices = (
        ("output", output, ("pil", "tensor")),
        ("size", size, ("model", "input")),
        ("check", check, get_args(Check)),
    )
    for name, value, allowed in choices:
        if value not in allowed:
            raise InputError(f"{name} is '{value}'", remedy=f"choose {' or '.join(allowed)}")
    if output == "tensor" and size == "input":
        raise InputError(
            "a tensor cannot hold results of several sizes", remedy="use output='pil' with size='input'"
        )
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}", remedy="give 1 or more")


def placement_to_restore(prepared: Prepared, size: str) -> Placement | None:
    """The placement that restores a picture's size; None if the result keeps the model's size.

    Raises:
        InputError: the size cannot be restored.
    """
    if size == "model":
        return None
    require_whole(prepared.placement)
    return prepared.placement


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
