"""The table of what a step keeps."""

from __future__ import annotations

import torch

from benchmarks.memory import CASES, peak_saved, table


def test_a_storage_counts_once_and_as_long_as_it_is_kept() -> None:
    x, w = torch.ones(1000), torch.ones(1000, requires_grad=True)

    def twice() -> None:
        for _ in range(3):
            ((w * x).sin() + (w * x[:500].repeat(2))).sum().backward()  # type: ignore[no-untyped-call]

    # x, its repeated half, and the argument of the sine; those that keep nothing else count once.
    assert 3 * 4000 <= peak_saved(twice) <= 4 * 4000


def test_the_table_has_a_row_for_every_case() -> None:
    sizes = {"data.image_size": 32, "model.widths": (4, 6, 8), "model.style_widths": (4, 4, 6)}
    lines = table({**sizes, "training.batch": 16}, 1).splitlines()[2:]
    kept = [float(line.split("|")[2].replace(",", "")) for line in lines]
    assert len(kept) == len(CASES)
    assert kept[0] > kept[1] > kept[3]
    assert kept[0] > 2 * kept[2]
