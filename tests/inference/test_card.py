"""A folder for others: the model, a card made from what the run knows, and pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sivae_translate.inference.translator import Translator
from sivae_translate.models.weights import save_model
from sivae_translate.utils.errors import OutputError

OVERALL = {"gain": {"mean": 0.25, "low": 0.2, "high": 0.3}, "lpips": {"mean": 0.1, "low": 0.0, "high": 0.2}}


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    # Other tests may have evaluated the shared run.
    shutil.copytree(tiny_run, copy, ignore=shutil.ignore_patterns("evaluation"))
    return copy


def evaluated(run: Path, facts: dict[str, object]) -> None:
    folder = run / "evaluation" / "domain"
    folder.mkdir(parents=True)
    values = {"style": "domain", "about": {"facts": facts}, "overall": OVERALL}
    (folder / "evaluation.json").write_text(json.dumps(values))


def card_of(run: Path, out: Path, **options: object) -> str:
    Translator.from_pretrained(run, device="cpu").save_pretrained(out, **options)
    return (out / "README.md").read_text()


def test_a_saved_folder_is_a_model_with_a_card_and_samples(run: Path, tmp_path: Path) -> None:
    card = card_of(run, tmp_path / "out", license_name="mit")
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "mit"
    assert head["pipeline_tag"] == "image-to-image"
    for text in ("cats, dogs, foxes", "32 x 32 px", "## Limits", "Not measured", "cannot warn"):
        assert text in card
    assert Translator.from_pretrained(tmp_path / "out").domains == ("cats", "dogs", "foxes")
    with Image.open(tmp_path / "out" / "pictures" / "samples.png") as picture:
        assert picture.height == 3 * (96 + 4) + 4  # a row a domain


def test_a_card_has_the_metrics_of_these_weights_alone(run: Path, tmp_path: Path) -> None:
    evaluated(run, {"steps": 0})
    assert "| gain (1 - LPIPS / LPIPS of copying) | 0.2500 | 0.2000 to 0.3000 |" in card_of(
        run, tmp_path / "a"
    )
    shutil.rmtree(run / "evaluation")
    evaluated(run, {"steps": 7})  # of a run that went on
    assert "Not measured" in card_of(run, tmp_path / "b")
    (run / "evaluation" / "domain" / "evaluation.json").write_text("{")
    assert "Not measured" in card_of(run, tmp_path / "c")


def test_training_images_are_shown_only_if_asked(run: Path, tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(run / "grid.png")
    assert "grid.png" not in card_of(run, tmp_path / "a")
    assert not (tmp_path / "a" / "pictures" / "grid.png").exists()
    assert "![grid](pictures/grid.png)" in card_of(run, tmp_path / "b", show_data=True)
    assert (tmp_path / "b" / "pictures" / "grid.png").is_file()


def test_names_of_domains_are_only_text(translator: Translator, tmp_path: Path) -> None:
    names = ("a`b", "<script>", "c\nd")
    save_model(tmp_path / "model.safetensors", translator.model, translator.config, names, {})
    card = card_of(tmp_path, tmp_path / "out")
    assert "c\nd" not in card
    assert r"\<script" in card
    assert yaml.safe_load(card.split("---")[1])["library_name"] == "sivae-translate"


def test_a_folder_that_cannot_be_written_is_an_error(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        translator.save_pretrained(tmp_path / "file")
