"""The demo, short and whole."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from sivae_translate.evaluation.intervals import Interval
from sivae_translate.evaluation.results import PairResult
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.studies import demo as studies_demo
from sivae_translate.studies.demo import demo, gain_over, hardest
from sivae_translate.utils.errors import ConfigError


def pair(lpips: float, copy: float) -> PairResult:
    values = {"lpips": lpips, "copy_lpips": copy}
    return PairResult("a", "b", 1, {name: Interval(value, value, value) for name, value in values.items()})


def test_the_hardest_pairs_are_those_where_copying_is_worst() -> None:
    pairs = tuple(pair(0.1, copy / 100) for copy in range(30))
    assert [p.value("copy_lpips") for p in hardest(pairs)] == [copy / 100 for copy in range(29, 19, -1)]
    assert gain_over((pair(1, 2), pair(2, 4))) == pytest.approx(0.5)


def test_a_folder_with_something_else_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty and not a demo"):
        demo(tmp_path, minutes=0.01)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_wrong_minutes_leave_an_earlier_demo_alone(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"training\.minutes"):
        demo(tmp_path, minutes=0)
    assert (tmp_path / "demo.json").exists()


@pytest.mark.full
def test_a_short_demo_leaves_the_picture_and_measures_both_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies_demo, "evaluate", partial(evaluate, limit=24, probes=False))
    demo(tmp_path / "demo", minutes=0.05)
    gains = json.loads((tmp_path / "demo" / "demo.json").read_text())["gain"]
    assert (tmp_path / "demo" / "grid.png").stat().st_size > 10_000
    assert gains["shipped"] > 0.4
    assert gains["fresh"] < 0


@pytest.mark.slow
def test_four_minutes_beat_copying_where_fonts_differ_most(tmp_path: Path) -> None:
    demo(tmp_path / "demo", minutes=4)
    written = json.loads((tmp_path / "demo" / "fresh" / "evaluation.json").read_text())["pairs"]
    pairs = tuple(PairResult.from_json(values) for values in written)
    assert gain_over(hardest(pairs)) > 0
