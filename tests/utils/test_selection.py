from __future__ import annotations

import pytest

from sivae_translate.utils.selection import spread


@pytest.mark.parametrize(
    ("count", "limit", "expected"),
    [
        (0, 3, []),
        (3, None, [0, 1, 2]),
        (3, 3, [0, 1, 2]),
        (10, 4, [0, 3, 6, 9]),
        (63, 1, [0]),
        (5, 2, [0, 4]),
    ],
)
def test_positions_are_evenly_spread(count: int, limit: int | None, expected: list[int]) -> None:
    assert spread(count, limit) == expected


def test_positions_differ_and_reach_both_ends() -> None:
    for count in range(2, 200):
        chosen = spread(count, 32)
        assert len(set(chosen)) == min(count, 32)
        assert (chosen[0], chosen[-1]) == (0, count - 1)
