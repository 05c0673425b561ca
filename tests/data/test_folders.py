from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sivae_translate.config import DataConfig
from sivae_translate.data.folders import find_domains
from sivae_translate.data.layouts import UNLABELLED
from sivae_translate.data.loading import load_data
from sivae_translate.utils.errors import DataError


def make(root: Path, *names: Any) -> Any:
    """Empty files; finding does not open them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def relative(domains: Any, root: Path) -> Any:
    return {
        name: [path.relative_to(root).as_posix() for path in files.values()]
        for name, files in domains.items()
    }


def test_train_and_test_folders_of_domains(tmp_path: Path) -> None:
    make(
        tmp_path,
        "train/cat/1.png",
        "train/cat/2.jpg",
        "train/dog/1.png",
        "train/dog/2.png",
        "test/cat/8.png",
        "test/cat/9.png",
    )
    found = find_domains(tmp_path)
    assert found.root == tmp_path
    assert relative(found.train, tmp_path) == {
        "cat": ["train/cat/1.png", "train/cat/2.jpg"],
        "dog": ["train/dog/1.png", "train/dog/2.png"],
    }
    assert relative(found.test, tmp_path) == {"cat": ["test/cat/8.png", "test/cat/9.png"]}


def test_one_folder_a_domain_in_sorted_order(tmp_path: Path) -> None:
    make(tmp_path, "dog/1.png", "dog/2.png", "cat/1.png", "cat/2.png", "Ape/1.png", "Ape/2.png")
    found = find_domains(tmp_path)
    assert list(found.train) == ["Ape", "cat", "dog"]
    assert found.test == {}


def test_lettered_folders(tmp_path: Path) -> None:
    for letter in "ABC":
        make(tmp_path, f"train{letter}/1.png", f"train{letter}/2.png")
    make(tmp_path, "testA/3.png", "testA/4.png", "testB/3.png", "testB/4.png")
    found = find_domains(tmp_path)
    assert relative(found.train, tmp_path) == {
        letter: [f"train{letter}/1.png", f"train{letter}/2.png"] for letter in "ABC"
    }
    assert relative(found.test, tmp_path) == {
        letter: [f"test{letter}/3.png", f"test{letter}/4.png"] for letter in "AB"
    }


@pytest.mark.parametrize(("where", "test"), [("", False), ("train/", True)])
def test_images_without_folders_have_no_label(where: Any, test: Any, tmp_path: Path) -> None:
    make(
        tmp_path,
        f"{where}2.png",
        f"{where}1.png",
        "notes/readme.txt" if not test else "test/3.png",
        "test/4.png" if test else "x.md",
    )
    found = find_domains(tmp_path)
    assert relative(found.train, tmp_path) == {UNLABELLED: [f"{where}1.png", f"{where}2.png"]}
    assert relative(found.test, tmp_path) == ({UNLABELLED: ["test/3.png", "test/4.png"]} if test else {})


def test_a_domain_may_be_called_train(tmp_path: Path) -> None:
    make(tmp_path, "train/1.png", "train/2.png", "tram/1.png", "tram/2.png")
    assert list(find_domains(tmp_path).train) == ["train", "tram"]


def test_files_are_found_recursively_and_in_a_stable_order(tmp_path: Path) -> None:
    names = [
        "b.png",
        "a/z.png",
        "a/b/c.PNG",
        "a-1.png",
        "B.Tiff",
        "c.jpeg",
        "d.JPG",
        "e.webp",
        "f.bmp",
        "g.tif",
    ]
    make(tmp_path / "d", *names)
    assert relative(find_domains(tmp_path).train, tmp_path / "d") == {
        "d": [
            "B.Tiff",
            "a/b/c.PNG",
            "a/z.png",
            "a-1.png",
            "b.png",
            "c.jpeg",
            "d.JPG",
            "e.webp",
            "f.bmp",
            "g.tif",
        ]
    }


def test_hidden_files_folders_and_other_files_are_skipped(tmp_path: Path) -> None:
    make(
        tmp_path,
        "d/1.png",
        "d/2.png",
        "d/.3.png",
        "d/.cache/4.png",
        "d/labels.txt",
        "d/png",
        "d/.png",
        ".git/5.png",
        "d/x.psd",
    )
    assert relative(find_domains(tmp_path).train, tmp_path) == {"d": ["d/1.png", "d/2.png"]}


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "1.png", "sub/2.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "d").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "sub" / "back_translation").symlink_to(tmp_path / "elsewhere")
    assert relative(find_domains(root).train, root) == {"d": ["d/1.png", "d/sub/2.png"]}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["a.txt", "sub/b.txt", "sub/c.csv", "Makefile"],
            r"no training image in .*: its 4 files are 2 \.txt, 1 \.csv, 1 without",
        ),
        ([], "no training image in .*: it has no files"),
        (["cat/1.png", "cat/2.png", "dog/readme.txt"], "domain 'dog' has no image"),
        (["cat/1.png", "cat/2.png", "dog/1.png"], "domain 'dog' has only 1 image"),
        (["trainA/1.png", "trainA/2.png", "trainB/x.txt"], "domain 'B' has no image"),
        (["1.png"], "the folder has only 1 image"),
        (["train/cat/1.png", "train/cat/2.png", "test/cat/x.txt"], "test domain 'cat' has no image"),
        (["train/cat/1.png", "train/cat/2.png", "test/cat/3.png"], "test domain 'cat' has only 1 image"),
        (
            ["train/cat/1.png", "train/cat/2.png", "test/3.png", "test/4.png"],
            "its test images are not sorted",
        ),
        (
            ["cat/1.png", "cat/2.png", "stray.png"],
            r"both directly in it \(stray\.png, 1 in all\) and in sub-folders \(cat\)",
        ),
    ],
)
def test_an_unusable_folder_is_an_error_that_says_what_is_wrong(
    names: Any, message: str, tmp_path: Path
) -> None:
    make(tmp_path, *names)
    with pytest.raises(DataError, match=message) as caught:
        find_domains(tmp_path)
    assert str(tmp_path) in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("names", [["a.txt"], ["cat/1.png", "dog/1.png"]])
def test_errors_name_the_layouts_that_are_understood(names: Any, tmp_path: Path) -> None:
    make(tmp_path, *names)
    with pytest.raises(DataError) as caught:
        find_domains(tmp_path)
    for layout in ("FOLDER/<domain>/*", "FOLDER/train/<domain>/*", "FOLDER/trainA", "images directly"):
        assert layout in caught.value.remedy


def test_every_domain_that_is_too_small_is_named(tmp_path: Path) -> None:
    make(tmp_path, "a/1.png", "a/2.png", "b/1.png", "c/x.txt")
    with pytest.raises(DataError, match="domain 'b' has only 1 image, domain 'c' has no image"):
        find_domains(tmp_path)


def test_a_missing_folder_and_a_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        find_domains(tmp_path / "none")
    make(tmp_path, "x.txt")
    with pytest.raises(DataError, match=r"x\.txt is neither a folder"):
        find_domains(tmp_path / "x.txt")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes of this kind")
def test_files_that_are_no_images_are_noted_and_pipes_and_loops_skipped(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for index in range(2):
            Image.new("L", (8, 8)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "cats" / "labels.txt").touch()
    (tmp_path / "cats" / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "dogs" / "pipe.png")
    data = load_data(DataConfig(root=tmp_path, image_size=32))
    assert data.notes == ("skipped, not images: 1 .txt",)
    assert [len(source) for source in data.train] == [2, 2]
    assert len(data.unreadable) == 2
