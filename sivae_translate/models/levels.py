"""The resolutions that networks work at, from the finest features down to the content code."""

from __future__ import annotations

from collections.abc import Sequence

from sivae_translate.models.resampling import PATCH
from sivae_translate.utils.errors import ConfigError


def finest_side(side: int, *, flat: bool) -> int:
    """The side of the finest features: half of an image's, or all of an autoencoder's view (``flat``)."""
    return side if flat else side // PATCH


def resolutions(finest: int, content_size: int) -> list[int]:
    """Sides of the feature maps, from the finest down to content_size.

    Raises:
        ConfigError: they are not a power of two apart.
    """
    sides = [finest]
    while sides[-1] > content_size:
        sides.append(sides[-1] // 2)
    if sides[-1] != content_size:
        raise ConfigError(
            f"model.content_size = {content_size} cannot be reached by halving {finest}, the finest side",
            remedy=f"choose one of {', '.join(map(str, halvings(finest)))}",
        )
    return sides


def coarse_end(widths: Sequence[int], levels: int) -> Sequence[int]:
    """The widths of the coarsest ``levels`` resolutions, or all widths if there are fewer."""
    return widths[-levels:]


def require_levels(name: str, widths: Sequence[int], finest: int, content_size: int) -> None:
    """Check that widths lead from the finest features to the content size, one for each resolution.

    Raises:
        ConfigError: there are too few or too many.
    """
    levels = len(resolutions(finest, content_size))
    if len(widths) != levels:
        raise ConfigError(
            f"model.{name} has length {len(widths)} but needs {levels}: one width for each resolution, from "
            f"{finest} px (the finest features) down to {content_size} px (the content code)",
            remedy=f"give {levels} {'width' if levels == 1 else 'widths'}, the finest resolution first",
        )


def halvings(finest: int) -> list[int]:
    """Sides that a code may have: that of the finest features, halved while it is even and above 2."""
    sides = [finest]
    while sides[-1] % 2 == 0 and sides[-1] > 2:
        sides.append(sides[-1] // 2)
    return sides
