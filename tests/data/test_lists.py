"""Data sets that are a list or a zip file."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sivae_translate.config import load_config
from sivae_translate.data.folders import find_domains
from sivae_translate.data.layouts import UNLABELLED
from sivae_translate.data.loading import load_data
from sivae_translate.utils.errors import DataError

ROWS = [
    {"path": f"{domain}/{index}.png", "domain": domain, "split": split, "pair": f"scene {index}"}
    for domain in ("day", "night")
    for index, split in enumerate(["train", "train", "test", "test"])
]


def images(root: Path) -> None:
    for index, row in enumerate(ROWS):
        (root / row["path"]).parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 20 * index, np.uint8)).save(root / row["path"])


def write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = tuple(ROWS[0])) -> Path:
    if path.suffix == ".jsonl":
        lines = [json.dumps({name: row[name] for name in columns}) for row in rows]
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(columns), *(mark.join(row[name] for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig" if path.suffix == ".csv" else "utf-8")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_list_says_domain_split_and_pair(tmp_path: Path, suffix: str) -> None:
    images(tmp_path)
    found = find_domains(write(tmp_path / f"list{suffix}", ROWS))
    assert {name: [*files.values()] for name, files in found.train.items()} == {
        "day": [tmp_path / "day/0.png", tmp_path / "day/1.png"],
        "night": [tmp_path / "night/0.png", tmp_path / "night/1.png"],
    }
    assert [*found.test["night"]] == ["scene 2.png", "scene 3.png"]


def test_a_list_is_loaded_as_folders_are(tmp_path: Path) -> None:
    images(tmp_path)
    place = write(tmp_path / "list.csv", ROWS)
    given = {"data.root": str(place), "data.image_size": 28, "data.pairs": True}
    data = load_data(load_config(None, given).data)
    assert data.domains == ("day", "night")
    assert data.test_ids == (("scene 2", "scene 3"),) * 2
    assert data.truth is not None
    assert int(data.test[1][1].max()) == 20 * 7


def test_paths_alone_are_unlabelled_and_all_of_them_can_be_tests(tmp_path: Path) -> None:
    images(tmp_path)
    place = write(tmp_path / "list.csv", ROWS, ("path",))
    assert list(find_domains(place).train) == [UNLABELLED]
    assert len(find_domains(place).train[UNLABELLED]) == 8
    assert len(find_domains(place, for_tests=True).test[UNLABELLED]) == 8


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,domain", "a.png,day"], "does not name a column path"),
        (["path,domain", ",day"], "line 2 has no path"),
        (["path,domain", "a.png,day", "b.png,"], "line 3 has no domain"),
        (["path,split", "a.png,trian"], "there is no split 'trian'"),
        (["path,domain", "a.png,day", "a.png,day"], r"repeats a\.png"),
        (["path,domain", "a.png,day"], "domain 'day' has only 1 image"),
    ],
)
def test_mistakes_in_a_list_are_explained(tmp_path: Path, lines: list[str], message: str) -> None:
    (tmp_path / "list.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        find_domains(tmp_path / "list.csv")


@pytest.mark.parametrize("names", ["Path,Domain", " path, DOMAIN "])
def test_columns_are_known_in_any_case_and_with_blanks(tmp_path: Path, names: str) -> None:
    images(tmp_path)
    rows = [(f"{domain}/{index}.png", domain) for domain in ("day", "night") for index in range(2)]
    place = tmp_path / "list.csv"
    place.write_text("\n".join([names, *map(",".join, rows)]))
    assert [*find_domains(place).train] == ["day", "night"]
    place = tmp_path / "list.jsonl"
    place.write_text("\n".join(json.dumps({"Path": path, "Domain": domain}) for path, domain in rows))
    assert [*find_domains(place).train] == ["day", "night"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,class\nday/0.png,day\n", "names a column class, and none domain"),
        ("path,domain,Subset\nday/0.png,day,test\n", "names a column subset, and none split"),
        ("path,domain\nday/0.png,day\n./day/0.png,day\n", "line 3 repeats ./day/0.png"),
        ("path,domain\nday/0.png,day\nday/../day/0.png,day\n", "line 3 repeats"),
        ("path,domain,split\nday/0.png,day,train\nday/0.png,day,test\n", "line 3 repeats"),
        ('path,domain\n"day/0.png,day\nday/1.png,day\n', "unexpected end of data"),
        ("path,domain\n", "lists no images"),
    ],
)
def test_lists_that_would_mean_something_else_are_refused(tmp_path: Path, text: str, message: str) -> None:
    images(tmp_path)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        find_domains(tmp_path / "list.csv")


def test_lines_that_are_no_objects_are_explained(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"path": "a.png"}\n["b.png"]\n')
    with pytest.raises(DataError, match="line 2 is no JSON object"):
        find_domains(tmp_path / "list.jsonl")
    (tmp_path / "list.jsonl").write_text('{"path": ["a.png"]}\n')
    with pytest.raises(DataError, match="path is not a text"):
        find_domains(tmp_path / "list.jsonl")


@pytest.mark.parametrize("prefix", ["", "photos/"])
def test_a_zip_file_is_unpacked_once(tmp_path: Path, prefix: str) -> None:
    images(tmp_path)
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for row in ROWS:
            archive.write(tmp_path / row["path"], f"{prefix}{row['split']}/{row['path']}")
        archive.writestr(f"{prefix}notes.txt", "no image")
        archive.writestr("__MACOSX/1.png", "no image")
    found = find_domains(tmp_path / "data.zip", cache=tmp_path / "cache")
    assert {name: [*files] for name, files in found.train.items()} == {
        "day": ["0.png", "1.png"],
        "night": ["0.png", "1.png"],
    }
    assert found.test["day"]["3.png"].read_bytes() == (tmp_path / "day/3.png").read_bytes()
    stamps = [path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")]
    find_domains(tmp_path / "data.zip", cache=tmp_path / "cache")
    assert [path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.png")] == stamps
    os.utime(tmp_path / "data.zip", (0, 0))
    find_domains(tmp_path / "data.zip", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache/unpacked").iterdir())) == 2


def test_zip_files_that_are_damaged_or_lead_outside_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"cannot read .*broken\.zip"):
        find_domains(tmp_path / "broken.zip", cache=tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "outside.zip", "w") as archive:
        archive.writestr("../b.png", "no image")
        archive.writestr("/tmp/a.png", "no image")
    with pytest.raises(DataError, match=r"has a member /tmp/a\.png"):
        find_domains(tmp_path / "outside.zip", cache=tmp_path / "cache")
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))
