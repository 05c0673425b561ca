"""Options and settings from arguments: every setting with its type, its bounds and its old names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sivae_translate.cli.app import COMMANDS, GROUPS, WITH_SETTINGS, overview, parse
from sivae_translate.config import OLD_NAMES, Config, field_names, load_config
from sivae_translate.utils.errors import ConfigError


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said about arguments that do not fit, in one line without the frame."""
    with pytest.raises(SystemExit) as stop:
        parse([*arguments])
    assert stop.value.code == 2
    return " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_settings_have_their_types() -> None:
    given = [
        *("--data.labels", "false", "--data.root=pictures", "--model.widths", "8", "16"),
        *("--training.steps", "100", "--objective.beta-kl", "0.5", "--objective.beta_neg", "None"),
        *("--objective.ramps", "[{name: beta_rec, start: 0.1, end: 1, until: 0.5}]"),
    ]
    options, settings = parse(["train", "glyphs", *given])
    assert options.config == Path("glyphs")
    ramps = settings.pop("objective.ramps")
    assert settings == {
        "data.labels": False,
        "data.root": Path("pictures"),
        "model.widths": (8, 16),
        "training.steps": 100,
        "objective.beta_kl": 0.5,
        "objective.beta_neg": None,
    }
    assert (ramps[0].name, ramps[0].until) == ("beta_rec", 0.5)


def test_only_what_is_named_replaces_the_file() -> None:
    _, settings = parse(["train", "glyphs", "--training.seed", "0", "--data.labels", "true"])
    assert settings == {"training.seed": 0, "data.labels": True}
    assert load_config(None, settings) == Config()


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_help_names_every_setting(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    missing = [name for name, _ in field_names() if f"--{name.replace('_', '-')} " not in text]
    assert not missing


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_settings(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sivae_translate.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["--tyro-print-completion", shell])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert all(word in text for word in ("--objective.beta-neg", *COMMANDS))


@pytest.mark.parametrize("old", OLD_NAMES)
def test_old_names_are_understood(old: str) -> None:
    new = OLD_NAMES[old]
    value: Any = load_config()
    for key in new.split("."):
        value = getattr(value, key)
    word = "1" if value is None else str(value).lower()
    for name in (old, old.replace("_", "-"), new):
        _, settings = parse(["train", f"--{name}", word])
        assert list(settings) == [new]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--training.lerning-rate", "1"], "--training.learning-rate"),
        (["--training.stepz", "3"], "--training.steps"),
        (["--training.steps"], "--training.steps"),
        (["--training.steps", "many"], "invalid literal for int"),
        (["--training.steps", "0"], "greater than or equal to 1"),
        (["--data.image-size", "33"], "'28', '32', '64', '128', '256'"),
        (["--data.labels", "perhaps"], "--data.labels"),
        (["--training.steps", "3", "--training.minutes", "4"], "give one budget"),
        (["--objective.ramps", "[{name: nothing, start: 0, end: 1}]"], "--objective.ramps"),
        (["glyphs", "stray"], "stray"),
    ],
)
def test_mistakes_are_explained(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in error(capsys, "train", *arguments)


def test_commands_without_settings_refuse_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--training.steps" in error(capsys, "info", "glyphs", "--training.steps", "3")


def test_an_unknown_command_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        parse(["trian"])


def test_the_overview_lists_every_command_in_its_group() -> None:
    text = overview()
    for group, commands in GROUPS.items():
        part = text.partition(f"\n{group}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in part.splitlines()] == list(commands)
    assert max(map(len, text.splitlines())) <= 110
    assert all(kind in [options for options, _ in COMMANDS.values()] for kind in WITH_SETTINGS)
