"""Out-of-distribution scores, and how well they separate."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.cli import main
from sivae_translate.config import from_dict
from sivae_translate.evaluation import ood, ood_scores, separation
from sivae_translate.inference.translator import Translator
from sivae_translate.models.code_typicality import CodeCalibration
from sivae_translate.models.typicality import Verdict
from sivae_translate.training.launch import train
from sivae_translate.utils.errors import InputError


def stripes(count: int, seed: int) -> np.ndarray:
    """Dark images with one bright horizontal bar: uint8 (count, 32, 32, 1)."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 32, 32, 1), 20, np.uint8)
    for image, top in zip(images, rng.integers(2, 26, count), strict=True):
        image[top : top + 4] = rng.integers(180, 250)
    return images


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain VAE trained on stripes for a few seconds."""
    root = tmp_path_factory.mktemp("ood")
    save(stripes(300, 0), root / "stripes")
    settings = {
        "data": {
            "name": "folder",
            "root": str(root / "stripes"),
            "image_size": 32,
            "channels": 1,
            "labels": False,
        },
        "model": {"kind": "plain", "latent_dim": 4, "widths": [8, 16, 16], "style_features": 16},
        "objective": {"name": "elbo", "content_open_at": 0, "beta_kl": 1.0, "beta_rec": 30.0},
        "training": {"steps": 250, "batch": 32, "picture_every": 0, "precision": "float32", "device": "cpu"},
    }
    return train(from_dict(settings, "test"), root / "run")


def save(images: np.ndarray, folder: Path) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(folder / f"{index:03}.png")


# ---- separation


@pytest.mark.parametrize("shift", [-30, 0, 30])
def test_the_interval_of_the_precision_holds_it_also_where_a_score_ranks_the_wrong_way(shift: int) -> None:
    found = separation.separation(np.arange(20.0), np.arange(10.0) + shift + 0.5).aupr
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_auroc_counts_pairs() -> None:
    inside, outside = np.array([0.0, 1, 2, 2]), np.array([1.0, 2, 5])
    pairs = [(b > a) + 0.5 * (b == a) for a in inside for b in outside]
    assert separation.auroc(inside, outside) == pytest.approx(np.mean(pairs))
    assert separation.auroc(inside, inside) == 0.5
    assert separation.auroc(np.zeros(3), np.ones(2)) == 1
    assert separation.auroc(np.ones(3), np.zeros(2)) == 0


def test_average_precision_by_hand() -> None:
    # Falling scores: 9 foreign (precision 1), 7 known, 5 foreign (2/3), 5 known together with it (2/4), 1
    # foreign (3/5)
    inside, outside = np.array([7.0, 5]), np.array([9.0, 5, 1])
    assert separation.aupr(inside, outside) == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)
    assert separation.aupr(np.zeros(4), np.ones(3)) == 1


def test_average_precision_of_equal_scores_is_the_share_of_foreign_images() -> None:
    assert separation.aupr(np.zeros(6), np.zeros(2)) == pytest.approx(0.25)


def test_false_positives_at_the_score_that_most_foreign_images_reach() -> None:
    outside = np.arange(20.0)  # 19 of 20 are at 1 or above
    assert separation.fpr_at_tpr(np.array([0.0, 0.5, 1.0, 30.0]), outside) == 0.5
    assert separation.fpr_at_tpr(np.full(5, -1.0), outside) == 0


def test_intervals_hold_the_value_and_shrink_with_more_images() -> None:
    rng = np.random.default_rng(0)
    few = separation.separation(rng.normal(0, 1, 40), rng.normal(1, 1, 40))
    many = separation.separation(rng.normal(0, 1, 4000), rng.normal(1, 1, 4000))
    for result in (few, many):
        for interval in (result.auroc, result.aupr, result.fpr95):
            assert interval.low <= interval.mean <= interval.high
    assert many.auroc.high - many.auroc.low < (few.auroc.high - few.auroc.low) / 4
    assert many.auroc.mean == pytest.approx(0.7602, abs=0.02)  # Phi(1 / sqrt 2)


# ---- scores


def test_noise_scores_higher_than_new_stripes_by_every_sensible_score(run: Path) -> None:
    translator = Translator.from_pretrained(run, device="cpu")
    known = ood.score_known(translator, stripes(60, 1), stripes(60, 3), samples=4, regret_steps=5)
    result = ood.compare(translator, known, noise(60, 2), samples=4, regret_steps=5)
    assert set(result.separations) == {
        "likelihood",
        "elbo",
        "kl",
        "reconstruction",
        "complexity",
        "typicality",
        "regret",
    }
    for score in ("likelihood", "elbo", "reconstruction", "typicality"):
        assert result.separations[score].auroc.mean > 0.99, score
    assert result.bits[1] > result.bits[0] + 1


def test_likelihood_and_complexity_are_the_models_likelihood_and_its_bits_less_a_pngs(
    run: Path,
) -> None:
    translator, images = Translator.from_pretrained(run, device="cpu"), stripes(8, 4)
    scores = ood_scores.surprise(translator, images, samples=200)
    batch = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    torch.manual_seed(1)
    again = np.stack([-translator.model.log_likelihood(batch, 200).double().numpy() for _ in range(4)])
    noise_of_draws = again.std(0).max()
    assert noise_of_draws < 12  # of about 1,200
    np.testing.assert_allclose(scores["likelihood"], again.mean(0), atol=4 * noise_of_draws)
    assert (scores["elbo"] > scores["likelihood"] - 1).all()  # the ELBO is the looser bound
    for image, likelihood, score in zip(images, scores["likelihood"], scores["complexity"], strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image[..., 0]).save(buffer, format="png", optimize=True)
        assert score == pytest.approx(likelihood / np.log(2) + 8 * 1024 - 8 * buffer.tell())


def test_regret_is_what_fitting_the_posterior_gains(run: Path) -> None:
    translator = Translator.from_pretrained(run, device="cpu")
    known, foreign = (
        ood_scores.surprise(translator, images, samples=1, regret_steps=60)["regret"]
        for images in (stripes(20, 5), noise(20, 6))
    )
    assert foreign.mean() > 0
    assert foreign.mean() > known.mean()


def test_scores_are_the_same_every_time(run: Path) -> None:
    translator = Translator.from_pretrained(run, device="cpu")
    first, again = (ood_scores.surprise(translator, stripes(5, 7), samples=3) for _ in range(2))
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])


def test_no_images_is_an_error(run: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        ood_scores.surprise(Translator.from_pretrained(run, device="cpu"), stripes(0, 0))


# ---- command line


def test_the_command_leaves_a_report_and_pictures(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(stripes(40, 8), tmp_path / "known")
    save(noise(15, 9), tmp_path / "foreign" / "deep")
    (tmp_path / "foreign" / "broken [1].png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "ood",
                str(run),
                "--in",
                str(tmp_path / "known"),
                "--out",
                str(tmp_path / "foreign"),
                "--limit",
                "20",
            ]
        )
    assert stop.value.code == 1
    assert "broken [1].png" in capsys.readouterr().err
    report = json.loads((run / "ood" / "foreign" / "report.json").read_text())
    assert report["images"] == {"inside": 20, "outside": 15}
    assert report["scores"]["elbo"]["auroc"]["mean"] > 0.99
    assert "AUROC" in (run / "ood" / "foreign" / "report.md").read_text()
    assert "regret" not in report["scores"]
    assert report["flagged"]["inside"]["percentile"] == 99  # ranked among 150 of 300 images
    assert report["flagged"]["outside"]["share"]["mean"] == 1
    for name in ("histograms.png", "hardest.png"):
        with Image.open(run / "ood" / "foreign" / name) as picture:
            assert picture.width > 400


def test_the_command_refuses_what_makes_no_sense(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(stripes(4, 8), tmp_path / "known")
    for extra, words in (
        (["--samples", "0"], "too small"),
        (["--out", str(tmp_path / "none")], "no file or folder"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["ood", str(run), "--in", str(tmp_path / "known"), "--out", str(tmp_path / "known"), *extra])
        assert stop.value.code != 0
        assert words in capsys.readouterr().err


def test_the_runs_own_test_images_are_the_known_ones_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(noise(12, 3), tmp_path / "noise")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "ood",
                "glyphs",
                "--out",
                str(tmp_path / "noise"),
                "--limit",
                "40",
                "--report",
                str(tmp_path / "report"),
            ]
        )
    assert stop.value.code == 0
    assert "percentile 99 flags" in capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["images"] == {"inside": 40, "outside": 12}
    assert report["flagged"]["outside"]["percentile"] == 99
    assert report["flagged"]["outside"]["share"]["mean"] == 1
    assert report["flagged"]["inside"]["share"]["mean"] < 0.1


def test_flagged_are_the_images_that_reach_the_highest_percentile_there_is() -> None:
    reached = [Verdict(float(place), "style", 0.0) for place in range(100)]
    engine = SimpleNamespace(typicality=lambda images: [reached.pop() for _ in images])
    calibration = CodeCalibration(np.zeros((1, 4)), np.ones((1, 4)), np.zeros(62))  # 62 / 63 is 98.4 %
    translator = SimpleNamespace(calibration=calibration, engine=engine)
    flagged = ood.flagged(cast(Translator, translator), [np.empty((1, 1, 1), np.uint8)] * 100)
    assert flagged is not None
    assert (flagged.percentile, flagged.images, flagged.share.mean) == (98, 100, 0.02)
    z, n, p = 1.959964, 100, 0.02  # Wilson 1927
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)]
    assert [flagged.share.low, flagged.share.high] == pytest.approx(expected, abs=1e-6)
    assert str(flagged) == "2.0% (0.6% to 7.0%) of 100"
    assert ood.flagged(cast(Translator, SimpleNamespace(calibration=None)), []) is None
