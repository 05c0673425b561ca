"""Folders to data sets, and data sets to batches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.config import AugmentConfig, DataConfig
from sivae_translate.data.batches import TrainingBatches, iterate
from sivae_translate.data.domains import ArrayImages, DomainData, FileImages
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import split_training
from sivae_translate.utils.errors import ConfigError, DataError


def write(root: Path, names: Any, value: int = 0) -> None:
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 30, 3), (value + 10 * index) % 256, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Any:
    for domain, value in (("day", 0), ("night", 100)):
        write(tmp_path, [f"train/{domain}/{i}.png" for i in range(8)], value)
        write(tmp_path, [f"test/{domain}/{i}.png" for i in range(3)], value + 5)
    return tmp_path


def config(root: Path, **changes: Any) -> Any:
    return DataConfig(root=root, image_size=32, **changes)


def test_a_folder_becomes_domains_with_pairs_by_equal_names(root: Path) -> None:
    data = load_data(config(root, pairs=True))
    assert data.domains == ("day", "night")
    assert [len(source) for source in data.train] == [8, 8]
    assert data.train[0][0].shape == (32, 32, 3)
    assert data.truth is not None
    assert np.array_equal(data.truth_of((0, 1), 1), data.test[1][1])
    assert data.truth_of((0, 1), 1)[0, 0, 0] == 115


def test_equal_names_are_no_pairs_unless_asked_for(root: Path) -> None:
    data = load_data(config(root))
    assert data.truth is None
    assert data.truth_of((0, 1), 1) is None


def test_pairs_that_are_asked_for_must_have_a_common_name(root: Path) -> None:
    for index in range(3):
        (root / "test" / "night" / f"{index}.png").rename(root / "test" / "night" / f"n{index}.png")
    with pytest.raises(DataError, match="no file name is shared"):
        load_data(config(root, pairs=True))


@pytest.mark.parametrize("layout", ["test/{}", "test{}"])
def test_pairs_are_told_apart_by_their_whole_path(tmp_path: Path, layout: str) -> None:
    """Nested test folders with equal file names: copying is right only for the image at the same path."""
    for index, domain in enumerate("AB"):
        train = layout.format(domain).replace("test", "train")
        write(tmp_path, [f"{train}/{i}.png" for i in range(3)])
        test = layout.format(domain)
        write(tmp_path, [f"{test}/seq{s}/{i}.png" for s in range(2) for i in range(2)], 3 * index)
    data = load_data(config(tmp_path, pairs=True))
    assert data.test_ids[0] == ("seq0/0", "seq0/1", "seq1/0", "seq1/1")
    for index in range(4):
        truth = data.truth_of((0, index), 1)
        assert truth is not None
        assert truth[0, 0, 0] == 10 * index + 3


def test_a_name_that_belongs_to_two_test_images_is_no_pair(root: Path) -> None:
    write(root, ["test/day/1.jpg"])
    with pytest.raises(DataError, match=r"1 names .* several test images .* '1'"):
        load_data(config(root, pairs=True))
    assert load_data(config(root)).truth is None


def test_a_missing_partner_is_named_where_test_images_are_needed(root: Path) -> None:
    shutil.rmtree(root / "test" / "night")
    data = load_data(config(root))
    assert data.domains == ("day", "night")
    assert data.test == ()
    with pytest.raises(DataError, match="no test images: test/night is missing"):
        data.require_tests()
    with pytest.raises(DataError, match="test/night is missing"):
        load_data(config(root, pairs=True))


def test_for_an_evaluation_a_folder_without_splits_is_all_test(root: Path) -> None:
    data = load_data(config(root / "train", pairs=True), for_tests=True)
    assert data.test_domains == ("day", "night")
    assert data.train == ()
    assert [len(source) for source in data.test] == [8, 8]
    assert data.truth_of((0, 1), 1)[0, 0, 0] == 110
    split = load_data(config(root), for_tests=True)
    assert [len(source) for source in (*split.train, *split.test)] == [8, 8, 3, 3]


def test_without_labels_there_is_one_domain_with_all_images(root: Path) -> None:
    data = load_data(config(root, labels=False))
    assert data.domains == ("",)
    assert len(data.train[0]) == 16


def test_unreadable_images_are_skipped_and_reported_up_to_the_limit(root: Path) -> None:
    for index in range(2):
        (root / "train" / "day" / f"broken{index}.png").write_bytes(b"\x89PNG broken")
    data = load_data(config(root))
    assert len(data.train[0]) == 8
    assert len(data.unreadable) == 2
    assert all("broken" in problem for problem in data.unreadable)
    with pytest.raises(DataError, match="max_unreadable = 1"):
        load_data(config(root, max_unreadable=1))


def test_a_domain_of_broken_files_is_named(tmp_path: Path) -> None:
    write(tmp_path, ["a/0.png", "a/1.png"])
    (tmp_path / "b").mkdir()
    for name in ("0.png", "1.png"):
        (tmp_path / "b" / name).write_bytes(b"no")
    with pytest.raises(DataError, match="domain 'b'"):
        load_data(config(tmp_path))


def test_folder_data_without_a_root_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.root"):
        load_data(DataConfig())


# ---- batches


def numbered(sizes: Any = (20, 30, 40)) -> Any:
    """Every image is filled with its own number, its domain in the second channel."""
    sources = []
    for domain, size in enumerate(sizes):
        array = np.zeros((size, 8, 8, 3), np.uint8)
        array[..., 0], array[..., 1] = np.arange(size)[:, None, None], domain
        sources.append(ArrayImages(array))
    return DomainData(tuple("abcdefgh"[: len(sizes)]), train=tuple(sources))


def batches(data: Any = None, batch: int = 12, seed: int = 0, **changes: Any) -> Any:
    data = data or numbered()
    return TrainingBatches(data, DataConfig(**changes), batch, seed, split_training(data.train, 5 / 20))


def test_a_batch_depends_on_the_seed_and_the_step_alone() -> None:
    first, second = batches()[7], batches()[7]
    assert torch.equal(first.images, second.images)
    assert not torch.equal(first.images, batches()[8].images)
    assert not torch.equal(first.images, batches(seed=1)[7].images)


def test_worker_processes_change_nothing() -> None:
    changes = {"augment": AugmentConfig(rotate=20, brightness=0.3)}
    alone = [batch.images for batch in iterate(batches(**changes), 3, 6, workers=0)]
    together = [batch.images for batch in iterate(batches(**changes), 3, 6, workers=2)]
    assert len(alone) == 3
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_domains_are_balanced_whatever_their_sizes_and_labels_are_right() -> None:
    for step in range(5):
        batch = batches()[step]
        assert torch.bincount(batch.domain).tolist() == [4, 4, 4]
        assert torch.equal((batch.images[:, 1, 0, 0] * 255).round().long(), batch.domain)
        assert torch.equal(batch.domain, batch.domain.sort().values)


def test_many_domains_are_drawn_a_few_at_a_time() -> None:
    data = numbered((10,) * 8)
    seen = [torch.unique(batches(data)[step].domain) for step in range(20)]
    assert all(len(domains) == 3 for domains in seen)
    assert len(torch.unique(torch.cat(seen))) == 8


def test_what_is_held_out_is_never_drawn_and_all_else_is() -> None:
    data = numbered()
    drawn = (
        torch.cat([batches(data)[step].images[:, 0, 0, 0] for step in range(60)])
        .mul(255)
        .round()
        .reshape(60, 3, 4)
    )
    for domain, split in enumerate(split_training(data.train, 5 / 20)):
        assert set(drawn[:, domain].flatten().int().tolist()) == set(split.train.tolist())
        assert sorted([*split.train, *split.validation]) == list(range(len(data.train[domain])))


def test_held_out_images_are_a_random_choice() -> None:
    ordered = split_training(numbered((200,)).train, 0.1)[0].validation  # files lie sorted by what they show
    assert len(ordered) == 20
    assert ordered.min() < 50
    assert ordered.max() > 150
    assert abs(ordered.mean() - 99.5) < 40


@pytest.mark.parametrize(
    ("sizes", "share", "held"),
    [
        ((40, 9, 10), 0.02, [1, 0, 1]),
        ((40, 40), 0.0, [0, 0]),
        ((4000,), 0.1, [256]),
        ((1000,) * 5, 0.1, [64] * 5),
    ],
)
def test_a_share_is_held_out_one_at_least_and_not_many(sizes: Any, share: Any, held: Any) -> None:
    assert [len(split.validation) for split in split_training(numbered(sizes).train, share)] == held


def test_an_image_that_became_unreadable_is_replaced_and_reported(root: Path) -> None:
    settings = config(root, cache_megabytes=0)
    data = load_data(settings)
    assert isinstance(data.train[0], FileImages)
    for index in range(7):
        (root / "train" / "day" / f"{index}.png").write_bytes(b"gone bad")
    batch = TrainingBatches(data, settings, 4, 0, split_training(data.train, 0))[0]
    assert len(batch.images) == 4
    assert batch.unreadable
    assert all("day" in problem for problem in batch.unreadable)
