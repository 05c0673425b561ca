"""Whether unusual images are translated worse: curves of which the answer is known."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from sivae_translate.evaluation.reporting import risk_section
from sivae_translate.evaluation.results import Case, Evaluation
from sivae_translate.evaluation.risk import COVERAGES, measure_risk, risk_coverage, risks_at
from sivae_translate.inference.translator import Translator
from sivae_translate.models.typicality import Verdict

NAMES = [str(index) for index in range(1000)]


def test_the_risk_is_the_mean_error_of_the_images_kept() -> None:
    errors, scores = np.array([4.0, 1.0, 3.0, 2.0]), np.array([9.0, 5.0, 7.0, 1.0])
    np.testing.assert_allclose(risks_at(errors, scores, (1.0, 0.75, 0.5, 0.25, 0.01)), [2.5, 2, 1.5, 2, 2])


def test_equal_scores_count_by_the_mean_over_all_their_orders() -> None:
    errors, scores = np.array([1.0, 5.0, 3.0, 8.0, 2.0]), np.array([2.0, 1.0, 2.0, 2.0, 0.0])
    kept = [np.mean([2, 5, *order[:2]]) for order in permutations([1, 3, 8])]  # four of five
    assert risks_at(errors, scores, (0.8,))[0] == pytest.approx(np.mean(kept))


def test_a_score_that_is_the_error_is_the_best_and_one_that_says_nothing_changes_nothing() -> None:
    errors = np.random.default_rng(0).permutation(np.linspace(0, 1, 1000))
    best = risk_coverage(errors, errors, NAMES)
    assert best.risks == best.lowest
    assert best.change.mean == pytest.approx(-0.2, abs=0.01)  # errors up to 0.8 instead of up to 1
    assert best.change.low < best.change.mean < best.change.high < -0.15
    nothing = risk_coverage(errors, np.random.default_rng(1).uniform(size=1000), NAMES)
    assert nothing.change.low < 0 < nothing.change.high
    assert nothing.risks[0] == pytest.approx(errors.mean())
    constant = risk_coverage(errors, np.zeros(1000), NAMES)
    np.testing.assert_allclose(constant.risks, errors.mean())
    assert risk_coverage(np.zeros(4), np.arange(4.0), NAMES[:4]).change.mean == 0


def test_few_contents_give_a_wide_interval_however_many_images_there_are() -> None:
    errors, scores = np.repeat([1.0, 2.0, 5.0, 3.0], 250), np.repeat([1.0, 3.0, 4.0, 2.0], 250)
    apart = risk_coverage(errors, scores, NAMES).change
    together = risk_coverage(errors, scores, [name for name in "abcd" for _ in range(250)]).change
    assert together.mean == apart.mean
    assert together.high - together.low > 5 * (apart.high - apart.low)


def case(place: float, lpips: float, *, known: bool = True) -> Case:
    image = torch.full((1, 2, 2), place)
    return Case(lpips, image, image, image if known else None, "a to b", str(place))


def test_every_source_is_scored_once_and_a_report_shows_the_curve() -> None:
    seen: list[float] = []

    def typicality(images: Any) -> list[Verdict]:
        seen.extend(images[:, 0, 0, 0].tolist())
        return [Verdict(0.0, "detail", -float(image[0, 0, 0])) for image in images]

    engine = SimpleNamespace(typicality=typicality)
    translator = cast(Translator, SimpleNamespace(engine=engine, calibration=object()))
    cases = [case(place, 1 - place) for place in (0.0, 0.25, 0.5, 0.75, 0.25)]
    risk = measure_risk(translator, [*cases, case(0.9, 7, known=False)], 0)
    assert risk is not None
    assert sorted(seen) == [0, 0.25, 0.5, 0.75]
    assert risk.risks[COVERAGES.index(0.8)] == pytest.approx((0.25 + 0.5 + 0.75 + 0.75) / 4)
    assert risk.risks == risk.lowest
    text = "\n".join(risk_section(Evaluation("domain", True, (), {}, risk=risk), "## Risk"))
    assert "| LPIPS of | 100% | 95% | 90% | 80% |" in text
    assert "LPIPS of the most typical 80% is -13.5% (" in text
    assert "of the best 80% -13.5%" in text


def test_there_is_no_curve_without_a_model_a_calibration_or_truths() -> None:
    bare = cast(Translator, SimpleNamespace(calibration=None))
    checked = cast(Translator, SimpleNamespace(calibration=object()))
    assert measure_risk(None, [case(0.5, 1)], 0) is None
    assert measure_risk(bare, [case(0.5, 1)], 0) is None
    assert measure_risk(checked, [case(0.5, 1, known=False)], 0) is None
    assert risk_section(Evaluation("domain", True, (), {}), "## Risk") == []
