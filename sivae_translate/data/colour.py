"""Embedded colour profiles: conversion to sRGB, which models see."""

from __future__ import annotations

import io
import itertools
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SAME = 3
"""Largest change, of 255, that a profile may make and still count as sRGB: published sRGB profiles round
their curves differently. Pixels that are sRGB already stay as they are."""

_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""Colour space of a profile to Pillow's mode."""
# Without the one-pixel cache, threads can share a transform.
_FLAGS = ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION


class IgnoredProfileWarning(UserWarning):
    """A file's colour profile cannot be used; its values are taken as sRGB."""


def to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """Convert an image to sRGB by its colour profile.

    Args:
        image: of mode L, LA, RGB, RGBA, CMYK or LAB; 8 bits a channel.
        profile: ICC profile; None if the file has none. An unreadable one is ignored with a warning.
        name: name of the file, for the warning.

    Returns:
        L or LA for grey, else RGB or RGBA; the image itself if the profile is sRGB.
    """
    if image.mode == "LAB":
        return _apply(image, _from_lab(), name)
    transform = _transform(profile) if profile else None
    if isinstance(transform, str):
        warnings.warn(
            f"{name}: its colour profile is ignored ({transform})", IgnoredProfileWarning, stacklevel=2
        )
        return image
    return image if transform is None else _apply(image, transform, name)


def _apply(image: Image.Image, transform: ImageCms.ImageCmsTransform, name: str) -> Image.Image:
    grey, alpha = image.mode in {"L", "LA"}, image.mode in {"LA", "RGBA"}
    colours = image.convert(image.mode[:-1]) if alpha else image
    if colours.mode != transform.input_mode:
        if {colours.mode, transform.input_mode} == {"L", "RGB"}:  # grey with an RGB display profile
            colours = colours.convert(transform.input_mode)
        else:
            warnings.warn(
                f"{name}: its colour profile is ignored (it is for {transform.input_mode}, the image is "
                f"{colours.mode})",
                IgnoredProfileWarning,
                stacklevel=3,
            )
            return image
    converted = transform.apply(colours)
    converted = converted.convert("L") if grey else converted
    if alpha:
        converted.putalpha(image.getchannel("A"))
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | str | None:
    """The transform to sRGB; None if the profile is sRGB, or a reason if it cannot be used."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space not in _SPACES:
            return f"its colour space is {space}"
        transform = _to_srgb(opened, _SPACES[space])
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError) as error:
        return str(error) or type(error).__name__
    return None if _changes_nothing(transform) else transform


@lru_cache(maxsize=1)
def _from_lab() -> ImageCms.ImageCmsTransform:
    return _to_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _to_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(
        profile, srgb, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=_FLAGS
    )


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a grid of colours, or all greys, stay unchanged."""
    if transform.input_mode not in {"RGB", "L"}:
        return False
    levels = range(0, 256, 15)
    colours = list(itertools.product(levels, repeat=3)) if transform.input_mode == "RGB" else list(range(256))
    values = np.array(colours, np.uint8)
    out = np.asarray(transform.apply(Image.fromarray(values[None])))[0].astype(int)
    return bool(np.abs(out - values.reshape(len(values), -1)).max() <= SAME)
