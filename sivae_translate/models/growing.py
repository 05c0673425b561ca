"""Progressive growing: weights of networks for larger images from those for smaller ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_PART = re.compile(r"\b(trunk|decoder)\.(stem|levels|downs|ups|exit)\b(?:\.(\d+))?")


def grown(small: Mapping[str, Tensor], large: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Combine weights of networks for smaller and larger images (progressive growing, arXiv 1710.10196).

    At resolutions that both have, the weights are those of the small networks; at finer resolutions, and for
    input and output pixels, those of the large ones. Load the result strictly: if other sizes differ, it does
    not fit.

    Args:
        small: weights by name, of networks with the same side of the code.
        large: weights by name, for the larger images.
    """
    total = _resolutions(large)
    added = total - _resolutions(small)
    finer = {name: weight for name, weight in large.items() if _is_finer(name, added, total)}
    return finer | {
        _moved(name, added): weight for name, weight in small.items() if not _is_finer(name, 0, 0)
    }


def _resolutions(weights: Mapping[str, Tensor]) -> int:
    """Number of resolutions of the networks."""
    parts = [match for match in map(_PART.search, weights) if match]
    return 1 + max((int(part[3]) for part in parts if part[1] == "trunk" and part[2] == "levels"), default=-1)


def _is_finer(name: str, added: int, total: int) -> bool:
    """Whether a weight belongs to the ``added`` finest resolutions, or to input or output pixels."""
    part = _PART.search(name)
    if part is None:
        return False
    if part[2] in ("stem", "exit"):
        return True
    if part[1] == "trunk":  # finest first
        return int(part[3]) < added
    return added > 0 and int(part[3]) >= total - added - (part[2] == "ups")


def _moved(name: str, added: int) -> str:
    """The name of a small network's weight in the large one, whose encoders start at finer resolutions."""
    part = _PART.search(name)
    if part is None or part[1] == "decoder":
        return name
    return f"{name[: part.start(3)]}{int(part[3]) + added}{name[part.end(3) :]}"
