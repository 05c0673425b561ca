"""Emoji: the same code points drawn by Noto Emoji and by OpenMoji.

Layout: ``{train,test}/{noto,openmoji}/CODE.webp``. Each domain has a random half of the training code points.
"""

from __future__ import annotations

from collections.abc import Sequence

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files
from sivae_translate.data.domains import ranked
from sivae_translate.data.sources.pairs import Halves, PairedSource, read_halves


class Emoji(PairedSource):
    """Noto and OpenMoji."""

    name = "emoji"
    origin = "Noto Emoji and OpenMoji, drawn at 64 px on white as {train,test}/{noto,openmoji}/CODEPOINT.webp"

    def halves(self, files: Files, config: DataConfig) -> Halves:
        """All code points."""
        return read_halves(self, files, ("noto", "openmoji"), config)

    def training_stems(self, shared: set[str]) -> dict[str, Sequence[str]]:
        """A random half each."""
        order = ranked(shared, "0:emoji")
        middle = len(order) // 2
        return {"noto": sorted(order[:middle]), "openmoji": sorted(order[middle:])}
