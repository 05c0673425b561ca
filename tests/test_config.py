"""Settings: validated, suggesting, round-tripping."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sivae_translate.config import (
    Config,
    ModelConfig,
    RampConfig,
    field_names,
    from_dict,
    load_config,
    to_yaml,
)
from sivae_translate.config.sizes import SIZED, SIZES
from sivae_translate.lab.settings import load_toy_config
from sivae_translate.models.build import make_model
from sivae_translate.models.growing import grown
from sivae_translate.models.weights import find_model, load_model
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.resources import config_path


def test_an_empty_configuration_is_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == load_config() == Config()


def test_yaml_round_trips(tmp_path: Path) -> None:
    config = load_config(
        None,
        {"training.minutes": 5, "data.root": "x", "model.widths": [8, 16], "objective.back_translation": 0.5},
    )
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "c.yaml") == config


@pytest.mark.parametrize("section", [Config, RampConfig])
def test_every_setting_has_a_description(section: Any) -> None:
    assert [name for name, text in field_names(section) if text.startswith("(default")] == []


@pytest.mark.parametrize(
    "path", sorted(config_path("glyphs").parent.glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_configurations_are_valid_and_make_a_model(path: Path) -> None:
    if path.stem.startswith("toy"):
        assert load_toy_config(path.stem).planes
        return
    config = load_config(path)
    model = make_model(config.model, config.data, 6)
    assert model.image_shape == (config.data.channels, config.data.image_size, config.data.image_size)


def test_the_configuration_of_64_px_grows_the_shipped_model() -> None:
    config = load_config(config_path("glyphs-64"))
    assert config.training.fine_tune == "glyphs"
    small, large = load_model(find_model("glyphs")), make_model(config.model, config.data, 6)
    small.model.alignment = None  # as fine-tuning does
    large.load_state_dict(grown(small.model.state_dict(), large.state_dict()), strict=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.stepz": 3}, "did you mean training.steps"),
        ({"dat.root": "x"}, "did you mean data"),
        ({"training.batch": "many"}, "training.batch"),
        ({"training.learning_rate": -1}, "greater than 0"),
        ({"data.image_size": 33}, "data.image_size"),
        ({"training.steps": 3, "training.minutes": 1}, "give one budget"),
    ],
)
def test_wrong_settings_are_named_with_a_suggestion(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(None, settings)


def test_a_budget_on_the_command_line_replaces_the_files_budget(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("training: {minutes: 40, batch: 16}")
    config = load_config(tmp_path / "c.yaml", {"training.steps": 7})
    assert (config.training.steps, config.training.minutes, config.training.batch) == (7, None, 16)


def test_broken_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1")
    (tmp_path / "list.yaml").write_text("- 1")
    for path in (tmp_path / "bad.yaml", tmp_path / "list.yaml", tmp_path / "missing.yaml"):
        with pytest.raises(ConfigError, match=path.name):
            load_config(path)


def test_every_setting_is_listed_and_can_be_set_to_its_default() -> None:
    defaults = yaml.safe_load(to_yaml(Config()))
    for name, _ in field_names():
        value = defaults
        for key in name.split("."):
            value = value[key]
        assert from_dict(defaults, "x") == load_config(None, {name: value})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        Config().training.batch = 3


def test_names_of_earlier_versions_are_understood(tmp_path: Path) -> None:
    old = tmp_path / "old.yaml"
    old.write_text(
        "data: {hold_out: 3}\n"
        "objective: {name: vae, judge_content: 0.5, judge_reconstruction: true, back: 0.7, back_from: 0.2,\n"
        "  open_until: 0.25, ramps: [{name: back, start: 0.1, end: 0.5}]}\n"
        "training: {init: glyphs, retreats: 3}\n"
    )
    new = tmp_path / "new.yaml"
    new.write_text(
        "data: {validation_size: 3}\n"
        "objective: {name: elbo, fake_content_kl: 0.5, fake_reconstruction: true, back_translation: 0.7,\n"
        "  back_translation_from: 0.2, content_open_at: 0.25,\n"
        "  ramps: [{name: back_translation, start: 0.1, end: 0.5}]}\n"
        "training: {fine_tune: glyphs, max_rollbacks: 3}\n"
    )
    assert load_config(old) == load_config(new)


def test_a_folder_may_be_called_a_number() -> None:
    assert load_config(None, {"data.root": 2024}).data.root == Path("2024")


@pytest.mark.skipif(sys.platform == "win32", reason="FIFOs")
def test_a_configuration_that_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "config.yaml")


def test_the_default_is_the_small_size_with_the_numbers_of_version_0_1() -> None:
    assert ModelConfig() == ModelConfig(size="small")
    assert ModelConfig().model_dump(include=set(SIZED)) == {
        **{"widths": (32, 64, 96, 192), "style_widths": (16, 32, 64, 128)},
        **{"encoder_blocks": 1, "decoder_blocks": 1, "style_dim": 32, "style_features": 128},
    }


def test_every_size_names_the_same_settings_and_makes_a_larger_model() -> None:
    assert list(SIZES) == ["small", "base", "large"]
    assert {tuple(size) for size in SIZES.values()} == {SIZED}
    counts = []
    for size in SIZES:
        config = load_config(None, {"model.size": size})
        counts.append(sum(p.numel() for p in make_model(config.model, config.data, 2).parameters()))
    assert counts[0] == 3_217_788
    assert counts[1] > 4 * counts[0]
    assert counts[2] > 4 * counts[1]


def test_what_is_set_itself_wins_over_the_size(tmp_path: Path) -> None:
    config = from_dict({"model": {"size": "base", "style_dim": 7, "widths": [8, 16]}}, "x").model
    assert (config.style_dim, config.widths, config.style_features) == (7, (8, 16), 256)
    (tmp_path / "c.yaml").write_text("model: {size: base, decoder_blocks: 5, content_size: 8}")
    assert load_config(tmp_path / "c.yaml").model.decoder_blocks == 5
    wins = load_config(tmp_path / "c.yaml", {"model.decoder_blocks": 6}).model
    assert (wins.decoder_blocks, wins.widths) == (6, SIZES["base"]["widths"])


def test_a_size_on_the_command_line_replaces_the_files_widths(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(to_yaml(load_config(None, {"model.style_dim": 7})))
    config = load_config(tmp_path / "c.yaml", {"model.size": "large", "model.encoder_blocks": 3}).model
    expected = {**SIZES["large"], "encoder_blocks": 3}
    assert config.model_dump(include=set(SIZED)) == expected


def test_stored_settings_keep_their_meaning_if_a_size_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = load_config(None, {"model.size": "base"})
    monkeypatch.setattr(
        "sivae_translate.config.sizes.SIZES", {**SIZES, "base": {**SIZES["base"], "style_dim": 1}}
    )
    assert load_config(None, {"model.size": "base"}).model.style_dim == 1
    assert from_dict(yaml.safe_load(to_yaml(stored)), "x") == stored


def test_an_unknown_size_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'small', 'base' or 'large'"):
        load_config(None, {"model.size": "huge"})
