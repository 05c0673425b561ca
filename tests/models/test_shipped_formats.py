"""Model files that have shipped keep loading, with the results they had: a small one of each format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sivae_translate.inference.translator import Translator

FIXTURES = Path(__file__).parent / "fixtures"
FORMATS = sorted(path.stem for path in FIXTURES.glob("*.safetensors"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_shipped_format_loads_and_keeps_its_results(name: str) -> None:
    expected = json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))
    translator = Translator.from_pretrained(FIXTURES / f"{name}.safetensors", device="cpu", dtype="float32")
    ramp = torch.linspace(0, 1, 32 * 32).reshape(1, 1, 32, 32)
    translation = translator(ramp, "paper", output="tensor")
    assert list(translator.domains) == expected["domains"]
    diagonal = translation[0, 0].diagonal()[::4].tolist()
    assert diagonal == pytest.approx(expected["translation_diagonal"], abs=2e-6)
    assert translator.typicality(ramp)[0].percentile == pytest.approx(expected["percentile"])


def test_settings_stored_under_old_names_keep_their_values() -> None:
    """The file was written with ``judge_content``, ``back``, ``init`` and the like in it."""
    config = Translator.from_pretrained(FIXTURES / "format-1.safetensors", device="cpu").config
    objective = config.objective
    assert objective.name == "elbo"
    assert (objective.fake_content_kl, objective.fake_reconstruction) == (0.5, True)
    assert (objective.back_translation, objective.back_translation_from) == (0.7, 0.2)
    assert objective.content_open_at == 0.25
    assert [(ramp.name, ramp.start, ramp.end) for ramp in objective.ramps] == [("back_translation", 0.1, 0.5)]
    assert config.training.max_rollbacks == 3
