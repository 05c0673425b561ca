"""Fine-tuning with other domains: known ones translate as before, new ones begin with their own style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate import Translator, train
from sivae_translate.cli.app import main
from sivae_translate.data.domains import ArrayImages
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.weights import load_model
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import CheckpointError
from tests.training.test_trainer import settings

SMALL = ["--model.widths", "8", "8", "8", "--model.style-widths", "8", "8", "8", "--training.batch", "4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Any) -> Path:
    return train(settings(steps=4), tmp_path_factory.mktemp("runs") / "two", data=data)


@pytest.fixture(scope="module")
def wider(data: Any) -> Any:
    """The same domains in another order, with a dark one between them."""
    dark = ArrayImages(np.random.default_rng(1).integers(0, 60, (24, 32, 32, 1), dtype=np.uint8))
    left, right = data.train
    return replace(data, domains=("right", "dusk", "left"), train=(right, dark, left))


def test_known_domains_translate_identically_before_the_first_step(
    run: Path, wider: Any, data: Any, tmp_path: Path
) -> None:
    before = load_model(run / "model.safetensors").model
    after = Trainer(settings(fine_tune=str(run)), tmp_path, data=wider).state.ema
    images = to_tensor(np.stack([data.train[0][index] for index in range(4)]))
    for name, old in (("left", 0), ("right", 1)):
        new = wider.domains.index(name)
        theirs, ours = (
            model.translate(images, model.prior_style(torch.full((4,), index), 4))
            for model, index in ((before, old), (after, new))
        )
        assert torch.equal(theirs, ours)


def test_a_new_domain_begins_with_the_style_of_its_images(run: Path, wider: Any, tmp_path: Path) -> None:
    model = Trainer(settings(fine_tune=str(run)), tmp_path, data=wider).state.model
    images = to_tensor(np.stack([wider.train[1][index] for index in range(24)]))
    expected = load_model(run / "model.safetensors").model.encode(images).style.mean.mean(0)
    torch.testing.assert_close(model.style_prior.means[1].detach(), expected)
    assert model.style_prior.means.requires_grad


def test_a_domain_that_is_gone_is_dropped_and_a_plain_start_is_an_error(
    run: Path, wider: Any, data: Any, tmp_path: Path
) -> None:
    fewer = replace(wider, domains=wider.domains[1:], train=wider.train[1:])
    Trainer(settings(fine_tune=str(run)), tmp_path / "a", data=fewer)
    alone = replace(data, domains=("",), train=data.train[:1])
    with pytest.raises(CheckpointError, match="has domains, the data has none"):
        Trainer(settings(fine_tune=str(run)), tmp_path / "b", data=alone)


def images(folder: Path, low: int) -> None:
    folder.mkdir(parents=True)
    for index, pixels in enumerate(
        np.random.default_rng(low).integers(low, 256, (8, 32, 32), dtype=np.uint8)
    ):
        Image.fromarray(pixels).save(folder / f"{index}.png")


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(one) for one in arguments])
    return int(stop.value.code or 0)


@pytest.mark.full
def test_the_command_trains_a_run_with_one_domain_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path / "data" / "day", 150)
    images(tmp_path / "data" / "night", 0)
    images(tmp_path / "dusk", 60)
    small = [*SMALL, "--data.image-size", "32", "--training.steps", "2", "--data.workers", "0"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert call("train", "--data", tmp_path / "data", "--out", first, *small) == 0
    added = ("add-domain", first, tmp_path / "dusk", "--out", second, "--training.steps", 2)
    assert call(*added) == 0
    translator = Translator.from_pretrained(second)
    assert translator.domains == ("day", "dusk", "night")
    assert translator.facts["started_from"]["model"] == "first"
    assert (second / "data" / "train" / "dusk" / "0.png").is_symlink()
    assert call("train", "--out", second, "--resume", "--training.steps", 3) == 0  # it is a run like any
    assert call(*added) == 2
    assert "exists already" in capsys.readouterr().err
    assert call("add-domain", first, tmp_path / "data" / "day", "--out", tmp_path / "third") == 2
    assert "has a domain 'day' already" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
    capsys.readouterr()
    for name in ("a/b", "day/x", "..", ".hidden", "train", "testA"):
        assert call("add-domain", first, tmp_path / "dusk", "--out", tmp_path / "third", "--name", name) == 2
        assert f"no folder of images can be called '{name}'" in capsys.readouterr().err
        assert not (tmp_path / "third").exists() or not any((tmp_path / "third").iterdir())
    for inside in ("data", "dusk"):
        assert call("add-domain", first, tmp_path / "dusk", "--out", tmp_path / inside / "new") == 2
        assert f"lies in {tmp_path / inside}" in capsys.readouterr().err.replace("\n", " ")
    assert call("align", first, "--data", tmp_path / "dusk", "--out", tmp_path / "x.safetensors") == 2
    assert "the data has none" in capsys.readouterr().err
