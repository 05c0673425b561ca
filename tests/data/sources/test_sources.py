"""Every data set keeps the contract of `Source`; anyone can add one; `DomainData.of` takes any images."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sivae_translate
from sivae_translate.config import DataConfig
from sivae_translate.data import sources
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.loading import at_root, load_data
from sivae_translate.data.sources import Source, get_source, register_source, source_names
from sivae_translate.utils.errors import ConfigError, DataError

BUILT_IN = ("folder", "glyphs", "glyphs-colour", "idx", "cars3d", "facades", "emoji", "digits")


class Stripes(Source):
    """A data set of the reader's own."""

    name = "stripes"
    needs_root = False

    def load(self, config: DataConfig) -> DomainData:
        """Two domains of four images."""
        image = np.zeros((4, config.image_size, config.image_size, config.channels), np.uint8)
        image[:, ::2] = 255
        return DomainData(("rows", "columns"), (ArrayImages(image), ArrayImages(image.swapaxes(1, 2))))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(sources, "_SOURCES", dict(sources._SOURCES))
    yield


def test_the_built_in_data_sets_are_known() -> None:
    assert set(BUILT_IN) <= set(source_names())


@pytest.mark.parametrize("name", BUILT_IN)
def test_each_data_set_keeps_the_contract(name: str) -> None:
    source = get_source(name)
    assert source.name == name
    assert source.style_kinds
    if source.needs_root:
        with pytest.raises(ConfigError, match=r"data\.root"):
            source.load(DataConfig(name=name))
    else:
        data = source.load(DataConfig(name=name, image_size=32))
        assert data.train[0][0].shape == data.test[0][0].shape == (32, 32, 3)
        assert len(data.train) == len(data.domains)
        assert [len(ids) for ids in data.test_ids] == [len(images) for images in data.test]
    if not source.supports_validation:
        with pytest.raises(ConfigError, match="validation_size"):
            load_data(DataConfig(name=name, root=Path(), validation_size=1))


def test_a_data_set_of_ones_own_is_loaded_by_its_name(registry: None) -> None:
    register_source(Stripes())
    data = load_data(DataConfig(name="stripes", image_size=32))
    assert data.domains == ("rows", "columns")
    assert np.array_equal(data.train[0][0].swapaxes(0, 1), data.train[1][0])
    assert at_root(DataConfig(name="stripes"), Path("mine")).name == "folder"


def test_a_name_that_is_taken_is_refused(registry: None) -> None:
    class Other(Stripes):
        name = "glyphs"

    with pytest.raises(ConfigError, match="glyphs is already Glyphs"):
        register_source(Other())


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'facades'"):
        load_data(DataConfig(name="facade", root=Path()))


def test_no_data_set_is_named_outside_its_own_file() -> None:
    package = Path(sivae_translate.__file__).parent
    names = {"cars3d", "facades", "emoji", "digits", "glyphs-colour", "idx", "doom-depth"}
    places = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in sorted(package.rglob("*.py"))
        if path.parent.name != "sources"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not places


# ---- DomainData.of


def test_images_of_any_kind_become_a_data_set(tmp_path: Path) -> None:
    pixels = np.full((40, 30, 3), 50, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "day.png")
    data = DomainData.of(
        {"day": [tmp_path / "day.png", pixels], "night": [Image.fromarray(pixels), pixels / 255]},
        config=DataConfig(image_size=32),
    )
    assert data.domains == ("day", "night")
    assert data.test == ()
    assert all(source[i].shape == (32, 32, 3) for source in data.train for i in range(2))
    assert all((source[i] == 50).all() for source in data.train for i in range(2))


def test_pairs_are_the_test_images_at_one_position() -> None:
    images = [np.full((32, 32, 3), value, np.uint8) for value in (1, 2, 3, 4)]
    data = DomainData.of(
        {"a": images, "b": images},
        {"b": images[2:], "a": images[:2]},
        config=DataConfig(image_size=32),
        pairs=True,
    )
    truth = data.truth_of((0, 1), 1)
    assert truth is not None
    assert (truth == 4).all()


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ({}, None, "no domains"),
        ({"a": 2, "b": 1}, None, "domain 'b' has 1 images"),
        ({"a": 2, "b": 2}, {"a": 2, "c": 2}, "the test domains a, c"),
        ({"a": 2, "b": 2}, {"a": 2, "b": 3}, "different numbers"),
    ],
)
def test_what_is_no_data_set_is_refused(
    train: dict[str, int], test: dict[str, int] | None, message: str
) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    images = [{name: [image] * count for name, count in (part or {}).items()} for part in (train, test)]
    with pytest.raises(DataError, match=message):
        DomainData.of(images[0], images[1] or None, pairs=True)
