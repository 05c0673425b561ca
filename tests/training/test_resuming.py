"""A run is resumed with its own data, wherever it lies: never with other domains, never training on what it
validates on.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.config import Config, from_dict
from sivae_translate.data.domains import DomainData
from sivae_translate.models.weights import load_model
from sivae_translate.training import checkpoints
from sivae_translate.training.launch import train
from sivae_translate.training.resuming import SPLIT
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import CheckpointError
from tests.training.conftest import MODEL, run_until_power_cut

DOMAINS = ("day", "night")


def settings(root: Path, data: Any = (), **training: Any) -> Config:
    return from_dict(
        {
            "data": {"root": root, "image_size": 32, "channels": 1, **dict(data)},
            "model": MODEL,
            "objective": {"introspection_from": 0.5, "back_translation_from": 0.25},
            "training": {
                "steps": 4,
                "batch": 4,
                "checkpoint_every": 2,
                "picture_every": 0,
                "validation": 0.25,
                **training,
            },
        },
        "the test",
    )


def write(folder: Path, names: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        value = sum(map(ord, folder.name + str(name))) % 256
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(folder / f"{name}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for domain in DOMAINS:
        write(tmp_path / "images" / domain, range(20))
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path: Path, root: Path) -> Path:
    """Stopped after two of four steps."""
    run_until_power_cut(Trainer(settings(root), tmp_path / "run"), 2)
    return tmp_path / "run"


def names_of(trainer: Trainer, part: str) -> list[set[str]]:
    return [
        {names[index] for index in getattr(split, part)}
        for split, names in zip(trainer.split.splits, trainer.data.training_names, strict=True)
    ]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_model(run / "model.safetensors").model.state_dict()


def test_new_images_are_trained_on_and_validation_images_stay(root: Path, run: Path, capsys: Any) -> None:
    before = Trainer(settings(root), run, resume=True)
    write(root / "day", ["00", "zz"])
    write(root / "day" / "more", ["0"])
    after = Trainer(settings(root), run, resume=True)
    assert names_of(after, "validation") == names_of(before, "validation")
    assert names_of(after, "train")[0] == names_of(before, "train")[0] | {"00.png", "zz.png", "more/0.png"}
    after.run()
    assert "since the run stopped, 'day': 3 new images, for training" in capsys.readouterr().err
    write(root / "day", ["01"])
    again = Trainer(settings(root), run, resume=True)
    assert names_of(again, "validation") == names_of(before, "validation")
    assert list(again.split.splits[0].train[:-1]) != sorted(again.split.splits[0].train[:-1])


def test_images_that_are_gone_are_said_and_the_others_keep_their_part(
    root: Path, run: Path, capsys: Any
) -> None:
    before = Trainer(settings(root), run, resume=True)
    gone = {part: sorted(names_of(before, part)[1])[0] for part in ("train", "validation")}
    for name in gone.values():
        (root / "night" / name).unlink()
    after = Trainer(settings(root), run, resume=True)
    for part, name in gone.items():
        assert names_of(after, part) == [names_of(before, part)[0], names_of(before, part)[1] - {name}]
    after.run()
    said = capsys.readouterr().err
    assert f"1 training image is gone: {gone['train']}" in said
    assert f"1 validation image is gone: {gone['validation']}" in said


def test_other_images_under_the_same_domains_are_refused(root: Path, run: Path) -> None:
    shutil.rmtree(root / "day")
    write(root / "day", [f"other-{index}" for index in range(20)])
    with pytest.raises(CheckpointError, match=r"none of the 15 training images of 'day'") as caught:
        Trainer(settings(root), run, resume=True)
    assert "--data FOLDER" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "night").rename(root / "dusk"), r"'night' missing; 'dusk' new"),
        (lambda root: shutil.copytree(root / "night", root / "dawn"), r"\('dawn' new\)"),
        (lambda root: shutil.rmtree(root / "night"), r"\('night' missing\)"),
    ],
)
@pytest.mark.parametrize("old", [False, True])
def test_other_domains_are_refused_by_name(
    root: Path, run: Path, change: Any, message: str, old: bool
) -> None:
    if old:
        forget_data(run)
    change(root)
    with pytest.raises(CheckpointError, match=message) as caught:
        Trainer(settings(root), run, resume=True)
    assert "the run in" in caught.value.what
    assert "'day', 'night'" in caught.value.what
    assert "give the folders in --data FOLDER the names" in caught.value.remedy


def forget_data(run: Path) -> None:
    """Make a run of the first release, which stored neither domains nor images."""
    (run / SPLIT).unlink()
    for path in (run / "checkpoints").glob("*/progress.json"):
        state = json.loads(path.read_text())
        del state["domains"]
        path.write_text(json.dumps(state))


def test_a_run_of_an_earlier_version_resumes_with_the_split_of_its_data(
    root: Path, run: Path, tmp_path: Path
) -> None:
    whole = train(settings(root), tmp_path / "whole")
    forget_data(run)
    train(settings(root), run, resume=True)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(run)[name]), name
    assert (run / SPLIT).read_text() == (whole / SPLIT).read_text()
    last = checkpoints.latest(run / "checkpoints")
    assert last is not None
    assert json.loads((last / "progress.json").read_text())["domains"] == list(DOMAINS)


def test_a_moved_folder_resumes_to_the_same_weights(root: Path, run: Path, tmp_path: Path) -> None:
    whole = train(settings(root), tmp_path / "whole")
    moved = root.rename(tmp_path / "moved")
    own = {"cache": tmp_path / "cache", "cache_megabytes": 0, "workers": 1, "max_unreadable": 3}
    train(settings(moved, own), run, resume=True)
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(run)[name]), name


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("training", "max_rollbacks", 9),
        ("training", "learning_rate", 1e-4),
        ("objective", "beta_neg", 7.0),
        ("training", "batch", 2),
        ("data", "workers", 1),
        ("data", "seconds_per_file", 600.0),
    ],
)
def test_what_the_remedy_of_a_failed_training_names_can_be_changed(
    root: Path, run: Path, section: str, name: str, value: float
) -> None:
    config = settings(root)
    changed = getattr(config, section).model_copy(update={name: value})
    Trainer(config.model_copy(update={section: changed}), run, resume=True)


def test_images_in_memory_are_known_by_their_content(tmp_path: Path) -> None:
    images = {
        domain: [np.full((32, 32), 20 * index + shift, np.uint8) for index in range(12)]
        for shift, domain in enumerate(DOMAINS)
    }
    config = settings(tmp_path, steps=1)

    def trainer(resume: bool = False) -> Trainer:
        return Trainer(
            config, tmp_path / "run", data=DomainData.of(images, config=config.data), resume=resume
        )

    before = trainer()
    before.run()
    images["day"].insert(0, np.full((32, 32), 251, np.uint8))
    images["day"].reverse()
    after = trainer(resume=True)
    assert names_of(after, "validation") == names_of(before, "validation")
    assert len(names_of(after, "train")[0] - names_of(before, "train")[0]) == 1


@pytest.mark.parametrize("content", ["", "[]", '{"day": {"train": ["0.png"]}}', '{"day": 1, "night": 2}'])
def test_a_damaged_split_is_named(root: Path, run: Path, content: str) -> None:
    (run / SPLIT).write_text(content)
    with pytest.raises(CheckpointError, match=r"split\.json"):
        Trainer(settings(root), run, resume=True)


def test_file_names_of_any_bytes_are_stored(root: Path, tmp_path: Path) -> None:
    odd = b"caf\xe9 [red].png".decode("utf-8", "surrogateescape")
    (root / "day" / "0.png").rename(root / "day" / odd)
    run = train(settings(root, steps=1), tmp_path / "odd")
    resumed = Trainer(settings(root), run, resume=True)
    assert odd in set.union(*(names_of(resumed, part)[0] for part in ("train", "validation")))
    assert not resumed.split.changes


def test_a_line_before_training_counts_the_images_of_each_domain(
    root: Path, tmp_path: Path, capsys: Any
) -> None:
    write(tmp_path / "split" / "test" / "day", range(3))
    write(tmp_path / "split" / "test" / "night", range(2))
    root.rename(tmp_path / "split" / "train")
    train(settings(tmp_path / "split", steps=1), tmp_path / "run")
    line = "day: 15 training, 5 validation, 3 test; night: 15 training, 5 validation, 2 test"
    assert line in capsys.readouterr().err.splitlines()
