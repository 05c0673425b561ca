"""Samples in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from sivae_translate.inference.sampling import sample_files
from sivae_translate.inference.translator import Translator


def test_names_of_domains_cannot_lead_out_of_the_folder_or_be_too_long(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("../cats", "d" * 250, "foxes")
    monkeypatch.setattr(translator, "domains", names)
    out = tmp_path / "out"
    written = sample_files(translator, out, 1)
    assert [path.parent for path in written] == [out] * 3
    assert written[0].name.startswith(".._cats~")
    assert written[2].name == "foxes-00000.png"
    assert all(path.stat().st_size for path in written)
    assert list(tmp_path.iterdir()) == [out]
