"""The measurement of the check, on drawn pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import check
from benchmarks.drawn import KINDS, draw_many
from sivae_translate.models import neighbours


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_draw_equal_pictures_which_all_differ(kind: str) -> None:
    pictures = draw_many(kind, 4, 32, seed=1)
    assert pictures.shape == (4, 32, 32, 3)
    assert pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, draw_many(kind, 4, 32, seed=1))
    others = [*pictures, *draw_many(kind, 4, 32, seed=2)]
    assert len({picture.tobytes() for picture in others}) == 8


def test_scenes_and_charts_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "DRAWN_TRAINING", 240)
    monkeypatch.setattr(check, "DRAWN_TESTS", 40)
    for name in ("STORED", "COMPONENTS"):  # which the options set
        monkeypatch.setattr(neighbours, name, getattr(neighbours, name))
    options = check.Options(("scenes", "charts"), size=32, stored=50, components=20, out=tmp_path)
    check.run(options)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["known"], row["foreign"]) for row in rows] == [("scenes", "charts"), ("charts", "scenes")]
    for row in rows:
        assert row["auroc"] > 0.99
        assert row["flagged"]["mean"] > 0.9
        assert row["false_alarms"]["low"] <= row["false_alarms"]["mean"] <= 0.1
        assert (row["images"], row["ranked"]) == (40, 120)
    assert "mean AUROC 1.000" in (tmp_path / "results.md").read_text()


def test_alarms_of_new_groups_have_an_interval_over_groups() -> None:
    calibration = type("Ranks", (), {"ranked": lambda self, scores, names: [Share(x) for x in scores]})()
    scores = np.repeat([100.0, 0.0, 0.0, 0.0], 250)  # all images of one group are flagged
    alone = check._alarms(scores, calibration, None)
    grouped = check._alarms(scores, calibration, np.repeat(np.arange(4), 250))
    assert alone.mean == grouped.mean == 0.25
    assert (alone.low, alone.high) == pytest.approx((0.224, 0.278), abs=0.001)  # Wilson's
    assert (grouped.low, grouped.high) == (0, 0.75)


class Share:
    """A verdict with nothing but a percentile."""

    def __init__(self, percentile: float) -> None:
        self.percentile = percentile
