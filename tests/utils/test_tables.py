"""Tables for terminals."""

from __future__ import annotations

import io

from rich.console import Console

from sivae_translate.utils.tables import terminal_table


def test_names_and_numbers_are_whole_in_a_table_that_is_wider_than_the_terminal() -> None:
    header = ["model", "LPIPS", "copying", "gain", "95 %", "gain, 10 most different pairs"]
    rows = [
        ["fresh", "0.0410", "0.0452", "+0.093", "+0.042 to +0.137", "+0.234"],
        ["shipped [x]", "0.0229", "0.0452", "+0.494", "+0.446 to +0.536", "+0.587"],
    ]
    stream = io.StringIO()
    Console(file=stream, width=80).print(terminal_table("glyphs", header, rows))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    shown = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert shown == rows
    assert "different" in stream.getvalue()
