"""Evaluation: perfect and useless models get the metrics they deserve."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sivae_translate.config import ModelConfig, from_dict
from sivae_translate.data.domains import ArrayImages, ContentLabels, DomainData, PairedTruth
from sivae_translate.data.tensors import to_uint8
from sivae_translate.evaluation.reporting import summary_lines, write_evaluation
from sivae_translate.evaluation.results import PairResult
from sivae_translate.evaluation.suite import MetricSuite, stack
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.inference.engine import Engine
from sivae_translate.inference.translator import Translator
from sivae_translate.models.autoencoder import small_autoencoder
from sivae_translate.models.build import make_model
from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.selection import staggered

COUNT = 6


@pytest.fixture(scope="module")
def suite() -> MetricSuite:
    return MetricSuite(Lpips.load())


@pytest.fixture(scope="module")
def data() -> DomainData:
    """Smooth shapes; the second domain is the first one upside down."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (COUNT, 4, 4, 1), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    sources = (ArrayImages(images), ArrayImages(images[:, ::-1].copy()))
    ids = tuple(tuple(str(index) for index in range(COUNT)) for _ in range(2))
    return DomainData(("up", "down"), train=sources, test=sources, test_ids=ids, truth=PairedTruth())


def untrained() -> Translator:
    torch.manual_seed(0)
    settings = {
        "data": {"image_size": 32, "channels": 1},
        "model": {"widths": [4, 6, 8], "style_widths": [4, 4, 6]},
    }
    config = from_dict(settings, "the test")
    model = make_model(ModelConfig(widths=(4, 6, 8), style_widths=(4, 4, 6)), config.data, 2)
    return Translator(model, config, ("up", "down"))


def translating_by(function: Callable[[Tensor], Tensor]) -> Translator:
    """A model whose translations are a function of the images, whatever the style."""

    class Fixed(Engine):
        def translate(self, images: Tensor, style: Tensor) -> Tensor:
            return function(images)

    made = untrained()
    made.engine = Fixed(made.model)
    return made


def rebuilding_by(function: Callable[[Tensor], Tensor]) -> Translator:
    """A model whose reconstructions are a function of the images."""

    class Fixed(Engine):
        def reconstruct(self, images: Tensor) -> Tensor:
            return function(images)

    made = untrained()
    made.engine = Fixed(made.model)
    return made


def perfect() -> Translator:
    return translating_by(lambda images: images.flip(2))


def copying() -> Translator:
    return translating_by(lambda images: images)


def test_a_perfect_model_has_gain_one_and_no_error(data: DomainData, suite: MetricSuite) -> None:
    result = evaluate(perfect(), data, suite=suite, probes=False)
    assert result.overall["gain"].mean == pytest.approx(1)
    assert result.overall["lpips"].mean == pytest.approx(0, abs=1e-6)
    assert result.overall["ssim"].mean == pytest.approx(1, abs=1e-5)
    assert [(pair.source, pair.target, pair.images) for pair in result.pairs] == [
        ("up", "down", COUNT),
        ("down", "up", COUNT),
    ]


def test_copying_has_gain_zero_and_the_metrics_of_copying(data: DomainData, suite: MetricSuite) -> None:
    result = evaluate(copying(), data, suite=suite, probes=False)
    assert result.overall["gain"].mean == pytest.approx(0)
    for pair in result.pairs:
        for name in ("lpips", "l1", "ssim", "psnr"):
            assert pair.metrics[name] == pair.metrics[f"copy_{name}"]
    up, down = (stack(source, None) for source in data.test)
    assert result.pairs[0].value("copy_l1") == pytest.approx((up - down).abs().mean().item(), rel=1e-5)
    assert result.pairs[0].value("copy_lpips") == pytest.approx(
        suite.lpips.distances(up, down).mean().item(), rel=1e-4
    )


def test_an_untrained_model_is_worse_than_copying_and_intervals_hold_the_mean(
    data: DomainData, suite: MetricSuite
) -> None:
    result = evaluate(untrained(), data, suite=suite, probes=False)
    gains = [pair.metrics["gain"] for pair in result.pairs]
    assert all(gain.low <= gain.mean <= gain.high < 0 for gain in gains)
    for interval in result.overall.values():
        assert interval.low <= interval.mean <= interval.high
    assert result.overall["l1"].mean > 0


def test_probes_are_reported_with_their_chance(data: DomainData, suite: MetricSuite) -> None:
    result = evaluate(untrained(), data, suite=suite)
    chance = {"domain from content": 1 / 2, "content from style": 1 / 6}  # two domains, six contents
    assert {name: probe.chance for name, probe in result.probes.items()} == {
        f"{what}, {kind}, {features}": pytest.approx(share)
        for what, share in chance.items()
        for kind in ("linear", "mlp")
        for features in ("means", "draws")
    }


def test_the_leak_and_the_erased_domain_are_reported(
    data: DomainData, suite: MetricSuite, tmp_path: Path
) -> None:
    result = evaluate(untrained(), data, suite=suite, erase=True)
    assert result.leak is not None and result.leak.entropy == pytest.approx(np.log(2))
    assert result.leak.content is not None and result.leak.measured <= result.leak.certificate
    # Erased on the training images, which are the test images here.
    assert result.probes["domain from erased content, linear, means"].accuracy == 0.5
    write_evaluation(result, tmp_path, "a title", {})
    text = (tmp_path / "evaluation.md").read_text()
    assert f"- leak: {result.leak}" in text and "| domain from erased content |" in text
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["leak"]["measured"] == pytest.approx(result.leak.measured)
    assert evaluate(untrained(), data, suite=suite, probes=False).leak is None


def test_without_pairs_there_is_lpips_to_the_source_and_diversity(
    data: DomainData, suite: MetricSuite
) -> None:
    unpaired = DomainData(data.domains, data.train, data.test, data.test_ids)
    result = evaluate(untrained(), unpaired, suite=suite)
    assert not result.paired
    assert result.pairs[0].value("gain") is None
    assert result.pairs[0].metrics["diversity"].mean > 0
    assert set(result.overall) == {"lpips"}


def test_references_take_the_place_of_prior_means(data: DomainData, suite: MetricSuite) -> None:
    by_reference = evaluate(untrained(), data, style="reference", suite=suite, probes=False)
    by_domain = evaluate(untrained(), data, style="domain", suite=suite, probes=False)
    assert by_reference.style == "reference"
    assert by_reference.overall["lpips"].mean != by_domain.overall["lpips"].mean


def test_the_report_holds_the_same_metrics_in_json_and_markdown(
    data: DomainData, suite: MetricSuite, tmp_path: Path
) -> None:
    result = evaluate(untrained(), data, suite=suite)
    write_evaluation(result, tmp_path, "a title", {"seed": 0})
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert values["overall"]["gain"]["mean"] == result.overall["gain"].mean
    assert len(values["pairs"]) == 2
    text = (tmp_path / "evaluation.md").read_text()
    assert f"{result.pairs[0].value('lpips'):.4f}" in text
    gain = result.pairs[0].metrics["gain"]
    assert f"{gain.mean:.4f} ({gain.low:.4f} to {gain.high:.4f})" in text
    assert "times chance (0.500)" in text
    assert (tmp_path / "cases.png").stat().st_size > 1000


def test_data_without_test_images_and_images_too_small_are_refused(
    data: DomainData, suite: MetricSuite
) -> None:
    with pytest.raises(DataError, match="no test images"):
        evaluate(untrained(), DomainData(data.domains, data.train), suite=suite)
    small = tuple(ArrayImages(to_uint8(stack(source, None)[..., :28, :28])) for source in data.test)
    with pytest.raises(DataError, match="32 px or more"):
        evaluate(untrained(), replace(data, test=small), suite=suite)


def test_a_limit_spreads_over_the_test_set_and_keeps_truths_with_their_sources(
    data: DomainData, suite: MetricSuite
) -> None:
    result = evaluate(perfect(), data, suite=suite, probes=False, limit=3)
    assert [pair.images for pair in result.pairs] == [3, 3]
    assert result.overall["gain"].mean == pytest.approx(1)  # every truth belongs to its source
    # Of six images the first, the third (2.5 is rounded to even) and the last.
    up, down = (stack(source, None)[[0, 2, 5]] for source in data.test)
    assert result.pairs[0].value("copy_l1") == pytest.approx((up - down).abs().mean().item(), rel=1e-5)


def test_viewpoints_are_read_off_content_codes_of_other_domains(suite: MetricSuite) -> None:
    """Bright squares at four places of a circle in four shades: the content code of a model that keeps the
    image tells both."""
    places, shades = (0, 1, 2, 3), (80, 130, 180, 230)
    corners = ((0, 0), (0, 16), (16, 16), (16, 0))
    views = np.zeros((len(shades), 8, 32, 32, 1), np.uint8)
    for car, shade in enumerate(shades):
        for view in range(8):
            y, x = corners[view % 4]
            views[car, view, y : y + 16, x : x + 16] = shade
    names = tuple(f"car {index}" for index in range(len(shades)))
    data = DomainData(
        ("up", "down"),
        train=(ArrayImages(views[0]), ArrayImages(views[1])),
        test=tuple(ArrayImages(car) for car in views),
        test_ids=(tuple(map(str, range(8))),) * len(shades),
        truth=PairedTruth(),
        new_domains=names,
        labels=ContentLabels(test=(np.array(places * 2),) * len(names), period=4),
    )
    probes = evaluate(copying(), data, style="reference", suite=suite).probes
    assert set(probes) == {
        f"{what}, {kind}, {features}"
        for what in ("viewpoint from content", "domain from content", "viewpoint from style")
        for kind in ("linear", "mlp")
        for features in ("means", "draws")
    }
    assert probes["viewpoint from content, linear, means"].accuracy > 0.9
    assert probes["viewpoint from content, linear, means"].chance == 0.75  # of four places three are right
    assert probes["domain from content, linear, means"].chance == 0.25


def test_tensors_are_translated_as_they_are_without_rounding_to_8_bits(
    data: DomainData, suite: MetricSuite
) -> None:
    """Translated there and back by an exact inverse, though what lies between is no 8-bit image."""
    made = translating_by(
        lambda images: 0.7013 - images * 0.7013 if images.max() > 0.71 else 1 - images / 0.7013
    )
    cycle = MetricSuite(suite.lpips, cycle=True)
    result = evaluate(made, data, suite=cycle, probes=False)
    assert result.overall["cycle_lpips"].mean < 1e-8


def test_a_model_of_another_size_than_the_data_is_refused(data: DomainData, suite: MetricSuite) -> None:
    large = tuple(ArrayImages(to_uint8(stack(source, None).repeat(1, 1, 2, 2))) for source in data.test)
    with pytest.raises(InputError, match=r"\(1, 64, 64\), the model takes \(1, 32, 32\)"):
        evaluate(untrained(), replace(data, test=large), suite=suite, probes=False)


def test_a_perfect_model_looks_real_and_a_blurred_one_does_not(data: DomainData, suite: MetricSuite) -> None:
    result = evaluate(perfect(), data, suite=suite, probes=False)
    for pair in result.pairs:
        assert list(pair.texture.ratios.values()) == pytest.approx([1] * 9)  # the same images, another order
        assert all(pair.texture.within.values())
        assert pair.metrics["kid_alexnet"].mean < 0  # every translation is one of the real images
    blurred = translating_by(
        lambda images: torch.nn.functional.avg_pool2d(images.flip(2), 5, 1, 2, count_include_pad=False)
    )
    for pair in evaluate(blurred, data, suite=suite, probes=False).pairs:
        assert pair.texture.ratios["2-4"] < 0.3
        assert not pair.texture.within["2-4"]
        assert pair.metrics["kid_alexnet"].mean > 0.1
    for pair in evaluate(copying(), data, suite=suite, probes=False).pairs:
        assert pair.metrics["kid_alexnet"] == pair.metrics["copy_kid_alexnet"]


def test_the_diversity_of_real_images_stands_beside_that_of_draws(
    data: DomainData, suite: MetricSuite
) -> None:
    result = evaluate(untrained(), data, suite=suite, probes=False, limit=2)
    down = stack(data.test[1], None)
    expected = float(suite.lpips(down[:1], down[5:]))  # the first and the last are the only pair
    assert result.pairs[0].value("real_diversity") == pytest.approx(expected, rel=1e-4)
    assert result.pairs[0].metrics["diversity"].mean > 0


def test_reconstructions_are_measured_by_domain(data: DomainData, suite: MetricSuite) -> None:
    result = evaluate(rebuilding_by(lambda images: images / 2), data, suite=suite, probes=False)
    for one, source in zip(result.domains, data.test, strict=True):
        images = stack(source, None)
        assert one.images == COUNT
        assert one.metrics["reconstruction_l1"].mean == pytest.approx(float(images.mean()) / 2, rel=1e-5)
        expected = float(suite.lpips.distances(images, images / 2).mean())
        assert one.metrics["reconstruction_lpips"].mean == pytest.approx(expected, rel=1e-5)
    lines = summary_lines(result)
    assert lines[1] == "KID (AlexNet) below copying's in 0 of 2 directions"  # untrained
    mean = float(torch.cat([stack(source, None) for source in data.test]).mean())
    assert lines[2].endswith(f", reconstruction L1 {mean / 2:.4f}")
    better = evaluate(perfect(), data, suite=suite, probes=False)
    assert summary_lines(better)[1] == "KID (AlexNet) below copying's in 2 of 2 directions"


def test_the_autoencoder_alone_is_the_ceiling_of_a_model_on_latents(
    data: DomainData, suite: MetricSuite
) -> None:
    torch.manual_seed(0)
    space = small_autoencoder(1, 8, (4, 6, 8)).eval()
    settings = {"widths": (4, 6), "style_widths": (4, 6), "autoencoder": "own"}
    config = from_dict({"data": {"image_size": 32, "channels": 1}, "model": settings}, "the test")
    model = make_model(config.model, config.data, 2, space)
    exact = Translator(model, config, ("up", "down"), dtype="float32")
    result = evaluate(exact, data, suite=suite, probes=False)
    for one, source in zip(result.domains, data.test, strict=True):
        images = stack(source, None)
        with torch.no_grad():
            alone = space.decode(space.encode(images))
        expected = float((alone - images).abs().mean())
        assert one.metrics["autoencoder_l1"].mean == pytest.approx(expected, rel=1e-3)
        distance = float(suite.lpips.distances(alone, images).mean())
        assert one.metrics["autoencoder_lpips"].mean == pytest.approx(distance, rel=1e-3)
        assert one.metrics["autoencoder_l1"].mean < one.metrics["reconstruction_l1"].mean
    assert "autoencoder LPIPS" in summary_lines(result)[-1]
    plain = evaluate(untrained(), data, suite=suite, probes=False, limit=2)
    assert not any("autoencoder_l1" in one.metrics for one in plain.domains)


def test_a_second_lpips_sees_the_translations_too_and_the_report_says_so(
    data: DomainData, suite: MetricSuite, tmp_path: Path
) -> None:
    """The same network in VGG16's place has to give the same numbers."""
    result = evaluate(untrained(), data, suite=MetricSuite(suite.lpips, vgg=suite.lpips), probes=False)
    for metrics in (result.overall, *(pair.metrics for pair in result.pairs)):
        for name in ("lpips", "copy_lpips", "gain"):
            assert metrics[f"{name}_vgg"].mean == pytest.approx(metrics[name].mean, rel=1e-5)
    write_evaluation(result, tmp_path / "both", "a title", {})
    write_evaluation(evaluate(copying(), data, suite=suite, probes=False), tmp_path / "one", "a title", {})
    both, one = ((tmp_path / name / "evaluation.md").read_text() for name in ("both", "one"))
    assert "features of AlexNet and VGG16." in both
    assert "only the features of AlexNet" in one
    assert json.loads((tmp_path / "both" / "evaluation.json").read_text())["lpips_networks"] == [
        "AlexNet",
        "VGG16",
    ]


def test_the_report_says_which_textures_are_right(
    data: DomainData, suite: MetricSuite, tmp_path: Path
) -> None:
    half = translating_by(lambda images: 0.5 + (images.flip(2) - 0.5) / 2)
    write_evaluation(evaluate(half, data, suite=suite, probes=False), tmp_path, "a title", {})
    text = (tmp_path / "evaluation.md").read_text()
    assert "- texture test: 0 of 18 numbers within 0.8 to 1.25" in text
    assert f"| up to down |{' 0.25 (blur) |' * 9}" in text
    pair = json.loads((tmp_path / "evaluation.json").read_text())["pairs"][0]
    assert pair["texture"]["within"]["4-8 vertical stripes"] is False
    read = PairResult.from_json(pair)
    assert read.texture.ratios["2-4"] == pytest.approx(0.25, rel=1e-3)
    del pair["texture"]
    assert PairResult.from_json(pair).texture is None


def test_turns_choose_different_images_and_all_in_the_end() -> None:
    turns = [staggered(120, turn, 30, 256) for turn in range(30)]
    assert {len(turn) for turn in turns} == {8}
    assert len({place for turn in turns for place in turn}) == 120
    assert staggered(5, 1, 2, 256) == [0, 1, 2, 3, 4]
