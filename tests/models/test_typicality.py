"""Telling usual inputs from unusual ones: percentiles, the translator's check, the batch's list."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.cli import main
from sivae_translate.config import from_dict
from sivae_translate.data.loading import load_data
from sivae_translate.inference.arguments import CoarseCheckWarning, OutOfDistributionWarning
from sivae_translate.inference.translator import Translator
from sivae_translate.models.alexnet import FEATURES
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.typicality import Look, NeighbourCalibration, Verdict, look
from sivae_translate.models.weights import load_model, save_model
from sivae_translate.training.launch import train
from sivae_translate.utils.errors import InputError


def looks(count: int, seed: int) -> Look:
    """Features of images that differ in 40 directions, and sizes."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(40, FEATURES, generator=torch.Generator().manual_seed(0))
    features = 5 + torch.randn(count, 40, generator=generator) @ mixing
    return Look(features, 8000 + 400 * torch.randn(count, generator=generator).double())


def test_an_image_of_the_same_kind_reaches_a_percentile_as_rarely_as_it_says() -> None:
    alarms = []
    for seed in range(20):
        calibration = NeighbourCalibration.fit(looks(100, 5000 + seed), looks(200, seed))
        verdicts = calibration.verdicts(looks(400, 1000 + seed))
        alarms.append([np.mean([v.percentile >= level for v in verdicts]) for level in (90, 95, 99)])
    np.testing.assert_allclose(np.mean(alarms, axis=0), [0.10, 0.05, 0.01], atol=0.01)


def test_the_reason_is_what_is_out_of_line() -> None:
    calibration = NeighbourCalibration.fit(looks(200, 3), looks(200, 0))
    odd = looks(4, 9)
    odd.features[1] += 40 * torch.randn(FEATURES, generator=torch.Generator().manual_seed(1))
    odd.bits[:] = torch.tensor([8000.0, 8000.0, 2000.0, 20000.0])
    usual, foreign, empty, noisy = calibration.verdicts(odd)
    assert usual.percentile < 99
    assert [some.reason for some in (foreign, empty, noisy)] == ["appearance", "simplicity", "detail"]
    assert all(some.percentile == calibration.highest for some in (foreign, empty, noisy))
    # In deviations of tails, which are those of a normal distribution here.
    assert (empty.score, noisy.score) == pytest.approx((15, 30), rel=0.2)
    assert "it is far simpler than" in str(empty)


def test_the_highest_percentile_is_that_of_the_number_of_images() -> None:
    calibration = NeighbourCalibration.fit(looks(100, 3), looks(49, 0))
    assert calibration.highest == pytest.approx(98)
    assert (calibration.highest_whole(99), calibration.highest_whole(90)) == (98, 90)


def test_its_tensors_keep_the_verdicts() -> None:
    calibration = NeighbourCalibration.fit(looks(100, 3), looks(100, 0))
    again = NeighbourCalibration.of(calibration.tensors())
    assert again.verdicts(looks(50, 1)) == calibration.verdicts(looks(50, 1))


WRONG: dict[str, Any] = {
    "without levels": lambda tensors: tensors.pop("levels"),
    "with no level": lambda tensors: tensors.update(levels=torch.empty(0)),
    "unsorted": lambda tensors: tensors.update(levels=torch.tensor([2.0, 1.0])),
    "not finite": lambda tensors: tensors.update(levels=torch.tensor([1.0, float("inf")])),
    "without width": lambda tensors: tensors.update(units=torch.zeros(2, 3)),
    "with units of another shape": lambda tensors: tensors.update(units=torch.ones(2, 2)),
    "without neighbours": lambda tensors: tensors.pop("points"),
}


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_do_not_fit_are_refused(name: str) -> None:
    tensors = dict(NeighbourCalibration.fit(looks(20, 3), looks(20, 0)).tensors())
    WRONG[name](tensors)
    with pytest.raises(ValueError, match=r"do not fit|finite|positive|sorted"):
        NeighbourCalibration.of(tensors)


def test_equal_images_do_no_harm_and_any_other_is_foreign() -> None:
    same = torch.full((12, 3, 32, 32), 0.5)
    calibration = NeighbourCalibration.fit(look(same[:8]), look(same[8:]))
    usual, foreign = calibration.verdicts(look(torch.stack([same[0], torch.rand(3, 32, 32)])))
    assert usual.percentile == 0
    assert foreign.percentile == calibration.highest


def test_a_look_at_an_image_is_alexnets_means_and_the_size_of_its_png() -> None:
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    seen = look(images)
    means = [layer.mean((2, 3)) for layer in Lpips.load().features(images)]
    torch.testing.assert_close(seen.features, torch.cat(means, 1), rtol=1e-4, atol=1e-4)
    pictures = [Image.fromarray((image[0] * 255).round().byte().numpy()) for image in images]
    assert seen.bits.tolist() == [8 * len(png(picture)) for picture in pictures]


def png(picture: Any) -> Any:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=6)
    return buffer.getvalue()


# ---- a trained model


def bars(count: int, seed: int, *, lying: Any) -> Any:
    rng = np.random.default_rng(seed)
    images = np.full((count, 32, 32, 1), 20, np.uint8)
    for image, place in zip(images, rng.integers(2, 26, count), strict=True):
        image[(slice(place, place + 4), slice(None)) if lying else (slice(None), slice(place, place + 4))] = (
            220
        )
    return images


def save(images: Any, folder: Path) -> Any:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{index:03}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("bars")
    save(bars(200, 0, lying=True), root / "data" / "lying")
    save(bars(200, 1, lying=False), root / "data" / "standing")
    settings = {
        "data": {"name": "folder", "root": str(root / "data"), "image_size": 32, "channels": 1},
        "model": {
            "widths": [8, 12, 16],
            "style_widths": [4, 8, 8],
            "style_features": 16,
            "content_channels": 4,
            "style_dim": 4,
        },
        "objective": {
            "likelihood": "bernoulli",
            "beta_kl_start": 1.0,
            "introspection_from": 1.0,
            "content_open_at": 0.2,
        },
        "training": {
            "steps": 10,  # the check does not depend on what the model has learned
            "batch": 32,
            "picture_every": 0,
            "precision": "float32",
            "device": "cpu",
            "validation": 0.2,
        },
    }
    return train(from_dict(settings, "test"), root / "run")


@pytest.fixture(scope="module")
def trained(run: Path) -> Any:
    return Translator.from_pretrained(run, device="cpu")


def noise(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)


def test_training_stores_what_is_usual(run: Path, trained: Any) -> None:
    saved = load_model(run / "model.safetensors")
    assert len(saved.calibration.levels) == 200  # half of 400 images, the validation images among them
    assert len(saved.calibration.neighbours.points) == 200
    assert "calibration" not in saved.facts


def test_unseen_images_of_the_kind_are_usual_and_noise_is_not(trained: Any) -> None:
    usual = trained.typicality(list(bars(100, 5, lying=True)))
    assert np.mean([verdict.percentile >= 95 for verdict in usual]) < 0.2
    assert all(
        verdict.percentile == trained.calibration.highest for verdict in trained.typicality(list(noise(10)))
    )


def test_an_empty_image_is_too_simple_where_training_images_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    save(rng.integers(0, 256, (200, 32, 32, 1), dtype=np.uint8), tmp_path / "data" / "noise")
    settings = {
        "data": {"name": "folder", "root": str(tmp_path / "data"), "image_size": 32, "channels": 1},
        "model": {
            "widths": [4, 6, 8],
            "style_widths": [4, 4, 6],
            "style_features": 8,
            "content_channels": 2,
            "style_dim": 4,
        },
        "objective": {"introspection_from": 1.0},
        "training": {
            "steps": 60,
            "batch": 16,
            "picture_every": 0,
            "precision": "float32",
            "device": "cpu",
            "validation": 0.2,
        },
    }
    trained = Translator.from_pretrained(train(from_dict(settings, "test"), tmp_path / "run"), device="cpu")
    (empty,) = trained.typicality([np.full((32, 32, 1), 128, np.uint8)])
    assert empty.reason in ("simplicity", "appearance")
    assert empty.percentile > 97


def test_the_check_warns_raises_or_keeps_still(trained: Any) -> None:
    # One or two in a hundred of the training's kind are flagged, too, and which depends on rounding.
    several = list(bars(8, 7, lying=True))
    order = np.argsort([verdict.percentile for verdict in trained.typicality(several)])
    mixed = [*(several[index] for index in order[:2]), *noise(1)]
    plain = trained(mixed, "standing", output="tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(mixed, "standing", output="tensor", check="off")
    with pytest.warns(OutOfDistributionWarning, match="image 2: percentile"):
        warned = trained(mixed, "standing", output="tensor", check="warn", percentile=98.5)
    assert torch.equal(plain, warned)
    with pytest.raises(InputError, match=r"1 of 3 images are unusual. image 2"):
        trained(mixed, "standing", check="raise", percentile=98.5)


def test_what_cannot_be_resolved_is_an_error(trained: Any, tmp_path: Path, run: Path) -> None:
    images = list(bars(1, 0, lying=True))
    with pytest.raises(InputError, match=r"99\.50 is the highest with 200"):
        trained(images, "standing", check="warn", percentile=99.9)
    few = NeighbourCalibration.fit(looks(60, 1), looks(49, 0))
    coarse = Translator(trained.model, trained.config, trained.domains, calibration=few)
    with (
        pytest.warns(CoarseCheckWarning, match=r"above percentile 98 .* has only 49 images to rank among"),
        pytest.warns(OutOfDistributionWarning),
    ):
        coarse(images, "standing", check="warn")
    with pytest.raises(InputError, match="choose off or warn or raise"):
        trained(images, "standing", check="always")
    saved = load_model(run / "model.safetensors")
    save_model(tmp_path / "bare.safetensors", saved.model, saved.config, saved.domains, {})
    with pytest.raises(InputError, match="without validation images"):
        Translator.from_pretrained(tmp_path / "bare.safetensors").typicality(images)


def test_the_command_lists_unusual_files_or_stops_at_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(bars(3, 9, lying=True), tmp_path / "in" / "good")
    save(noise(1), tmp_path / "in" / "odd")
    arguments = ["translate", str(run), str(tmp_path / "in"), "--to", "standing", "--percentile", "98.5"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(tmp_path / "a"), "--check", "warn"])
    assert stop.value.code == 0
    message = capsys.readouterr().err
    assert "1 are unlike the training data" in message
    assert "odd" in message
    assert len(list((tmp_path / "a").rglob("*.png"))) == 4
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(tmp_path / "b"), "--check", "raise"])
    assert stop.value.code == 2
    assert "--check warn" in capsys.readouterr().err


def test_a_verdict_reads_well() -> None:
    text = str(Verdict(99.5, "content", 7.03))
    assert text.startswith("percentile 99.5 of images like the training data, score 7.0: ")
    assert text.endswith("its content is unlike that of the training images")


# ---- the shipped model


@pytest.fixture(scope="module", params=["glyphs", "glyphs-64"])
def shipped(request: pytest.FixtureRequest) -> Any:
    return Translator.from_pretrained(request.param, device="cpu")


def test_the_shipped_model_raises_few_false_alarms_on_letters_it_never_saw(shipped: Any) -> None:
    sources = load_data(shipped.config.data).test
    letters = np.stack([source[i] for source in sources for i in range(len(source))])
    flagged = np.mean([verdict.percentile >= 99 for verdict in shipped.typicality(list(letters))])
    assert len(letters) == 720
    assert abs(flagged - 0.01) <= 0.01


def test_the_shipped_model_knows_pictures_that_are_no_letters(shipped: Any) -> None:
    side = shipped.image_size
    gradient = np.linspace(0, 255, side).astype(np.uint8)[None, :, None].repeat(side, 0)
    black, blocks = (
        np.zeros((side, side, 1), np.uint8),
        noise(1)[0][::8, ::8].repeat(side // 4, 0).repeat(side // 4, 1),
    )
    assert all(
        verdict.percentile >= 99 for verdict in shipped.typicality([gradient, black, blocks, noise(1)[0]])
    )
