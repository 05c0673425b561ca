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
from sivae_translate.models.typicality import Calibration, Verdict, measure
from sivae_translate.models.weights import load_model, save_model
from sivae_translate.training.launch import train
from sivae_translate.utils.errors import InputError


def numbers(count: int, seed: int) -> Any:
    """Four numbers an image of two domains with their own scales, and the domains."""
    draws = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)).double()
    domains = torch.arange(count) % 2
    scale = torch.tensor([[1.0, 5.0, 0.2, 2.0], [30.0, 2.0, 1.0, 3.0]]).double()
    return 10 + draws * scale[domains], domains


def test_an_image_of_the_same_kind_reaches_a_percentile_as_rarely_as_it_says() -> None:
    alarms = []
    for seed in range(40):
        calibration = Calibration.fit(numbers(100, 5000 + seed), numbers(200, seed), 2)
        verdicts = calibration.verdicts(*numbers(400, 1000 + seed))
        alarms.append([np.mean([v.percentile >= level for v in verdicts]) for level in (90, 95, 99)])
    np.testing.assert_allclose(np.mean(alarms, axis=0), [0.10, 0.05, 0.01], atol=0.01)


def test_the_reason_is_what_is_out_of_line() -> None:
    calibration = Calibration.fit(numbers(100, 3), numbers(200, 0), 2)
    odd = torch.full((4, 4), 10.0).double()
    odd[0, 0], odd[1, 1], odd[2, 2], odd[3, 3] = 20, 100, 30, 60
    verdicts = calibration.verdicts(odd, torch.tensor([0, 0, 1, 1]))
    assert verdicts[0].score == pytest.approx(10, rel=0.3)  # 10 above the median, of deviation 1
    assert [verdict.reason for verdict in verdicts] == ["reconstruction", "content", "style", "complexity"]
    assert all(verdict.percentile == calibration.highest for verdict in verdicts)
    assert "style fits none" in str(verdicts[2])
    # 20 is far off for the first domain, whose deviation is 1, and nothing for the second, whose deviation is
    # 30.
    assert calibration.verdicts(odd[:1], torch.tensor([1]))[0].percentile < 50


def test_the_highest_percentile_is_that_of_the_number_of_images() -> None:
    calibration = Calibration.fit(numbers(100, 3), numbers(49, 0), 2)
    assert calibration.highest == pytest.approx(98)


def test_files_that_know_no_complexity_judge_by_the_other_three() -> None:
    old = Calibration.fit(
        (numbers(100, 3)[0][:, :3], numbers(100, 3)[1]), (numbers(49, 0)[0][:, :3], numbers(49, 0)[1]), 2
    )
    values, domains = numbers(5, 1)
    values[:, 3] = 1e6
    assert old.verdicts(values, domains) == old.verdicts(values[:, :3], domains)


def test_json_keeps_the_verdicts() -> None:
    calibration = Calibration.fit(numbers(100, 3), numbers(100, 0), 2)
    again = Calibration.from_json(calibration.as_json())
    for a, b in zip(calibration.verdicts(*numbers(50, 1)), again.verdicts(*numbers(50, 1)), strict=True):
        assert a.reason == b.reason
        assert a.percentile == pytest.approx(b.percentile, abs=1)


def test_a_domain_without_images_and_numbers_without_spread_do_no_harm() -> None:
    values, _ = numbers(50, 0)
    values[:, 2] = 0
    images = values, torch.zeros(50, dtype=torch.long)
    assert np.isfinite(Calibration.fit(images, images, 3).scores(values, torch.full((50,), 2))).all()
    verdicts = Calibration.fit(images, images, 1).verdicts(*images)
    assert all(verdict.reason != "style" for verdict in verdicts if verdict.percentile > 80)


def test_many_domains_of_few_images_still_tell_what_is_far_out() -> None:
    draws = 10 + torch.randn(600, 4, generator=torch.Generator().manual_seed(4)).double()
    domains = torch.arange(600) % 150
    calibration = Calibration.fit((draws[:300], domains[:300]), (draws[300:450], domains[300:450]), 150)
    known = calibration.verdicts(draws[450:], domains[450:])
    assert np.mean([verdict.percentile >= 90 for verdict in known]) == pytest.approx(0.1, abs=0.07)
    assert all(
        verdict.percentile == calibration.highest
        for verdict in calibration.verdicts(draws[450:] + 10, domains[450:])
    )


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
            "steps": 300,
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
    assert len(saved.calibration.levels) == 80
    assert saved.calibration.medians.shape == (2, 4)
    assert "calibration" not in saved.facts


def test_unseen_images_of_the_kind_are_usual_and_noise_is_not(trained: Any) -> None:
    usual = trained.typicality(list(bars(100, 5, lying=True)))
    assert np.mean([verdict.percentile >= 95 for verdict in usual]) < 0.2
    assert all(
        verdict.percentile == trained.calibration.highest for verdict in trained.typicality(list(noise(10)))
    )


def test_read_gives_the_models_own_figures(trained: Any) -> None:
    images = torch.rand(3, 1, 32, 32)
    values, domain = measure(trained.model, images)
    posterior = trained.model.encode(images)
    torch.testing.assert_close(values[:, 1], posterior.content.kl())
    each = torch.stack([posterior.style.kl(mean) for mean in trained.model.style_prior.means], 1)
    torch.testing.assert_close(values[:, 2], each.min(1).values)
    assert torch.equal(domain, each.argmin(1))
    error = (trained.model.decode(posterior.mean) - images).square().flatten(1).sum(1)
    torch.testing.assert_close(values[:, 0], error)
    bits = (error / (2 * trained.model.variance) + values[:, 1] + values[:, 2]) / np.log(2)
    pictures = [Image.fromarray((image[0] * 255).round().byte().numpy()) for image in images]
    sizes = [8 * len(png(picture)) for picture in pictures]
    torch.testing.assert_close(values[:, 3], bits - torch.tensor(sizes), rtol=1e-4, atol=0.1)


def png(picture: Any) -> Any:
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=6)
    return buffer.getvalue()


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
    assert empty.reason == "complexity"
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
    with pytest.raises(InputError, match=r"98\.77 is the highest with 80"):
        trained(images, "standing", check="warn", percentile=99.5)
    with pytest.warns(CoarseCheckWarning, match="above percentile 98 .* has only 80 validation images"):
        trained(images, "standing", check="warn")
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
    assert text.startswith("percentile 99.5 of validation images, score 7.0: ")
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
