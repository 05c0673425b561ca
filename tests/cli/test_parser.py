"""Options and settings from arguments: every setting with its type, its bounds and its old names."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import tyro

from sivae_translate.cli.app import COMMANDS, GROUPS, WITH_SETTINGS, main, overview, parse
from sivae_translate.cli.messages import explained
from sivae_translate.cli.parser import FIRST
from sivae_translate.cli.settings import listing
from sivae_translate.config import (
    OLD_NAMES,
    Config,
    DataConfig,
    ModelConfig,
    ObjectiveConfig,
    RampConfig,
    TrainingConfig,
    field_names,
    load_config,
)
from sivae_translate.utils.errors import ConfigError


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What help prints."""
    with pytest.raises(SystemExit) as stop:
        parse([*arguments, "--help"])
    assert not stop.value.code
    return capsys.readouterr().out


def group(text: str, title: str) -> str:
    """A group of a help text, from its title to its end."""
    return re.split(r"\n +\n", re.split(rf"^ {title} +$", text, flags=re.MULTILINE)[1])[0]


def test_settings_have_their_types() -> None:
    ramp = "[{name: beta_rec, start: 0.1, end: 1, until: 0.5}]"
    given = [
        *("--data.labels", "false", "--data.root=pictures", "--model.widths", "8", "16"),
        *("--model.style-widths", "[16, 8]", "--training.steps", "100", "--objective.beta-kl", "0.5"),
        *("--objective.beta_neg", "none", "--objective.margin", "null", "--objective.ramps", ramp),
        *("--training.learning-rate", "4e-4", "--data.image_size", "28", "--training.device", "cuda:1"),
    ]
    options, settings = parse(["train", "glyphs", *given])
    assert options.config == Path("glyphs")
    config = load_config(None, settings)
    assert config.data == DataConfig(labels=False, root=Path("pictures"), image_size=28)
    assert config.model == ModelConfig(widths=(8, 16), style_widths=(16, 8))
    assert config.training == TrainingConfig(steps=100, learning_rate=4e-4, device="cuda:1")
    ramps = (RampConfig(name="beta_rec", start=0.1, end=1, until=0.5),)
    assert config.objective == ObjectiveConfig(beta_kl=0.5, beta_neg=None, ramps=ramps)
    assert len(settings) == 12


def test_only_what_is_named_replaces_the_file() -> None:
    arguments = ["train", "glyphs", "--training.seed", "0", "--data.labels", "true", "--out", "model.widths"]
    _, settings = parse(arguments)
    assert settings == {"training.seed": 0, "data.labels": True}
    assert load_config(None, settings) == Config()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text, (kind, _) = help_of(capsys, command), COMMANDS[command]
    assert f"usage: sivae-translate {command}" in text
    marked = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if tyro.conf.Positional in get_args(marked[field.name]):
            word = {"inputs": "IN", "runs": "RUN"}.get(field.name, field.name.upper())
            assert word in group(text, "positional arguments")
        else:
            name = {"outside": "out", "inside": "in"}.get(field.name, field.name).replace("_", "-")
            assert f"--{name}" in text or f"--no-{name}" in text


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_help_names_every_setting(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, command)
    missing = [name for name, _ in field_names() if f"--{name.replace('_', '-')} " not in text]
    assert not missing
    for section, info in Config.model_fields.items():
        assert str(info.annotation.__doc__).split(".")[0][:60] in group(text, f"{section} options")


def test_help_begins_with_the_settings_that_most_people_change(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys, "train")
    first = group(text, "common options")
    assert re.findall(r"^ *--([a-z]\S+)", first, re.MULTILINE) == [name.replace("_", "-") for name in FIRST]
    assert text.index("common options") < text.index("data options")
    assert all(text.count(f"  --{name.replace('_', '-')} ") == 1 for name in FIRST)


def test_help_shows_the_defaults_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of(capsys, "train", "fashion", "--training.batch", "48").split())
    assert "--model.widths INT [INT ...]" in text
    assert "(default: 32 96)" in text and "(default: idx)" in text and "(default: 48)" in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_settings(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sivae_translate.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["--completion", shell])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert all(word in text for word in ("--objective.beta-neg", *COMMANDS))


@pytest.mark.parametrize(
    "arguments", [["--objective.name", "vae"], ["--objective.name=vae"], ["--objective.name", "elbo"]]
)
def test_old_values_are_understood(arguments: list[str]) -> None:
    _, settings = parse(["train", *arguments, "--objective.ramps", "[{name: back, start: 0, end: 1}]"])
    objective = load_config(None, settings).objective
    assert (objective.name, objective.ramps[0].name) == ("elbo", "back_translation")


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
    ("line", "what", "remedy"),
    [
        (
            "train --training.stepz 3",
            "there is no option '--training.stepz'",
            "did you mean --training.steps?",
        ),
        ("train --steps 3", "there is no option '--steps'", "did you mean --training.steps?"),
        ("train --batch_size 3", "there is no option '--batch_size'", "did you mean --training.batch?"),
        ("train --trainin.lerning-rate 1", "there is no option", "did you mean --training.learning-rate?"),
        ("train --fast", "there is no option '--fast'", "see sivae-translate train --help"),
        ("translate a b --too dogs --out c", "there is no option '--too'", "did you mean --to?"),
        ("ood glyphs --ouut x", "there is no option '--ouut'", "did you mean --out?"),
        ("info glyphs --training.steps 3", "there is no option '--training.steps'", "info --help"),
        ("train --training.steps", "--training.steps has no value", "train --help"),
        ("train --model.widths", "--model.widths has no value", "train --help"),
        ("train glyphs stray", "unexpected argument: stray", "train --help"),
        ("translate glyphs", "--out is missing", "translate --help"),
        ("evaluate", "RUN is missing", "evaluate --help"),
        ("evaluate --quickly", "there is no option '--quickly'", "evaluate --help"),
        ("interpolate glyphs", "A, B, --out are missing", "interpolate --help"),
        ("evaluate glyphs --seed x", "--seed: 'x' is not a whole number", "evaluate --help"),
        ("evaluate glyphs --limit x", "--limit: 'x' is not a whole number", "evaluate --help"),
        ("demo --minutes x", "--minutes: 'x' is not a number", "demo --help"),
        (
            "evaluate glyphs --style no",
            "--style: 'no' is not one of 'domain', 'reference'",
            "evaluate --help",
        ),
        ("train --data.image-size 33", "'33' is not one of '28', '32', '64', '128', '256'", "train --help"),
        ("train --data.labels perhaps", "--data.labels: 'perhaps' is not one of 'true', 'false'", "--help"),
        (
            "train --training.steps many",
            "settings: training.steps: Input should be a valid integer",
            "settings",
        ),
        (
            "train --training.steps 0",
            "training.steps: Input should be greater than or equal to 1",
            "settings",
        ),
        (
            "train --training.steps 3 --training.minutes 4",
            "training: steps and minutes are both set",
            "settings",
        ),
        ("train --model.widths 8 a", "model.widths.1: Input should be a valid integer", "settings"),
        ("train --model.widths [8", "--model.widths: '[8' is not YAML", "train --help"),
        (
            "train --objective.ramps '[{name: no, start: 0, end: 1}]'",
            "objective.ramps.0.name: Input",
            "settings",
        ),
        ("train --objective.ramps '[{start: 0, end: 1}]'", "objective.ramps.0.name is missing", "settings"),
    ],
)
def test_mistakes_are_explained_in_a_line(line: str, what: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(shlex.split(line))
    assert what in error.value.what
    assert "\n" not in error.value.what
    assert remedy in error.value.remedy


def test_words_of_another_form_are_passed_on() -> None:
    assert explained("nothing fits", [], "sivae-translate train", []).what == "nothing fits"
    assert explained(" Odd \n ---- \n  Words\n  of it.\n\n", [], "x", []).what == "Words of it."


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


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("True", True), ("yes", True), ("1", True), ("FALSE", False), ("no", False)],
)
def test_true_and_false_have_the_spellings_that_people_try(word: str, value: bool) -> None:
    for arguments in (["--data.labels", word], [f"--data.labels={word}"]):
        assert parse(["train", *arguments])[1] == {"data.labels": value}


def test_a_number_stays_a_number_where_no_truth_value_is_expected() -> None:
    assert parse(["train", "--training.seed", "1", "--training.warmup-steps=0"])[1] == {
        "training.seed": 1,
        "training.warmup_steps": 0,
    }


def test_an_unknown_shell_is_an_error_that_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--completion", "powershell"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: there is no completion for 'powershell'\n  remedy: choose bash, zsh, fish\n"
    )


def test_settings_are_listed_by_section_and_the_first_ones_before_all_others() -> None:
    lines = list(listing(80))
    assert all(any(line.startswith(f"{section}: ") for line in lines) for section in Config.model_fields)
    names = [line.strip() for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert names == [*FIRST, *(name for name, _ in field_names())]
    assert max(map(len, lines)) <= 80
