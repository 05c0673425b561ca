"""The doom benchmark: what is chosen and how it is split, on a map of its own; and the game itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sivae_translate.config import DataConfig
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import doom, doom_engine, get_source
from sivae_translate.data.sources.doom_views import CLASSES, PALETTE, Pose, Thing, View, choose_views
from sivae_translate.data.sources.doom_views import is_worth_keeping as worth
from sivae_translate.utils.errors import ConfigError, DataError

SIDE = 64


def view_of(number: int, kind: str = "Imp", **changes: Any) -> View:
    """A wall over a floor and a monster: a frame that tells its number, a view that is worth keeping."""
    frame = np.full((SIDE, SIDE, 3), 60, np.uint8)
    frame[::2] = 120
    frame[:32, :32] = (number % 251, number // 251, 99)
    classes = np.full((SIDE, SIDE), CLASSES.index("wall"), np.uint8)
    classes[SIDE // 2 :] = CLASSES.index("floor")
    classes[40:50, 40:50] = CLASSES.index("monster")
    distance = np.full((SIDE, SIDE), 467.5, np.float32)  # a quarter of what can be told: half of the grey
    return View(
        **{"frame": frame, "classes": classes, "distance": distance, "shares": {kind: 0.05}, **changes}
    )


class Field:
    """A map without walls, 4,000 units wide, whose things stand in a row."""

    things = tuple(
        Thing(kind, group, 200.0 * i, 0.0)
        for i, (kind, group) in enumerate(
            [("Imp", "monster"), ("Shell", "supply"), ("Shell", "supply"), ("Tree", "plant")]
        )
    )

    def __init__(self) -> None:
        self.poses: list[Pose] = []

    def is_free(self, x: float, y: float) -> bool:
        return max(abs(x), abs(y)) < 2000

    def is_seen(self, x: float, y: float, thing: Thing) -> bool:
        return y < 0

    def look(self, pose: Pose) -> View | None:
        self.poses.append(pose)
        shares = {thing.kind: 0.05 for thing in self.things}
        return view_of(len(self.poses), shares=shares) if len(self.poses) % 3 else None


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Few views of maps of the test's own; the names of those that were opened."""
    opened: list[str] = []

    @contextmanager
    def open_map(name: str) -> Iterator[Field]:
        opened.append(name)
        yield Field()

    monkeypatch.setattr(doom_engine, "open_map", open_map)
    monkeypatch.setattr(doom, "TRAINING_VIEWS", 3)
    monkeypatch.setattr(doom, "TEST_VIEWS", 2)
    return opened


def settings(cache: Path, **changes: Any) -> DataConfig:
    return DataConfig(**{"name": "doom", "image_size": 32, "cache": cache, **changes})


def maps_of(ids: tuple[str, ...]) -> set[str]:
    return {name.split("-")[0] for name in ids}


def test_domains_see_different_maps_and_the_test_has_maps_of_its_own(rendered: Any, tmp_path: Path) -> None:
    data = load_data(settings(tmp_path))
    frames, labels = (maps_of(ids) for ids in data.train_ids)
    assert len(frames) == len(labels) == 10
    assert frames | labels == {f"map{number:02}" for number in range(1, 21)}
    assert maps_of(data.test_ids[0]) == {f"map{number:02}" for number in range(21, 31)}
    assert [len(images) for images in (*data.train, *data.test)] == [30, 30, 20, 20]
    other = load_data(settings(tmp_path, split_seed=1))
    assert maps_of(other.train_ids[0]) != frames


def test_validation_takes_maps_from_both_domains_and_leaves_the_test_alone(
    rendered: Any, tmp_path: Path
) -> None:
    whole, data = load_data(settings(tmp_path)), load_data(settings(tmp_path, validation_size=4))
    validation = maps_of(data.test_ids[0])
    for before, now in zip(whole.train_ids, data.train_ids, strict=True):
        assert maps_of(now) == maps_of(before) - validation
        assert len(maps_of(now)) == 8
    assert len(data.test_ids[0]) == 4 * 2
    pairs = get_source("doom").load_pairs(settings(tmp_path, validation_size=4))
    assert pairs.shape == (2, 16 * 3, 32, 32, 3)
    with pytest.raises(ConfigError, match="20 training maps"):
        load_data(settings(tmp_path, validation_size=11))


def test_a_test_image_is_the_same_moment_in_the_palettes_colours_or_in_grey(
    rendered: Any, tmp_path: Path
) -> None:
    data = load_data(settings(tmp_path))
    truth = data.truth_of((0, 3), 1)
    assert truth is not None
    assert truth[0, 0].tolist() == list(PALETTE["wall"])
    assert truth[31, 0].tolist() == list(PALETTE["floor"])
    assert truth[22, 22].tolist() == list(PALETTE["monster"])
    assert {tuple(c) for c in truth.reshape(-1, 3).tolist()} <= set(PALETTE.values())
    depth = load_data(settings(tmp_path, name="doom-depth"))
    assert depth.domains == ("frames", "depth")
    assert set(np.unique(depth.truth_of((0, 3), 1))) == {128}
    assert len(rendered) == 30  # label maps and depth share one cache
    assert doom.grey(np.array([0.0, 1870.0, 1e9, np.inf])).tolist() == [255, 0, 0, 0]


def test_pictures_are_made_once_and_a_damaged_cache_is_made_anew(
    rendered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = load_data(settings(tmp_path))
    rendered.clear()
    again = load_data(settings(tmp_path))
    assert rendered == []
    assert np.array_equal(again.train[0].array, first.train[0].array)  # type: ignore[attr-defined]
    damaged = next(path for path in tmp_path.rglob("map07-*/frames.npy"))
    raw = bytearray(damaged.read_bytes())
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    assert np.array_equal(load_data(settings(tmp_path)).train[0].array, first.train[0].array)  # type: ignore[attr-defined]
    assert rendered == ["map07"]
    assert "damaged" in capsys.readouterr().err
    assert set(json.loads((damaged.parent / "index.json").read_text())["checksums"]) == {
        "frames",
        "labels",
        "depth",
    }


def test_views_are_of_free_places_that_see_a_thing_and_no_two_are_nearly_the_same() -> None:
    world = Field()
    views = choose_views(world, 12, np.random.default_rng(3))
    assert len(views) == 12
    assert all(pose.y < 0 for pose in world.poses)
    again = Field()
    choose_views(again, 12, np.random.default_rng(3))
    assert again.poses == world.poses
    kept = [pose for count, pose in enumerate(world.poses, 1) if count % 3]
    for one, other in ((a, b) for i, a in enumerate(kept) for b in kept[:i]):
        turned = abs((one.angle - other.angle + 180) % 360 - 180)
        assert np.hypot(one.x - other.x, one.y - other.y) >= 64 or turned >= 40


def test_dull_views_are_left_out() -> None:
    dark, plain = np.full((SIDE, SIDE, 3), 5, np.uint8), np.full((SIDE, SIDE, 3), 90, np.uint8)
    wall = np.full((SIDE, SIDE), CLASSES.index("wall"), np.uint8)
    near = np.full((SIDE, SIDE), 30, np.float32)
    assert worth(view_of(1), "Imp")
    assert not worth(view_of(1), "Tree")
    assert not worth(view_of(1, shares={"Imp": 0.5}), "Imp")
    assert not worth(view_of(1, shares={"Imp": 0.05, "Spectre": 0.01}), "Imp")
    for changes in ({"frame": dark}, {"frame": plain}, {"classes": wall}, {"distance": near}):
        assert not worth(view_of(1, **changes), "Imp")


def test_without_vizdoom_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(DataError, match=r"sivae-translate\[doom\]"):
        load_data(settings(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(DataError, match=r"Python 3\.11 to 3\.13, and this is 3\.14"):
        load_data(settings(tmp_path))


def test_the_game_renders_the_same_pixels_twice_and_its_buffers_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("vizdoom", reason="needs the extra doom", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)

    def few() -> list[View]:
        with doom_engine.open_map("map01") as world:
            return choose_views(world, 3, np.random.default_rng(0))

    views, again = few(), few()
    assert not list(tmp_path.iterdir())
    for one, other in zip(views, again, strict=True):
        assert np.array_equal(one.frame, other.frame)
        assert np.array_equal(one.classes, other.classes)
        assert np.array_equal(one.distance, other.distance)
        assert one.frame.shape == (512, 512, 3)
        assert not (one.classes[:256] == CLASSES.index("floor")).any()
        assert not (one.classes[256:] == CLASSES.index("ceiling")).any()
        assert (one.classes >= CLASSES.index("monster")).any()
        # Along a column of floor, what is lower in the picture is nearer.
        floor = (one.classes == CLASSES.index("floor")).all(1)
        assert (np.diff(one.distance[floor], axis=0) <= 0).all()
