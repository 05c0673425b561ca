"""The benchmark command, its baselines and its metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kornia
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from benchmarks import lord, supervised_bound
from sivae_translate.cli import main
from sivae_translate.config import from_dict
from sivae_translate.data.domains import ArrayImages, ContentLabels, DomainData, PairedTruth
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import classifier
from sivae_translate.evaluation.baselines import ColourStatistics, Copying, NearestNeighbour
from sivae_translate.evaluation.classifier import train_classifier
from sivae_translate.evaluation.fidelity import Inception
from sivae_translate.evaluation.suite import MetricSuite, make_suite, stack
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.weights import load_model
from sivae_translate.studies.benchmark import run_benchmark
from sivae_translate.studies.benchmark_report import compare_reports
from sivae_translate.utils.errors import DataError, InputError

COUNT = 12


def shapes(count: int, seed: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Coarse random pictures in shades of one colour: uint8 (count, 32, 32, 3)."""
    coarse = np.random.default_rng(seed).uniform(0.3, 1, (count, 4, 4, 1))
    images: np.ndarray = (coarse * np.array(colour)).astype(np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    return images


RED, BLUE = (210, 90, 80), (70, 100, 200)


@pytest.fixture(autouse=True)
def quick_classifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps are enough to tell these pictures apart."""
    monkeypatch.setattr(classifier, "STEPS", 60)


@pytest.fixture(scope="module")
def data() -> DomainData:
    """Red pictures, and blue ones of the same shapes; the test pictures are pairs."""
    train = (ArrayImages(shapes(40, 0, RED)), ArrayImages(shapes(40, 1, BLUE)))
    test = (ArrayImages(shapes(COUNT, 2, RED)), ArrayImages(shapes(COUNT, 2, BLUE)))
    ids = (tuple(map(str, range(COUNT))),) * 2
    return DomainData(("red", "blue"), train, test, ids, truth=PairedTruth())


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return Lpips.load()


# ---- baselines


def test_copying_returns_the_sources(data: DomainData) -> None:
    sources = stack(data.test[0], None)
    assert torch.equal(Copying().translate(sources, "blue", None), sources)


def test_colour_statistics_gives_images_the_targets_mean_and_spread(data: DomainData) -> None:
    sources, target = stack(data.test[0], None), stack(data.test[1], None)
    made = ColourStatistics(data).translate(sources, "blue", target)
    own, expected = kornia.color.rgb_to_lab(made), kornia.color.rgb_to_lab(target)
    # Some colours leave the gamut and are cut, hence the tolerance; red and blue are 90 units apart.
    torch.testing.assert_close(own.mean((2, 3)), expected.mean((2, 3)), atol=5, rtol=0)
    by_domain = ColourStatistics(data).translate(sources, "blue", None)
    assert (by_domain - target).abs().mean() < (sources - target).abs().mean() / 2


def test_the_nearest_neighbour_is_the_training_image_of_the_same_shape() -> None:
    shared = shapes(30, 5, (255, 255, 255))
    order = np.random.default_rng(0).permutation(30)
    known = (shared[order] * np.array([0.1, 0.2, 0.9])).astype(np.uint8)
    data = DomainData(("white", "blue"), (ArrayImages(shared), ArrayImages(known)))
    made = NearestNeighbour(data).translate(to_tensor(shared), "blue", None)
    torch.testing.assert_close(made, to_tensor(known[np.argsort(order)]))


def test_baselines_name_a_target_that_they_do_not_know(data: DomainData) -> None:
    sources = stack(data.test[0], None)
    for baseline in (ColourStatistics(data), NearestNeighbour(data)):
        with pytest.raises(InputError, match="green"):
            baseline.translate(sources, "green", None)


# ---- metrics


def test_a_classifier_of_real_images_is_nearly_right_on_others(data: DomainData) -> None:
    images = torch.cat([stack(source, None) for source in data.train])
    labels = torch.arange(2).repeat_interleave(40)
    test = torch.cat([stack(source, None) for source in data.test])
    trained = train_classifier(
        images, labels, (test, torch.arange(2).repeat_interleave(COUNT)), steps=60, batch=16
    )
    assert trained.accuracy > 0.95
    assert (trained.classes(test[:COUNT]) == 0).float().mean() > 0.9
    again = train_classifier(
        images, labels, (test, torch.arange(2).repeat_interleave(COUNT)), steps=60, batch=16
    )
    assert torch.equal(trained.network(test), again.network(test))
    with pytest.raises(InputError, match="classes"):
        train_classifier(images, torch.zeros(80, dtype=torch.long), (test, test))


class Perfect:
    """Swaps red and blue, which is the truth but for the shades."""

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        return sources.flip(1)


def test_all_metrics_agree_on_a_perfect_and_on_a_useless_method(data: DomainData, lpips: Lpips) -> None:
    suite = make_suite(data, lpips)
    assert suite.domains is not None
    assert suite.domains.accuracy > 0.95
    good, bad = (evaluate(method, data, suite=suite) for method in (Perfect(), Copying()))
    assert good.overall["domain_accuracy"].mean > 0.9
    assert bad.overall["domain_accuracy"].mean < 0.1
    assert bad.overall["gain"].mean == 0
    assert good.overall["gain"].mean > 0.5
    assert good.overall["cycle_lpips"].mean == pytest.approx(0, abs=1e-6)
    assert not good.probes


def test_classes_are_recognised_by_the_targets_own_classifier(lpips: Lpips) -> None:
    """Bars that lie or stand; a method that turns them keeps no class, copying keeps all."""

    def bars(count: int, seed: int, bright: int) -> tuple[ArrayImages, np.ndarray]:
        rng = np.random.default_rng(seed)
        images, labels = np.zeros((count, 32, 32, 1), np.uint8), np.arange(count) % 2
        for image, label in zip(images, labels, strict=True):
            place = int(rng.integers(4, 24))
            image[
                (slice(place, place + 5), slice(None)) if label else (slice(None), slice(place, place + 5))
            ] = bright
        return ArrayImages(images), labels

    (dim, a), (light, b), (dim_test, c), (light_test, d) = (
        bars(n, s, v) for n, s, v in ((60, 0, 120), (60, 1, 250), (20, 2, 120), (20, 3, 250))
    )
    data = DomainData(
        ("dim", "light"),
        (dim, light),
        (dim_test, light_test),
        labels=ContentLabels(train=(a, b), test=(c, d)),
    )
    suite = make_suite(data, lpips)

    class Turned:
        def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
            return sources.transpose(2, 3)

    kept, lost = (
        evaluate(method, data, suite=suite).overall["class_accuracy"].mean for method in (Copying(), Turned())
    )
    assert kept > 0.9
    assert lost < 0.1


def test_fid_and_kid_are_near_zero_for_real_images_and_larger_for_others(
    data: DomainData, lpips: Lpips
) -> None:
    class Statistics(Inception):
        """Stands for Inception: colours and their products."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def forward(self, images: Tensor) -> Tensor:
            means = images.mean((2, 3))
            counted.append(len(images))
            return torch.cat([means, means.square()], 1)

    counted: list[int] = []
    suite = MetricSuite(lpips, inception=Statistics())
    good, bad = (evaluate(method, data, suite=suite) for method in (Perfect(), Copying()))
    assert [(t.target, t.images, t.real) for t in good.targets] == [
        ("red", COUNT, COUNT),
        ("blue", COUNT, COUNT),
    ]
    assert all(abs(t.kid) < 0.01 for t in good.targets)
    assert all(0 <= t.fid < 0.01 for t in good.targets)  # not 0, since the shades differ
    assert all(t.kid > 0.05 for t in bad.targets)
    assert all(t.fid > 0.05 for t in bad.targets)
    assert (
        len(counted) == 2 * 2 + 2
    )  # translations of both methods, but the real images of each domain only once


# ---- the whole run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data: DomainData) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    for split, sources in (("train", data.train), ("test", data.test)):
        for name, source in zip(data.domains, sources, strict=True):
            (root / split / name).mkdir(parents=True)
            for index in range(len(source)):
                Image.fromarray(source[index]).save(root / split / name / f"{index:03}.png")
    return root


SETTINGS: dict[str, dict[str, Any]] = {
    "data": {"name": "folder", "image_size": 32, "channels": 3},
    "model": {
        "widths": [4, 6, 8],
        "style_widths": [4, 4, 6],
        "style_features": 8,
        "content_channels": 2,
        "style_dim": 4,
    },
    "training": {"steps": 6, "batch": 8, "picture_every": 0, "device": "cpu", "precision": "float32"},
}


def test_a_run_leaves_a_report_that_compares_the_model_with_baselines(folder: Path, tmp_path: Path) -> None:
    config = from_dict({**SETTINGS, "data": {**SETTINGS["data"], "root": str(folder), "pairs": True}}, "test")
    out = run_benchmark(config, tmp_path / "out", command="the command", inception=False)
    written = json.loads((out / "report.json").read_text())
    assert written["command"] == "the command"
    assert "in the loss" not in (out / "report.md").read_text()
    methods = written["results"]["domain"]
    assert list(methods) == ["model", "copying", "colour statistics", "nearest neighbour"]
    assert methods["copying"]["metrics"]["gain"]["mean"] == 0
    assert methods["colour statistics"]["metrics"]["gain"]["mean"] > 0.3
    divided = written["results"]["domain"]["model"]["metrics"]
    assert divided["l1_ratio"]["mean"] == pytest.approx(
        divided["l1"]["mean"] / divided["copy_l1"]["mean"], rel=1e-6
    )
    assert divided["lpips_ratio"]["low"] == pytest.approx(1 - divided["gain"]["high"])
    assert methods["copying"]["metrics"]["ssim_ratio"] == {"mean": 1, "low": 1, "high": 1}
    for probe in methods["model"]["probes"].values():
        assert probe["low"] <= probe["accuracy"] <= probe["high"]
    read = {"domain from content, linear, means", "content from style, mlp, draws"}
    assert read <= set(methods["model"]["probes"])
    assert methods["model"]["leak"]["entropy"] == pytest.approx(np.log(2))
    assert methods["copying"]["leak"] is None
    for method in methods.values():
        to = [method["targets"][name] for name in ("red", "blue")]
        assert np.mean([row["l1"] for row in to]) == pytest.approx(method["metrics"]["l1"]["mean"], rel=1e-5)
    assert "| copying, to red |" in (out / "report.md").read_text()
    assert written["environment"]["torch"] == torch.__version__
    assert written["peak_memory_bytes"] > 10**7
    alarms = written["false_alarms"]
    verdicts = Translator.from_pretrained(out / "run").typicality(sorted((folder / "test").rglob("*.png")))
    assert alarms["images"] == len(verdicts) == 2 * COUNT
    assert alarms["percentile"] == 97  # ranked among 40 of 80 images
    assert alarms["share"]["mean"] == np.mean([verdict.percentile >= 97 for verdict in verdicts])
    assert "- false alarms of the check at percentile 97:" in (out / "report.md").read_text()
    report, model = (out / "report.md").read_text(), methods["model"]
    assert methods["colour statistics"]["texture"]["red to blue"]["ratios"]["8-16"] > 0
    right = sum(sum(one["within"].values()) for one in model["texture"].values())
    assert f"Power relative to real test images of the target, by period in pixels. {right} of 18" in report
    assert report.count(f"| {right} of 18 numbers within 0.8 to 1.25 |") >= 1
    assert set(model["reconstruction"]) == {"red", "blue"}
    assert methods["copying"]["reconstruction"] == {}
    assert model["metrics"]["real_diversity"] == pytest.approx(
        np.mean([model["targets"][name]["real_diversity"] for name in ("red", "blue")])
    )
    assert methods["copying"]["metrics"]["kid_alexnet"] > 0.05
    assert written["lpips_networks"] == ["AlexNet"]
    assert "LPIPS uses only the features of AlexNet" in report
    for name in (
        "report.md",
        "grid.png",
        "domain/cases.png",
        "domain/cases.html",
        "domain/evaluation.json",
        "run/report.html",
    ):
        assert (out / name).stat().st_size > 200, name
    table = compare_reports([out, out])
    assert (
        table.count(": copying |") == 3
    )  # of metrics, ratios and texture: one row a folder and method, the folder is the same
    before = load_model(out / "run" / "model.safetensors").model.state_dict()
    run_benchmark(config, out, command="again", inception=False)
    after = load_model(out / "run" / "model.safetensors").model.state_dict()
    assert all(
        torch.equal(before[name], value) for name, value in after.items()
    )  # a finished run is only measured


def test_a_report_says_that_the_model_was_trained_on_its_metric(folder: Path, tmp_path: Path) -> None:
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "root": str(folder)}}
    config = from_dict({**settings, "objective": {"perceptual": 0.5}}, "test")
    out = run_benchmark(config, tmp_path, command="", inception=False, limit=4)
    assert "LPIPS (AlexNet) in the loss (weight 0.5)" in (out / "report.md").read_text()


def test_the_commands(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "tiny.yaml"
    settings.write_text(json.dumps(SETTINGS))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        arguments = [
            "--data",
            str(folder),
            "--pairs",
            "--no-kid",
            "--limit",
            "4",
            "--out",
            str(out),
            "--training.steps",
            "2",
        ]
        main(["benchmark", str(settings), *arguments])
    assert stop.value.code == 0
    assert "nearest neighbour" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(out)])
    assert stop.value.code == 0
    table = capsys.readouterr().out
    for words in ("colour statistics", "false alarms", "domain from content, mlp"):
        assert words in table
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(tmp_path / "nothing")])
    assert stop.value.code == 2
    assert "benchmark first" in capsys.readouterr().err


def test_reports_of_the_first_release_are_compared() -> None:
    folder = Path(__file__).with_name("fixtures") / "report-0.1.0"
    metrics = json.loads((folder / "report.json").read_text())["results"]["domain"]["model"]["figures"]
    table = compare_reports([folder])
    header = next(line for line in table.splitlines() if line.startswith("| method |"))
    row = next(line for line in table.splitlines() if "report-0.1.0: model |" in line)
    cells = dict(zip(header.split(" | "), row.split(" | "), strict=True))
    for title, name in (("LPIPS", "lpips"), ("domain accuracy", "recognised"), ("L1", "l1")):
        old = metrics[name]
        assert cells[title] == f"{old['mean']:.4f} ({old['low']:.4f} to {old['high']:.4f})"


def test_data_without_test_images_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    config = from_dict({**SETTINGS, "data": {**SETTINGS["data"], "root": str(folder / "train")}}, "test")
    with pytest.raises(DataError, match="no test images"):
        run_benchmark(config, tmp_path / "out", command="", inception=False)
    assert not (tmp_path / "out" / "run").exists()


@pytest.mark.slow
def test_the_peer_learns_to_translate_by_latent_optimisation(
    folder: Path, data: DomainData, lpips: Lpips, tmp_path: Path
) -> None:
    """LORD, two hundred steps: what it makes of red pictures in the style of blue ones is blue, and its
    content is kept."""
    model = {**SETTINGS["model"], "widths": [8, 16, 24], "style_features": 24, "content_channels": 4}
    settings = {**SETTINGS, "model": model, "data": {**SETTINGS["data"], "root": str(folder)}}
    lord.run(from_dict(settings, "test"), 0, tmp_path / "lord", steps=120)
    translator = Translator.from_pretrained(tmp_path / "lord", device="cpu")
    result = evaluate(translator, data, suite=make_suite(data, lpips), probes=False)
    assert result.overall["domain_accuracy"].mean > 0.8
    assert result.overall["l1"].mean < 0.5 * result.overall["copy_l1"].mean
    out = run_benchmark(
        from_dict(settings, "test"),
        tmp_path / "out",
        command="",
        inception=False,
        against=[str(tmp_path / "lord")],
    )
    assert str(tmp_path / "lord") in json.loads((out / "report.json").read_text())["results"]["domain"]


@pytest.mark.full
@pytest.mark.parametrize("name", ["glyphs", "glyphs-colour"])
def test_the_supervised_bound_learns_from_true_pairs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervised_bound, "CHECK_EVERY", 15)
    monkeypatch.setattr(supervised_bound, "CHECKED", 60)
    settings = {
        "data": {"name": name, "image_size": 32, "channels": 3 if name == "glyphs-colour" else 1},
        "model": {**SETTINGS["model"], "widths": [8, 12, 16], "content_channels": 4},
        "training": SETTINGS["training"],
    }
    supervised_bound.run(from_dict(settings, "test"), 0, tmp_path / "bound", steps=60)
    lines = [line for line in capsys.readouterr().out.splitlines() if "validation LPIPS" in line]
    losses, scores = (
        [float(line.split(word)[1].split(",")[0]) for line in lines] for word in ("loss ", "LPIPS ")
    )
    assert len(lines) == 4
    assert losses[-1] < 0.9 * losses[0]
    facts = Translator.from_pretrained(tmp_path / "bound", device="cpu").facts
    assert facts["supervised"]
    assert facts["validation_lpips"] == pytest.approx(min(scores), abs=1e-4)
