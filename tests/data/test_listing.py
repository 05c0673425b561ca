"""Which image files a folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sivae_translate.data.listing import images_below, left_out, list_images
from sivae_translate.utils.errors import DataError


def make(root: Path, *names: Any) -> Any:
    """Empty files; listing does not open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_list_images_keeps_sub_folders_and_the_order_of_inputs(tmp_path: Path) -> None:
    make(tmp_path, "in/b.png", "in/sub/a.png", "in/sub/.hidden.png", "in/notes.txt", "single.JFIF")
    listed = list_images([tmp_path / "single.JFIF", tmp_path / "in"])
    assert listed == [
        (tmp_path / "single.JFIF", Path("single.JFIF")),
        (tmp_path / "in/b.png", Path("b.png")),
        (tmp_path / "in/sub/a.png", Path("sub/a.png")),
    ]


def test_list_images_refuses_two_sources_of_one_output(tmp_path: Path) -> None:
    make(tmp_path, "one/sub/a.png", "two/sub/a.png")
    with pytest.raises(DataError) as caught:
        list_images([tmp_path / "one", tmp_path / "two"])
    for name in ("one/sub/a.png", "two/sub/a.png"):
        assert str(tmp_path / name) in caught.value.what


@pytest.mark.parametrize(
    ("name", "message"), [("missing", "no file or folder .*missing"), ("texts", r"no image in .*1 \.txt")]
)
def test_list_images_refuses_missing_inputs_and_folders_without_images(
    name: str, message: str, tmp_path: Path
) -> None:
    make(tmp_path, "texts/a.txt")
    with pytest.raises(DataError, match=message):
        list_images([tmp_path / name])


def names(folder: Path) -> list[str]:
    assert all(path == folder / name for name, path in images_below(folder).items())
    return list(images_below(folder))


def test_links_in_a_circle_give_each_real_folder_once(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/b/2.png", "c/3.png")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "b" / "self").symlink_to(tmp_path / "a" / "b" / "self")
    (tmp_path / "a" / "one").symlink_to(tmp_path / "c")
    (tmp_path / "c" / "two").symlink_to(tmp_path / "a" / "b")
    assert names(tmp_path / "a") == ["1.png", "b/2.png", "one/3.png"]
    assert names(tmp_path) == ["a/1.png", "a/b/2.png", "a/one/3.png"]


def test_a_link_upwards_does_not_give_a_folder_its_neighbours(tmp_path: Path) -> None:
    make(tmp_path, "day/1.png", "night/2.png")
    (tmp_path / "day" / "all").symlink_to(tmp_path)
    assert names(tmp_path / "day") == ["1.png"]


def test_what_an_archive_program_adds_is_no_image(tmp_path: Path) -> None:
    make(tmp_path, "1.png", "._1.png", "__MACOSX/._1.png", "__MACOSX/1.png", "sub/__MACOSX/x/2.png")
    assert names(tmp_path) == ["1.png"]


def test_what_is_no_image_is_counted_by_ending(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.PSD", "b/3.psd", "b/4.txt", "b/plain", ".DS_Store", "a/Thumbs.db", "5.gif")
    assert left_out([tmp_path]) == "2 .psd, 1 .txt, 1 without an extension"
    assert left_out([tmp_path / "a", tmp_path / "b" / "4.txt", tmp_path / "none"]) == "1 .psd"
    make(tmp_path / "many", *(f"{index}.{ending}" for ending in "abcdefg" for index in range(2)))
    assert left_out([tmp_path / "many"]) == "2 .a, 2 .b, 2 .c, 2 .d, 2 .e, 4 others"
