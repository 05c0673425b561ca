"""Decoded images are kept: a second start reads pixels, not image files, and notices what has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data import cache, domains
from sivae_translate.data.cache import decode


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(cache, "WORTH_KEEPING", 10)
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{index:02}.png" for index in range(12)]
    for index, path in enumerate(paths):
        Image.new("L", (40, 40), 20 * index).save(path)
    paths[5].write_bytes(b"no image")
    return paths


@pytest.fixture
def config(tmp_path: Path) -> Any:
    return DataConfig(image_size=32, channels=1, cache=tmp_path / "cache")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names of the files that were decoded."""
    names: list[str] = []

    def counted(path: Path, settings: DataConfig) -> np.ndarray:
        names.append(path.name)
        return domains.read(path, settings)

    monkeypatch.setattr(cache, "read", counted)
    return names


def shades(decoded: Any) -> Any:
    return (decoded.pixels[:, 0, 0, 0] // 20).tolist()


def test_a_second_start_decodes_nothing_and_gives_the_same(files: Any, config: Any, reads: Any) -> None:
    first = decode(files, config, "reading")
    assert sorted(reads) == [path.name for path in files]
    reads.clear()
    second = decode(files, config, "reading")
    assert reads == ["05.png"]
    assert isinstance(second.pixels, np.memmap)
    assert np.array_equal(first.pixels, second.pixels)
    assert first.kept == second.kept == (0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
    assert first.problems == second.problems
    assert "05.png" in second.problems[0]


def test_what_has_changed_or_is_new_is_decoded_and_what_is_gone_is_dropped(
    files: Any, config: Any, reads: Any
) -> None:
    decode(files, config, "reading")
    reads.clear()
    Image.new("L", (40, 40), 240).save(files[3])
    os.utime(files[3], ns=(1, 1))
    new = files[0].with_name("zz.png")
    Image.new("L", (40, 40), 200).save(new)
    decoded = decode([*files[1:], new], config, "reading")
    assert sorted(reads) == ["03.png", "05.png", "zz.png"]
    assert shades(decoded) == [1, 2, 12, 4, 6, 7, 8, 9, 10, 11, 10]
    reads.clear()
    assert shades(decode([*files[1:], new], config, "reading")) == shades(decoded)
    assert reads == ["05.png"]


def test_a_file_of_equal_size_and_time_is_not_taken_for_the_old_one(files: Any, config: Any) -> None:
    decode(files, config, "reading")
    before = files[3].stat()
    for other, shade in ((files[3], 240), (files[4], 220)):  # written in place, and moved into place
        target = other if shade == 240 else other.with_name("new")
        Image.new("L", (40, 40), shade).save(target, "PNG")
        target.write_bytes(target.read_bytes().ljust(before.st_size, b"\0"))
        target.replace(other)
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = other.stat()
        assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert shades(decode(files, config, "reading"))[3:5] == [12, 11]


def test_what_could_not_be_read_is_tried_again(
    files: Any, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that was missing may be there now, and the file the same."""
    decode(files, config, "reading")
    monkeypatch.setattr(cache, "read", lambda *_: np.full((32, 32, 1), 100, np.uint8))
    assert decode(files, config, "reading").problems == ()


def test_a_repaired_file_comes_back(files: Any, config: Any) -> None:
    decode(files, config, "reading")
    Image.new("L", (40, 40), 100).save(files[5])
    again = decode(files, config, "reading")
    assert again.problems == ()
    assert shades(again) == list(range(12))


def test_another_size_has_a_cache_of_its_own(files: Any, config: Any) -> None:
    decode(files, config, "reading")
    assert decode(files, config.model_copy(update={"image_size": 64}), "reading").pixels.shape == (
        11,
        64,
        64,
        1,
    )
    assert len(list(config.cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["header", "pixels", "hole", "shape", "index", "row", "keys", "list"])
def test_a_damaged_cache_is_made_anew_with_a_line(
    files: Any, config: Any, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = shades(decode(files, config, "reading"))
    (folder,) = config.cache.iterdir()
    pixels, index = folder / "pixels.npy", folder / "index.json"
    content, entries = bytearray(pixels.read_bytes()), json.loads(index.read_text())
    if damage == "header":
        pixels.write_bytes(b"\x93NUMPY")
    elif damage == "pixels":
        content[2000] ^= 1
        pixels.write_bytes(content)
    elif damage == "hole":
        pixels.write_bytes(content[:500] + bytes(len(content) - 500))
    elif damage == "shape":
        np.save(pixels, np.zeros((11, 16, 16, 1), np.uint8))
    elif damage == "row":
        entries["files"][str(files[1])][1] = 2
    elif damage == "keys":
        del entries["files"][str(files[1])]
    texts = {"index": "{", "list": "[1]", "row": json.dumps(entries), "keys": json.dumps(entries)}
    if damage in texts:
        index.write_text(texts[damage])
    capsys.readouterr()
    assert shades(decode(files, config, "reading")) == expected
    assert f"the cache {folder} is damaged and will be rebuilt" in capsys.readouterr().err
    assert isinstance(decode(files, config, "reading").pixels, np.memmap)
    assert not capsys.readouterr().err


def test_where_nothing_can_be_written_images_are_kept_in_memory(files: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = DataConfig(image_size=32, channels=1, cache=tmp_path / "file")
    assert len(decode(files, settings, "reading").kept) == 11


def test_small_sets_leave_nothing_on_disk(files: Any, config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "WORTH_KEEPING", 100)
    decode(files, config, "reading")
    assert not config.cache.exists()
