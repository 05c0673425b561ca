"""The benchmark of autoencoders trains and measures what it says."""

from __future__ import annotations

import pytest
import torch

from benchmarks.autoencoders import main


def test_a_table_has_a_row_for_each_autoencoder_and_domain(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    main(["--name", "glyphs-colour", "--size", "32", "--steps", "2", "--downsampling", "4"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| own")]
    domains = {line.split(" | ")[1] for line in lines}
    assert len(lines) == 2 * len(domains) >= 4
    starts = [float(line.split(" | ")[3]) for line in lines if "at the start" in line]
    assert len(starts) == len(domains)
    assert all(0 < distance < 0.3 for distance in starts)
