"""The comparison of predicted and settled KLs: resumable, and the committed results fit the formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.draw_equilibrium import RESULTS
from benchmarks.equilibrium import larger_beta_neg, run
from sivae_translate.lab.equilibrium import equilibrium_kl, settled_kl


def test_a_repeated_call_plays_only_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "equilibrium.json"
    run(None, tmp_path, 12, ("rings",))
    rows = json.loads(place.read_text())
    assert [(row["data"], row["beta_neg"], row["published"]) for row in rows] == [
        ("rings", 1.0, True),
        ("rings", 0.15, False),
        ("rings", 0.4, False),
    ]
    assert all(row["kl_real"] > 0 and row["kl_fake"] > 0 and row["steps"] == 24 for row in rows)
    place.write_text(json.dumps(rows[:2]))
    capsys.readouterr()
    run(None, tmp_path, 12, ("rings",))
    assert capsys.readouterr().out.count("rings") == 1
    again = json.loads(place.read_text())
    assert again[2] | {"seconds": 0} == pytest.approx(rows[2] | {"seconds": 0})


def test_a_beta_neg_is_found_for_a_kl_and_is_the_larger_one() -> None:
    beta_neg = larger_beta_neg(20.0, 1.0, 1 / 256)
    assert equilibrium_kl(beta_neg, 1.0, 1 / 256) == pytest.approx(20)
    assert equilibrium_kl(1.1 * beta_neg, 1.0, 1 / 256) < 20 < equilibrium_kl(0.9 * beta_neg, 1.0, 1 / 256)
    highest = larger_beta_neg(1e6, 1.0, 1 / 256)
    assert equilibrium_kl(highest, 1.0, 1 / 256) == pytest.approx(256 / (2 * 2.718281828))


def test_the_committed_results_fit_the_formulas() -> None:
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert len(rows) >= 10 and len({row["data"] for row in rows}) >= 4
    for row in rows:
        setting = row["beta_neg"], row["beta_kl"], row["scale"]
        assert row["k_eq"] == pytest.approx(equilibrium_kl(*setting))
        assert row["predicted"] == pytest.approx(settled_kl(*setting, row["kl_without"], row["active"]))
