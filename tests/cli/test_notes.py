"""Warnings on the command line."""

from __future__ import annotations

import warnings

import pytest

from sivae_translate.cli.notes import brief_warnings
from sivae_translate.data.colour import IgnoredProfileWarning


def test_warnings_are_a_line_each_and_the_first_few_only(capsys: pytest.CaptureFixture[str]) -> None:
    with brief_warnings():
        for index in range(9):
            warnings.warn(f"{index}[1].png: ignored", IgnoredProfileWarning, stacklevel=1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        *(f"{index}[1].png: ignored" for index in range(5)),
        "further warnings are not shown",
    ]


def test_warnings_of_others_are_left_alone() -> None:
    with pytest.warns(UserWarning, match="theirs"), brief_warnings():
        warnings.warn("theirs", UserWarning, stacklevel=1)
