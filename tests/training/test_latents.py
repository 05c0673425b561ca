"""Runs that compute on an autoencoder's latents: kept, shared, resumed and translated with."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sivae_translate.cli import info
from sivae_translate.config import AugmentConfig, Config, DataConfig, from_dict
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.splits import split_training
from sivae_translate.data.tensors import to_tensor
from sivae_translate.inference.translator import Translator
from sivae_translate.models.autoencoder import Autoencoder, small_autoencoder
from sivae_translate.models.autoencoder_files import FILE, OWN, load_autoencoder, save_autoencoder
from sivae_translate.models.weights import load_model
from sivae_translate.training import latents
from sivae_translate.training.latents import (
    ENOUGH,
    VARIANTS,
    LatentBatches,
    edge_error,
    train_autoencoder,
)
from sivae_translate.training.launch import train
from sivae_translate.training.signals import Interrupted
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import CheckpointError, ConfigError, TrainingError
from sivae_translate.utils.tensor_files import read_metadata, read_shapes, read_tensors, write_tensors
from tests.training.conftest import MODEL, run_until_power_cut


def settings(model: Any = (), objective: Any = (), **training: Any) -> Config:
    return from_dict(
        {
            "data": {"image_size": 32, "channels": 3},
            "model": {**MODEL, "content_size": 4, "autoencoder": OWN, **dict(model)},
            "objective": {"introspection_from": 0.5, "back_translation_from": 0.25, **dict(objective)},
            "training": {
                "steps": 6,
                "autoencoder_steps": 3,
                "batch": 4,
                "checkpoint_every": 2,
                "picture_every": 0,
                "validation": 0.25,
                **training,
            },
        },
        "the test",
    )


@pytest.fixture(scope="module")
def coloured() -> DomainData:
    """Two domains of 12 images of 32 px: squares on a ground, in two palettes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (2, 12, 1, 1, 3)) + np.array([0, 120])[:, None, None, None, None]
    images = np.broadcast_to(images, (2, 12, 32, 32, 3)).astype(np.uint8).copy()
    images[:, :, 8:20, 8:20] = 255
    return DomainData(domains=("dark", "light"), train=tuple(map(ArrayImages, images)))


@pytest.fixture(scope="module")
def run(coloured: DomainData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an autoencoder of its own."""
    return train(settings(), tmp_path_factory.mktemp("latents") / "run", data=coloured)


def state(run: Path) -> dict[str, torch.Tensor]:
    return load_model(run / "model.safetensors").model.state_dict()


def test_the_autoencoder_is_kept_in_the_run_and_in_the_model_but_not_in_checkpoints(run: Path) -> None:
    own = load_autoencoder(run / FILE)
    inside = load_model(run / "model.safetensors").model.space
    assert isinstance(inside, Autoencoder)
    for name, value in own.state_dict().items():
        assert torch.equal(value, inside.state_dict()[name])
    checkpoints = list((run / "checkpoints").iterdir())
    assert checkpoints
    for checkpoint in checkpoints:
        names = [name for name in read_shapes(checkpoint / "weights.safetensors") if ".space." in name]
        assert {name.rpartition(".")[-1] for name in names} == {"mean", "deviation"}  # to recognise it


def test_a_translator_takes_and_gives_images(run: Path, coloured: DomainData) -> None:
    translator = Translator.from_pretrained(run, device="cpu", dtype="float32")
    images = to_tensor(np.stack([coloured.train[0][index] for index in range(3)]))
    translated = translator(images, "light", output="tensor")
    assert translated.shape == images.shape
    assert 0 <= float(translated.min()) <= float(translated.max()) <= 1
    model, space = translator.model, translator.model.space
    with torch.no_grad():
        views = space.encode(images)
        assert model.view_shape == (16, 8, 8) == views.shape[1:]
        expected = space.decode(model.draw_views(model.read(views).mean))
        assert torch.equal(model.decode(model.encode(images).mean), expected)
        style = model.prior_style(torch.ones(3, dtype=torch.long), 3)
        torch.testing.assert_close(model.translate(images, style), translated)
        assert torch.equal(model.style(images), model.encode(images).style.mean)


def test_a_resumed_run_ends_as_one_that_was_not_stopped(
    run: Path, coloured: DomainData, tmp_path: Path
) -> None:
    run_until_power_cut(Trainer(settings(), tmp_path / "run", data=coloured), 3)
    train(settings(), tmp_path / "run", data=coloured, resume=True)
    resumed = state(tmp_path / "run")
    for name, value in state(run).items():
        assert torch.equal(value, resumed[name]), name


def test_a_signal_while_the_autoencoder_trains_stops_the_run_which_can_start_again(
    run: Path, coloured: DomainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps(items: Sequence[int], _: str) -> Iterator[int]:
        yield items[0]
        os.kill(os.getpid(), signal.SIGTERM)
        yield from items[1:]

    with monkeypatch.context() as patched:
        patched.setattr(latents, "track", steps)
        with pytest.raises(Interrupted, match="before the first checkpoint") as caught:
            train(settings(), tmp_path, data=coloured)
    assert (caught.value.signum, caught.value.saved) == (signal.SIGTERM, False)
    assert not (tmp_path / FILE).exists()
    assert not (tmp_path / "checkpoints").exists()
    train(settings(), tmp_path, data=coloured, resume=True)
    assert all(torch.equal(value, state(tmp_path)[name]) for name, value in state(run).items())


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    run: Path, coloured: DomainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "checkpoint", lambda trainer: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings(), tmp_path, data=coloured)
    assert (tmp_path / FILE).exists()
    train(settings(), tmp_path, data=coloured, resume=True)
    assert all(torch.equal(value, state(tmp_path)[name]) for name, value in state(run).items())


def test_an_autoencoder_that_diverges_is_not_stored(
    coloured: DomainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "EDGES", float("nan"))
    with pytest.raises(TrainingError, match="the autoencoder diverged"):
        train(settings(), tmp_path, data=coloured)
    assert not (tmp_path / FILE).exists()


def test_minutes_that_the_autoencoder_uses_up_are_an_error(coloured: DomainData, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"took \d+ s, all of training\.minutes"):
        train(settings(steps=None, minutes=1e-4), tmp_path, data=coloured)
    assert not (tmp_path / "model.safetensors").exists()


def test_what_the_autoencoder_costs_and_achieves_is_printed(
    coloured: DomainData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(settings(steps=1), tmp_path, data=coloured)
    printed = capsys.readouterr().err
    assert "training the autoencoder: 3 steps" in printed
    assert "its mean pixel error is 0." in printed


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("deviation", torch.zeros(16, 1, 1), "not positive"),
        ("encoder.stem.weight", None, "its autoencoder: it has no tensor"),
        ("encoder.stem.weight", torch.zeros(()), "its autoencoder: 'encoder.stem.weight' has the shape"),
        ("decoder.exit.bias", torch.full((3,), float("nan")), "not finite"),
    ],
)
def test_a_model_file_with_a_damaged_autoencoder_is_one_error(
    run: Path, tmp_path: Path, name: str, value: torch.Tensor | None, reason: str
) -> None:
    tensors = read_tensors(run / "model.safetensors")
    del tensors[f"space.{name}"]
    if value is not None:
        tensors[f"space.{name}"] = value
    write_tensors(tmp_path / "model.safetensors", tensors, read_metadata(run / "model.safetensors"))
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path / "model.safetensors")


def test_info_describes_and_measures_a_model_on_latents(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert info.run(info.Info(str(run), device="cpu", dtype="float32")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "latents 16 x 8 x 8, of an autoencoder" in printed
    assert re.search(r"autoencoder [\d,]+ parameters", printed)
    assert re.search(r"training batches of 4; a step: [^;]+ GFLOP per image", printed)


def test_a_resumed_run_without_its_autoencoder_says_so(coloured: DomainData, tmp_path: Path) -> None:
    run_until_power_cut(Trainer(settings(), tmp_path / "run", data=coloured), 2)
    (tmp_path / "run" / FILE).unlink()
    with pytest.raises(CheckpointError, match=r"the autoencoder of the run in .* is missing") as caught:
        Trainer(settings(), tmp_path / "run", data=coloured, resume=True)
    assert "copy it back" in (caught.value.remedy or "")


def test_a_run_does_not_resume_with_the_autoencoder_of_another(
    coloured: DomainData, tmp_path: Path, run: Path
) -> None:
    run_until_power_cut(Trainer(settings(), tmp_path, data=coloured), 2)
    own = load_autoencoder(tmp_path / FILE)
    own.mean += 0.01
    save_autoencoder(tmp_path / FILE, own)
    with pytest.raises(CheckpointError, match="autoencoder of the run is another"):
        Trainer(settings(), tmp_path, data=coloured, resume=True)
    shutil.copy(run / FILE, tmp_path / FILE)  # that of the same settings and seed is the same
    Trainer(settings(), tmp_path, data=coloured, resume=True)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [(OWN, None, "on latents, the new run on pixels"), (None, OWN, "on pixels, the new run on latents")],
)
def test_fine_tuning_names_pixels_and_latents(
    old: str | None, new: str | None, reason: str, run: Path, coloured: DomainData, tmp_path: Path
) -> None:
    source = run
    if old is None:
        source = train(
            settings({"autoencoder": None, "content_size": 4}, steps=1), tmp_path / "p", data=coloured
        )
    with pytest.raises(CheckpointError, match=reason):
        Trainer(settings({"autoencoder": new}, fine_tune=str(source)), tmp_path / "q", data=coloured)


def test_a_run_shares_the_autoencoder_of_another(run: Path, coloured: DomainData, tmp_path: Path) -> None:
    shared = settings({"autoencoder": str(run)}, steps=2, fine_tune=str(run))
    train(shared, tmp_path / "second", data=coloured)
    first = load_autoencoder(run / FILE).state_dict()
    second = load_autoencoder(tmp_path / "second" / FILE).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert load_model(tmp_path / "second" / "model.safetensors").config.model.autoencoder == OWN
    with pytest.raises(CheckpointError, match="other latents") as caught:
        Trainer(settings(fine_tune=str(run)), tmp_path / "third", data=coloured)
    assert f"model.autoencoder to {run}" in (caught.value.remedy or "")


def test_the_average_shares_the_autoencoder_and_training_leaves_it_alone(
    coloured: DomainData, tmp_path: Path
) -> None:
    trainer = Trainer(settings(), tmp_path / "run", data=coloured)
    assert trainer.state.ema.space is trainer.state.model.space
    moved = {id(value) for value in [*trainer.state.stepper.encoders, *trainer.state.stepper.decoders]}
    assert not moved & {id(value) for value in trainer.state.model.space.parameters()}


@pytest.mark.parametrize(
    ("model", "objective", "reason"),
    [
        ({}, {"perceptual": 1.0}, "perceptual"),
        ({"kind": "published", "widths": [4, 6]}, {}, "published"),
        ({"content_size": 16}, {}, "content_size"),
    ],
)
def test_what_latents_do_not_have_is_refused(
    model: Any, objective: Any, reason: str, coloured: DomainData, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=reason):
        Trainer(settings(model, objective), tmp_path / "run", data=coloured)
    assert not (tmp_path / "run").exists()


def batches(autoencoder: Autoencoder, data: DomainData, **config: Any) -> LatentBatches:
    splits = split_training(data.train, 0.0)
    config = {"augment": AugmentConfig(flip=True), "image_size": 32, **config}
    return LatentBatches(autoencoder, nullcontext, data, DataConfig(**config), 8, 0, splits)


@pytest.fixture
def autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    made = small_autoencoder(3, 5, (4, 6, 8)).eval().requires_grad_(False)
    made.fit_statistics(made.latents(torch.rand(8, 3, 32, 32)))
    return made


@pytest.mark.parametrize(
    ("flip", "room", "most"), [(False, 10, 24), (True, 10, 24 * VARIANTS), (False, 0, 320)]
)
def test_every_image_is_encoded_once(
    flip: bool, room: int, most: int, autoencoder: Autoencoder, coloured: DomainData
) -> None:
    encoded, encode = [], autoencoder.encode
    autoencoder.encode = lambda images: encoded.append(len(images)) or encode(images)  # type: ignore[func-returns-value, method-assign]
    made = batches(autoencoder, coloured, augment=AugmentConfig(flip=flip), cache_megabytes=room)
    first = [made[step] for step in range(40)]
    assert set(encoded) == {1}
    assert most - 10 <= len(encoded) <= most  # some copies may not have been drawn yet
    again = [made[step] for step in range(40)]
    assert all(torch.equal(one.images, two.images) for one, two in zip(first, again, strict=True))
    assert len(encoded) <= most if room else len(encoded) == 2 * most


def test_views_are_those_of_the_images(autoencoder: Autoencoder, coloured: DomainData) -> None:
    made = batches(autoencoder, coloured, augment=AugmentConfig())
    batch, pixels = made[3], made.images(8)
    rng = np.random.default_rng((0, 3))
    order = np.sort(np.resize(rng.permutation(np.arange(2)), 8))
    chosen = []
    for domain in order:
        chosen.append(coloured.train[domain][int(rng.choice(made.train[domain]))])
        rng.integers(1)
    expected = autoencoder.encode(to_tensor(np.stack(chosen)))
    torch.testing.assert_close(batch.images, expected, atol=1e-3, rtol=0)
    assert pixels[3].images.shape == (8, 3, 32, 32)


def test_large_sets_have_fewer_copies(autoencoder: Autoencoder) -> None:
    image = np.zeros((ENOUGH // 4, 32, 32, 3), np.uint8)
    data = DomainData(domains=("a", "b"), train=(ArrayImages(image), ArrayImages(image)))
    assert batches(autoencoder, data).variants == 2


def test_an_autoencoder_learns_what_its_linear_path_leaves_out(coloured: DomainData) -> None:
    torch.manual_seed(0)
    fresh = small_autoencoder(3, 4, (8, 8, 8))
    images = to_tensor(np.stack([source[index] for source in coloured.train for index in range(0, 12, 3)]))
    before = train_autoencoder(fresh, lambda step: images, 1, nullcontext)
    train_autoencoder(fresh, lambda step: images, 60, nullcontext)
    rebuilt = fresh.rebuilt(fresh.latents(images))
    assert not rebuilt.requires_grad
    assert float((rebuilt - images).abs().mean()) < 0.6 * before


def test_edges_are_compared_at_three_scales() -> None:
    images = torch.zeros(1, 1, 8, 8)
    shifted = images + 0.3
    assert float(edge_error(shifted, images)) == pytest.approx(0, abs=1e-6)
    step = torch.zeros(1, 1, 8, 8)
    step[..., 4:] = 1.0
    # One of 7, 3 and 1 differences along a row is 1, at the three scales; none along a column.
    assert float(edge_error(step, images)) == pytest.approx(1 / 7 + 1 / 3 + 1)
