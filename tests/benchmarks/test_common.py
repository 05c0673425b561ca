"""One command-line helper for every script: options, settings, documented calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import ablations, generation, ood, train_step, translate
from benchmarks.common import read_options, read_options_and_settings


@dataclass(frozen=True)
class Options:
    """Of a script."""

    config: str
    data: Path | None = None
    minutes: float = 5


def test_other_arguments_are_settings() -> None:
    options, settings = read_options_and_settings(
        Options, "", ["--config", "demo", "--data", "pictures", "--training.seed", "3"]
    )
    assert options == Options("demo", Path("pictures"))
    assert settings == {"data.root": "pictures", "training.seed": 3}


def test_without_data_the_configuration_says_where_it_is() -> None:
    assert read_options_and_settings(Options, "", ["--config", "demo"]) == (Options("demo"), {})


def test_what_is_neither_is_an_error() -> None:
    with pytest.raises(SystemExit):
        read_options_and_settings(Options, "", ["--config", "demo", "nonsense"])
    with pytest.raises(SystemExit):
        read_options(Options, "", ["--config", "demo", "--seed", "3"])


def test_documented_calls_are_understood() -> None:
    grown = read_options(train_step.Options, "", ["--sides", "--growth"])
    assert (grown.sides, grown.growth) == ((), True)
    assert read_options(train_step.Options, "", ["--sides", "32", "256", "--batch", "2"]).sides == (32, 256)
    assert read_options(translate.Options, "", ["--flat", "10", "100", "--sides", "32"]).flat == (10, 100)
    crossed = read_options(ood.Options, "", ["a", "b", "--foreign", "mnist=c", "--cross"])
    assert (crossed.runs, crossed.foreign) == ((Path("a"), Path("b")), ("mnist=c",))
    assert read_options(generation.Options, "", ["--vae-ratio", "2"]).vae_ratio == 2.0
    arms, _ = read_options_and_settings(
        ablations.Options, "", ["--arms", "everything", "no LPIPS in the error"]
    )
    assert arms.arms == ("everything", "no LPIPS in the error")


def test_every_arm_can_be_named() -> None:
    names = list(ablations.ARMS)
    options, _ = read_options_and_settings(ablations.Options, "", ["--arms", *names])
    assert list(options.arms or ()) == names
    for name in train_step.CONTESTANTS:
        assert read_options(train_step.Options, "", ["--memory", name]).memory == name
