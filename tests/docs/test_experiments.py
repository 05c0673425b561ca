"""Experiments: complete, in order, and the index is current."""

from __future__ import annotations

import re

import pytest

from assets.make_docs import (
    EXPERIMENTS,
    FIELDS,
    TOPICS,
    Experiment,
    experiment_text,
    experiments,
    folded,
    index_text,
    with_links,
)


def test_the_index_is_current() -> None:
    written = (EXPERIMENTS / "index.md").read_text(encoding="utf-8")
    assert written == index_text(), "run: python assets/make_docs.py"


def test_numbers_have_no_gap() -> None:
    numbers = [experiment.meta["number"] for experiment in experiments()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("experiment", experiments(), ids=lambda experiment: experiment.name)
def test_an_experiment_is_complete(experiment: Experiment) -> None:
    meta = experiment.meta
    assert [key for key in meta if key != "expected"] == list(FIELDS)
    assert meta["topic"] in TOPICS
    assert experiment.name.startswith(f"{meta['number']:03d}-")
    for key in ("command", "result"):
        assert isinstance(meta[key], list)
    lines = [meta[key] for key in FIELDS if key not in ("number", "seed", "command", "result")]
    assert all(isinstance(line, str) and line for line in [*lines, *meta["command"], *meta["result"]])


def test_a_page_shows_everything_that_the_front_matter_says() -> None:
    one = experiments()[0]
    page = re.sub(r"\s+", " ", experiment_text(one.meta, one.body))
    for key in ("question", "expected", "machine", "conclusion"):
        assert one.meta[key] in page
    assert all(line in page for line in one.meta["result"])
    assert all(command in page.replace(" \\ ", " ") for command in one.meta["command"])


def test_long_commands_are_folded_and_remarks_are_comments() -> None:
    options = [f"--option-{number} {number}" for number in range(9)]
    lines = folded(f"sivae-translate train {' '.join(options)} (as it was then)")
    assert max(map(len, lines)) <= 90
    *command, remark = lines
    assert remark == "# as it was then"
    assert (
        " ".join(line.removesuffix(" \\").strip() for line in command).split()[2:]
        == " ".join(options).split()
    )


def test_an_experiment_that_is_named_is_a_link_on_the_site() -> None:
    text = "Experiment 24 and [experiment 25](x.md); experiment 999."
    linked = (
        "[Experiment 24](../experiments/024-fashion-beta-neg.md) and [experiment 25](x.md); experiment 999."
    )
    assert with_links(text, "howto/resume.md") == linked
