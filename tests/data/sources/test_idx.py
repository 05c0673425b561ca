"""Files of the idx format: round trips, damage, and the domains made of them."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sivae_translate.config import DataConfig
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources.idx import pad, read_idx
from sivae_translate.utils.errors import ConfigError, DataError


def write(path: Path, array: np.ndarray, packed: bool = False) -> None:
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if packed else data)


@pytest.fixture
def root(tmp_path: Path) -> Any:
    rng = np.random.default_rng(0)
    for split, count in (("train", 30), ("t10k", 12)):
        write(
            tmp_path / f"{split}-images-idx3-ubyte.gz",
            rng.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            packed=True,
        )
        write(tmp_path / f"{split}-labels-idx1-ubyte", (np.arange(count) % 3).astype(np.uint8))
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
def test_round_trip(tmp_path: Path, packed: Any) -> None:
    array = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write(tmp_path / "x", array, packed)
    np.testing.assert_array_equal(read_idx(tmp_path / "x", 3), array)


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:6], lambda d: b"", lambda d: b"PNG" + d, lambda d: d + b"x"]
)
def test_damaged_files_are_named(tmp_path: Path, damage: Any) -> None:
    write(tmp_path / "x", np.ones((2, 3, 3), dtype=np.uint8))
    (tmp_path / "x").write_bytes(damage((tmp_path / "x").read_bytes()))
    with pytest.raises(DataError, match=str(tmp_path / "x")):
        read_idx(tmp_path / "x", 3)


def test_a_truncated_gzip_is_named(tmp_path: Path) -> None:
    write(tmp_path / "x", np.ones((2, 3, 3), dtype=np.uint8), packed=True)
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot read"):
        read_idx(tmp_path / "x", 3)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
def test_files_of_another_rank_are_named(root: Path, name: str, packed: bool) -> None:
    (root / "train-images-idx3-ubyte.gz").rename(root / "train-images-idx3-ubyte")
    write(root / name, np.ones((30, 4) if "labels" in name else 30, np.uint8), packed)
    with pytest.raises(DataError, match=rf"{name} is not a [13]-dimensional idx file"):
        load_data(DataConfig(name="idx", root=root, image_size=32, channels=1))


def test_a_file_that_unpacks_to_more_than_its_header_says_is_read_no_further(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", 1, 2, 2)
    (tmp_path / "x").write_bytes(gzip.compress(header + bytes(50_000_000), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match="its header says 4 bytes"):
        read_idx(tmp_path / "x", 3)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    (tmp_path / "x").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**31] * 3)))
    with pytest.raises(DataError, match="unpacks to"):
        read_idx(tmp_path / "x", 3)


def test_padding_centres_on_black() -> None:
    padded = pad(np.full((1, 28, 28), 9, dtype=np.uint8), 32)
    assert padded.shape == (1, 32, 32)
    assert padded[0, 2:30, 2:30].min() == 9
    assert padded.sum() == 9 * 28 * 28
    with pytest.raises(DataError, match="do not fit"):
        pad(np.zeros((1, 40, 40), dtype=np.uint8), 32)


def test_classes_become_domains_and_without_labels_one(root: Path) -> None:
    data = load_data(DataConfig(name="idx", root=root, image_size=32, channels=1))
    assert data.domains == ("0", "1", "2")
    assert [len(source) for source in data.train] == [10, 10, 10]
    assert [len(source) for source in data.test] == [4, 4, 4]
    assert data.truth is None
    assert data.train[0][0].shape == (32, 32, 1)
    plain = load_data(DataConfig(name="idx", root=root, image_size=32, channels=3, labels=False))
    assert len(plain.domains) == 1
    assert len(plain.train[0]) == 30
    assert plain.train[0][0].shape == (32, 32, 3)


def test_missing_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        load_data(DataConfig(name="idx", root=tmp_path, image_size=32, channels=1))
    with pytest.raises(ConfigError, match="--data FOLDER"):
        load_data(DataConfig(name="idx", image_size=32))
