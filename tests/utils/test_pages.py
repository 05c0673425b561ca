"""Pages of results: self-contained, escaped, in pages; read as a browser would."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sivae_translate.utils import pages
from sivae_translate.utils.pages import Entry, write_pages


class Page(HTMLParser):
    """The rows, pictures, links and tags of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "img":
            self.images.append(values)
        elif tag == "a":
            self.links.append(values["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()


def decoded(image: dict[str, str | None]) -> Image.Image:
    head, _, data = (image["src"] or "").partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


RED = Image.new("RGB", (8, 8), "red")


def test_a_page_shows_pictures_numbers_and_verdicts(tmp_path: Path) -> None:
    entries = [
        Entry("a", {"source": RED, "translation": RED}, {"LPIPS": 0.123456}, "percentile 99.5", 99.5, True),
        Entry("b", {"source": RED}, {"gain": -1.0}),
    ]
    (path,) = write_pages(tmp_path / "page.html", "a title", entries, 2, ["two rows"])
    page = Page(path)
    assert page.rows[0] == ["source", "translation", "name", "LPIPS", "gain", "verdict"]
    assert page.rows[1] == ["", "", "a", "0.1235", "", "percentile 99.5"]
    assert page.rows[2] == ["", "-", "b", "", "-1", ""]
    assert decoded(page.images[0]).getpixel((3, 3)) == (255, 0, 0)  # without loss
    text = path.read_text()
    assert 'class="unusual"' in text
    assert "two rows" in text
    assert "http" not in text.replace("http-equiv", "")  # nothing is fetched


def test_names_are_only_text(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'&\udce9\n"
    (path,) = write_pages(tmp_path / "p.html", name, [Entry(name, {"source": RED}, {}, name)], 1, [name])
    page = Page(path)
    assert len(page.images) == 1
    assert page.rows[1][1] == "<img src=x onerror=alert(1)>\"'&\\xe9\\x0a"
    assert "onerror" not in str(page.images[0].keys())


def test_many_entries_are_in_pages_that_link_to_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    (tmp_path / "all-3.html").write_text("somebody's own page")
    (tmp_path / "all-4.html").write_bytes(pages.GENERATOR)
    paths = write_pages(tmp_path / "all.html", "t", (Entry(str(n), {"source": RED}) for n in range(4)), 4)
    assert [path.name for path in paths] == ["all.html", "all-2.html"]
    assert [row[1] for row in Page(paths[1]).rows[1:]] == ["2", "3"]
    assert Page(paths[0]).links == ["all-2.html"]
    assert Page(paths[1]).links == ["all.html"]
    assert (tmp_path / "all-3.html").exists()
    assert not (tmp_path / "all-4.html").exists()  # of an earlier call with more of them


def test_large_pictures_are_reduced_and_none_is_no_error(tmp_path: Path) -> None:
    large = Entry("large", {"source": Image.new("CMYK", (900, 300))})
    (path,) = write_pages(tmp_path / "p.html", "t", [large], 1)
    assert decoded(Page(path).images[0]).size == (256, 85)
    (empty,) = write_pages(tmp_path / "q.html", "t", [], 0)
    assert Page(empty).images == []
