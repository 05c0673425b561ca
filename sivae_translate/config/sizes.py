"""Sizes of the networks by name: what ``model.size`` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "small": {
        "widths": (32, 64, 96, 192),
        "style_widths": (16, 32, 64, 128),
        "encoder_blocks": 1,
        "decoder_blocks": 1,
        "style_dim": 32,
        "style_features": 128,
    },
    "base": {
        "widths": (64, 128, 192, 384),
        "style_widths": (32, 64, 128, 256),
        "encoder_blocks": 1,
        "decoder_blocks": 2,
        "style_dim": 64,
        "style_features": 256,
    },
    "large": {
        "widths": (128, 256, 384, 768),
        "style_widths": (64, 128, 256, 512),
        "encoder_blocks": 2,
        "decoder_blocks": 2,
        "style_dim": 128,
        "style_features": 512,
    },
}
"""Settings of the section ``model`` by size. A run and a model file store them beside the size's name, so
that they keep their meaning if a size changes."""
SIZED: Final = tuple(SIZES["small"])
"""Names of the settings that a size stands for."""


def with_size(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the section ``model``, completed by those of their size; what is given wins.

    >>> completed = with_size({"size": "base", "style_dim": 8})
    >>> completed["widths"], completed["style_dim"]
    ((64, 128, 192, 384), 8)
    """
    size = values.get("size")
    return {**(SIZES.get(size, {}) if isinstance(size, str) else {}), **values}
