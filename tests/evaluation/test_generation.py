"""Plain models from training to samples, reconstructions and strips, by the command line as a user would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.cli import main
from sivae_translate.config import from_dict
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.evaluation import generation
from sivae_translate.inference.sampling import sample_files
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.models.weights import load_model
from sivae_translate.training.launch import train
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import ConfigError, InputError


def call(*arguments: Any) -> Any:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@pytest.fixture(scope="module", params=["elbo", "introvae", "soft_introvae", "bootstrap"])
def plain_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    settings = {
        "data": {"image_size": 32, "channels": 1, "labels": False},
        "model": {
            "kind": "plain",
            "latent_dim": 5,
            "widths": [4, 6, 8],
            "style_widths": [4, 4, 6],
            "style_features": 8,
        },
        "objective": {
            "name": request.param,
            "introspection_from": 0.4,
            "content_open_at": 0,
            "gamma_r": 0.5,
            "target_steps": 3,
        },
        "training": {"steps": 10, "batch": 8, "log_every": 2, "picture_every": 0, "checkpoint_every": 5},
    }
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    data = DomainData(domains=("",), train=(ArrayImages(images),))
    return train(from_dict(settings, "the test"), tmp_path_factory.mktemp(request.param) / "run", data=data)


def test_a_plain_model_trains_with_every_objective_and_shows_its_samples(plain_run: Path) -> None:
    grid = Image.open(plain_run / "grid.png")
    assert grid.width > 6 * 96
    assert Translator.from_pretrained(plain_run).model.domains == 0


def test_samples_are_files_and_repeat_by_seed(plain_run: Path, tmp_path: Path) -> None:
    assert call("sample", plain_run, "--n", 5, "--out", tmp_path / "a") == 0
    assert call("sample", plain_run, "--n", 5, "--out", tmp_path / "b") == 0
    assert call("sample", plain_run, "--n", 5, "--seed", 1, "--out", tmp_path / "c") == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [*(f"sample-{i:05d}.png" for i in range(5)), "samples.png"]
    first, again, other = (np.asarray(Image.open(tmp_path / run / "sample-00003.png")) for run in "abc")
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_reconstructions_keep_names_and_are_what_the_translator_gives(
    plain_run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        call("reconstruct", plain_run, folder, "--out", tmp_path / "out", "--grid", tmp_path / "grid.png")
        == 1
    )
    assert "broken.png" in capsys.readouterr().err
    translator = Translator.from_pretrained(plain_run)
    ours = np.asarray(Image.open(tmp_path / "out" / "deep" / "c.png").convert("L")).astype(int)
    direct = np.asarray(translator.reconstruct(folder / "deep" / "c.png").convert("L")).astype(int)
    assert np.abs(ours - direct).max() <= 2
    assert (tmp_path / "grid.png").exists()


def test_a_strip_runs_from_one_image_to_the_other(plain_run: Path, folder: Path, tmp_path: Path) -> None:
    strip = tmp_path / "strip.png"
    assert (
        call("interpolate", plain_run, folder / "a.png", folder / "b.png", "--steps", 3, "--out", strip) == 0
    )
    assert Image.open(strip).width > 3 * 64


def test_what_a_plain_model_cannot_do_is_an_error(plain_run: Path, folder: Path) -> None:
    translator = Translator.from_pretrained(plain_run)
    with pytest.raises(InputError, match="no style"):
        translator(folder / "a.png", "cats")
    with pytest.raises(InputError, match="no domains"):
        translator.sample("cats")
    with pytest.raises(InputError, match="1 or more"):
        sample_files(translator, folder, 0)


def test_samples_of_every_domain_of_a_translation_model(tiny_run: Path, tmp_path: Path) -> None:
    assert call("sample", tiny_run, "--n", 2, "--out", tmp_path) == 0
    assert sum(path.name.startswith("dogs-") for path in tmp_path.iterdir()) == 2
    assert call("sample", tiny_run, "--domain", "dgos", "--out", tmp_path) == 2


def test_samples_and_reconstructions_are_measured(
    plain_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sivae_translate.evaluation import generation

    class Means(torch.nn.Module):
        """Stands for Inception, which takes seconds an image batch: block means as features."""

        def __init__(self, device: Any) -> None:
            super().__init__()

        def forward(self, images: Any) -> Any:
            return torch.nn.functional.avg_pool2d(images, 8).flatten(1)

    monkeypatch.setattr(generation, "Inception", Means)
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for index in range(12):
            place = tmp_path / "data" / split / "things" / f"{index}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(place)
    data = ("--data", tmp_path / "data", "--out", tmp_path / "out")
    assert call("fidelity", plain_run, *data, "--images", 12) == 0
    result = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert result["texture"]["ratios"]["2-4"] > 0
    assert "of 9 numbers within 0.8 to 1.25" in (tmp_path / "out" / "generation.md").read_text()
    assert result["samples"]["images"] == 12
    assert result["samples"]["fid"] > result["floor"]["fid"]  # an untrained model is worse than other noise
    assert 0 < result["reconstruction"]["l1"]["mean"] < 1
    assert "KID" in (tmp_path / "out" / "generation.md").read_text()
    assert call("fidelity", plain_run, *data, "--images", 13) == 2
    assert "use 12 or fewer" in capsys.readouterr().err


def published(**training: Any) -> Any:
    settings = {
        "data": {"image_size": 32, "channels": 1, "labels": False},
        "model": {"kind": "published", "latent_dim": 5, "widths": [4, 6, 8]},
        "objective": {"introspection_from": 0.4, "content_open_at": 0},
        "training": {
            "steps": 8,
            "batch": 8,
            "picture_every": 0,
            "checkpoint_every": 4,
            "precision": "float32",
            **training,
        },
    }
    return from_dict(settings, "the test")


@pytest.fixture(scope="module")
def noise() -> Any:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    return DomainData(domains=("",), train=(ArrayImages(images),))


def test_samples_of_the_published_networks_are_the_same_before_saving_and_after_loading(
    tmp_path: Path, noise: Any
) -> None:
    trainer = Trainer(published(), tmp_path, data=noise)
    run = trainer.run()
    before = trainer.state.ema.sample(4, None, torch.Generator().manual_seed(0))
    loaded = Translator.from_pretrained(run, dtype="float32").model
    torch.testing.assert_close(loaded.sample(4, None, torch.Generator().manual_seed(0)), before)
    images = torch.rand(3, 1, 32, 32)
    alone = torch.cat([loaded.encode(image[None]).mean.content for image in images])
    torch.testing.assert_close(
        loaded.encode(images).mean.content, alone, rtol=1e-4, atol=1e-5
    )  # no batch statistics left


def test_settled_statistics_are_those_of_the_decoders_own_prior_samples(tmp_path: Path, noise: Any) -> None:
    trainer = Trainer(published(), tmp_path, data=noise)
    trainer.run()
    decoder = trainer.state.ema.decoder
    norm = next(module for module in decoder.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen = []
    handle = norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    trainer.state.ema.sample(4000, None, torch.Generator().manual_seed(9))
    handle.remove()
    torch.testing.assert_close(norm.running_mean, seen[0].mean((0, 2, 3)), atol=0.1, rtol=0.2)


def test_a_run_of_the_published_networks_resumes_to_the_bit(tmp_path: Path, noise: Any) -> None:
    whole = Trainer(published(), tmp_path / "whole", data=noise).run()
    first = Trainer(published(), tmp_path / "parts", data=noise)
    first.open_run()
    for step in range(4):
        first.step(first.state.batches[step].to(first.state.device))
    first.checkpoint()
    parts = Trainer(published(), tmp_path / "parts", data=noise, resume=True).run()
    for name, value in load_model(whole / "model.safetensors").model.state_dict().items():
        assert torch.equal(value, load_model(parts / "model.safetensors").model.state_dict()[name]), name


def test_published_networks_with_too_few_widths_are_refused() -> None:
    config = from_dict(
        {"data": {"image_size": 128}, "model": {"kind": "published", "widths": [4, 6, 8]}}, "test"
    )
    with pytest.raises(ConfigError, match=r"model\.widths has length 3"):
        make_model(config.model, config.data, 1)


def test_a_plain_models_best_checkpoint_is_chosen_by_its_samples_and_reconstructions(
    tmp_path: Path, noise: Any
) -> None:
    trainer = Trainer(published(validation=0.2), tmp_path, data=noise)
    trainer.run()
    assert len(trainer.split.splits[0].validation) == 8
    validation = load_model(tmp_path / "best.safetensors").facts["validation"]
    assert isinstance(validation, dict)
    assert validation["score"] == pytest.approx(validation["kid"] + validation["lpips"])


def test_a_model_file_holds_no_paths_of_the_machine_that_made_it(tmp_path: Path, noise: Any) -> None:
    first = Trainer(published(), tmp_path / "first", data=noise).run()
    second = Trainer(published(fine_tune=str(first)), tmp_path / "second", data=noise).run()
    assert str(tmp_path).encode() not in (second / "model.safetensors").read_bytes()


class Colours(torch.nn.Module):
    """Stands for Inception: a few numbers an image."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.count = 0

    def forward(self, images: Any) -> Any:
        self.count += len(images)
        return torch.nn.functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 4).flatten(1)


@pytest.mark.parametrize("side", [28, 32])
def test_a_judge_of_generation_computes_the_data_once_and_judges_many_models(
    monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    monkeypatch.setattr(generation, "Inception", Colours)
    images = (
        np.random.default_rng(0)
        .integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)
        .repeat(side // 4, 1)
        .repeat(side // 4, 2)
    )
    data = DomainData(("",), (ArrayImages(images[:40]),), (ArrayImages(images[40:]),))
    suite = generation.GenerationSuite(data, images=20)
    settings = {
        "data": {"name": "idx", "image_size": side, "channels": 1},
        "model": {
            "kind": "plain",
            "content_size": side // 4,
            "latent_dim": 4,
            "widths": [8, 8],
            "style_features": 8,
        },
    }
    config = from_dict(settings, "test")
    translator = Translator(make_model(config.model, config.data, 1), config, ("",), device="cpu")
    perfect: Any = Translator(make_model(config.model, config.data, 1), config, ("",), device="cpu")
    perfect.engine.reconstruct = lambda batch: batch
    perfect.decode = lambda codes: torch.from_numpy(images[: len(codes.content)]).permute(0, 3, 1, 2) / 255
    assert suite.inception.count == 40  # test and training images
    worse, better = suite.measure(translator), suite.measure(perfect)
    assert suite.inception.count == 80  # and the samples of each
    assert better.reconstruction["lpips"].mean == pytest.approx(0, abs=1e-6)
    assert better.reconstruction["psnr"].mean == 100
    assert worse.reconstruction["lpips"].mean > 0.1
    assert better.samples.fid < worse.samples.fid
