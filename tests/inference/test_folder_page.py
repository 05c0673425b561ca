"""The page of a translated folder, as the command writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sivae_translate.cli.app import main
from tests.utils.test_pages import Page


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(one) for one in arguments])
    return int(stop.value.code or 0)


def test_a_page_has_every_source_and_translation(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    command = ("translate", tiny_run, folder, "--to", "dogs", "--out", tmp_path / "out", "--html")
    for _ in range(2):  # the second call translates nothing, and its page is the same
        assert call(*command, tmp_path / "page.html") == 1  # one file is broken
        page = Page(tmp_path / "page.html")
        assert [row[2] for row in page.rows[1:]] == [
            str(folder / name) for name in ("a.png", "b.png", "deep/c.png", "deep/er/d.png")
        ]
        assert len(page.images) == 8
    assert "1 sources could not be read" in (tmp_path / "page.html").read_text()


def test_a_page_is_named_like_one(tiny_run: Path, folder: Path, tmp_path: Path) -> None:
    assert (
        call("translate", tiny_run, folder, "--to", "dogs", "--out", tmp_path / "o", "--html", "p.png") == 2
    )
    assert not (tmp_path / "o").exists()
