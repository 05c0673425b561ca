"""The table of sizes."""

from __future__ import annotations

from benchmarks.sizes import cost, table


def test_the_table_has_every_size_and_what_it_costs() -> None:
    settings = {"model.resampling": "smooth", "model.widths": (4, 6, 8), "model.style_widths": (4, 4, 6)}
    head, _, *rows = table([32], settings).splitlines()
    assert "parameters" in head
    assert [row.split("|")[1].strip() for row in rows] == ["small", "base", "large"]
    found = cost("base", 32, settings)
    assert 0 < found.reconstruction < found.step
    assert f"{found.parameters / 1e6:.1f} M" in rows[1]
