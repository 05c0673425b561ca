"""The data sets, one file each, and their registry.

`register_source` adds a data set of your own, so that ``data.name``, training and the benchmark know it.
"""

from __future__ import annotations

from difflib import get_close_matches

from sivae_translate.data.sources.base import ArchivedSource, Source, StyleKind
from sivae_translate.data.sources.cars3d import Cars3D
from sivae_translate.data.sources.digits import Digits
from sivae_translate.data.sources.doom import Doom, DoomDepth
from sivae_translate.data.sources.emoji import Emoji
from sivae_translate.data.sources.facades import Facades
from sivae_translate.data.sources.folder import Folder
from sivae_translate.data.sources.glyphs import ColouredGlyphs, Glyphs
from sivae_translate.data.sources.idx import Idx
from sivae_translate.utils.errors import ConfigError

__all__ = ["ArchivedSource", "Source", "StyleKind", "get_source", "register_source", "source_names"]

_SOURCES: dict[str, Source] = {}


def register_source(source: Source) -> None:
    """Add a data set to the registry.

    Args:
        source: the data set.

    Raises:
        ConfigError: another data set has the same name.

    >>> from sivae_translate.data.domains import ArrayImages, DomainData
    >>> class Noise(Source):
    ...     name = "noise"
    ...     needs_root = False
    ...
    ...     def load(self, config):
    ...         rng = np.random.default_rng(config.split_seed)
    ...         shape = (16, config.image_size, config.image_size, config.channels)
    ...         dark, light = (rng.integers(low, low + 128, shape, dtype=np.uint8) for low in (0, 128))
    ...         return DomainData(domains=("dark", "light"), train=(ArrayImages(dark), ArrayImages(light)))
    >>> import numpy as np
    >>> register_source(Noise())
    >>> "noise" in source_names()
    True
    """
    known = _SOURCES.get(source.name)
    if known is not None and type(known).__qualname__ != type(source).__qualname__:
        raise ConfigError(
            f"the data set {source.name} is already {type(known).__qualname__}", remedy="choose another name"
        )
    _SOURCES[source.name] = source


def get_source(name: str) -> Source:
    """Look up a data set by name.

    Raises:
        ConfigError: there is none; the message lists all names.
    """
    if name not in _SOURCES:
        near = get_close_matches(name, _SOURCES, 1)
        raise ConfigError(
            f"there is no data set '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""),
            remedy=f"set data.name to one of {', '.join(_SOURCES)}, or register one of your own",
        )
    return _SOURCES[name]


def source_names() -> tuple[str, ...]:
    """Names of all data sets."""
    return tuple(_SOURCES)


for _source in (
    Folder(),
    Glyphs(),
    ColouredGlyphs(),
    Idx(),
    Cars3D(),
    Facades(),
    Emoji(),
    Digits(),
    Doom(),
    DoomDepth(),
):
    register_source(_source)
