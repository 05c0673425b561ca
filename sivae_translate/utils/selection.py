"""Choosing representative items of a sequence."""

from __future__ import annotations

import numpy as np


def spread(count: int, limit: int | None) -> list[int]:
    """At most ``limit`` of ``count`` positions, evenly spread.

    The first few items of a sorted set would not be representative.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    if limit is None or count <= limit:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, limit)]


def staggered(count: int, turn: int, turns: int, total: int) -> list[int]:
    """Evenly spread positions below ``count`` for one of several turns, which choose ``total`` together.

    Different turns choose different positions.

    >>> staggered(6, 0, 2, 4), staggered(6, 1, 2, 4)
    ([0, 3], [1, 4])
    """
    each = min(count, max(1, total // turns))
    return [int((index + turn / turns) * count / each) for index in range(each)]
