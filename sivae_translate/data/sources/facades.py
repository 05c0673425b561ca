"""Facades: photographs and label maps of buildings (CMP Facade Database).

Layouts: ``{train,test}/{photo,label}/NNN.jpg``, or pix2pix's ``{train,val}/N.jpg`` with the photograph on the
left and the label map on the right. Training uses the photographs of the first half of the facades and the
label maps of the second half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sivae_translate.config import DataConfig
from sivae_translate.data.archives import Files
from sivae_translate.data.sources.base import as_array
from sivae_translate.data.sources.pairs import Halves, PairedSource, read_halves


class Facades(PairedSource):
    """Photographs and label maps."""

    name = "facades"
    origin = "the CMP Facade Database, for instance as pix2pix's facades.tar.gz"

    def halves(self, files: Files, config: DataConfig) -> Halves:
        """All facades, in either layout."""
        halves = {
            split: _side_by_side(files, folders, config)
            for split, folders in (("train", ("train",)), ("test", ("val", "test")))
        }
        return halves if all(halves.values()) else read_halves(self, files, ("photo", "label"), config)

    def training_stems(self, shared: set[str]) -> dict[str, Sequence[str]]:
        """Photographs of the first half, label maps of the second."""
        stems = sorted(shared)
        middle = len(stems) // 2
        return {"photo": stems[:middle], "label": stems[middle:]}


def _side_by_side(
    files: Files, folders: Sequence[str], config: DataConfig
) -> dict[str, dict[str, np.ndarray]]:
    """Read pix2pix's layout, one file per facade; empty if the files have another layout."""
    names = next((below for folder in folders if (below := files.below(folder))), {})
    domains: dict[str, dict[str, np.ndarray]] = {"photo": {}, "label": {}}
    for stem, name in names.items():
        both = files.image(name)
        if both.width != 2 * both.height:
            return {}
        side = both.height
        for domain, left in (("photo", 0), ("label", side)):
            domains[domain][stem] = as_array(both.crop((left, 0, left + side, side)), config)
    return domains if names else {}
