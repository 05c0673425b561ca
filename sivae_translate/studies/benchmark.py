"""The benchmark, from data to report: train, translate with the model and baselines, measure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sivae_translate.config import Config, DataConfig
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import StyleKind, get_source
from sivae_translate.evaluation import ood
from sivae_translate.evaluation.baselines import ColourStatistics, Copying, Method, NearestNeighbour
from sivae_translate.evaluation.case_page import write_case_page
from sivae_translate.evaluation.fidelity import Inception
from sivae_translate.evaluation.galleries import content_and_style
from sivae_translate.evaluation.reporting import write_evaluation
from sivae_translate.evaluation.suite import MetricSuite, make_suite
from sivae_translate.evaluation.translation import check_limit, evaluate
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.studies.benchmark_report import MODEL, MethodResult, as_json, markdown
from sivae_translate.training.launch import train
from sivae_translate.utils import pictures
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.environment import environment, peak_memory
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.progress import console
from sivae_translate.utils.selection import spread

CHECKED_IMAGES = 2000
"""Most test images that the translator's check is measured on."""

Named = tuple[str, Method | Translator]


def run_benchmark(
    config: Config,
    out: Path,
    *,
    command: str,
    inception: bool = True,
    vgg: Lpips | None = None,
    limit: int | None = None,
    against: Sequence[str] = (),
) -> Path:
    """Train or resume, measure the model and the baselines, and write the report.

    Args:
        config: data, model, objective and budget.
        out: output folder; the run is in ``out/run``.
        command: the command line, for the report.
        inception: also compute FID and KID; needs the extra ``fid``.
        vgg: also compute LPIPS with VGG16.
        limit: most test images per domain, evenly spread.
        against: other models of the same domains (run folders, model files) to measure as well.

    Returns:
        ``out``, with report.json, report.md, grid.png, and a folder for each kind of style.

    Raises:
        DataError: the data cannot be used or has no test images.
        ConfigError: the settings are invalid, or ``inception`` is set and the extra is not installed.
        CheckpointError: the run in ``out`` was trained with other settings.
        InputError: the limit is below 1.
    """
    # First, so that missing packages and files are noticed before hours of training.
    check_limit(limit, 2 if inception else 1)  # FID needs a covariance
    device, seed = pick_device(config.training.device), config.training.seed
    features = Inception(device if device.type == "cuda" else "cpu") if inception else None
    others = _named_models(against, config.training.device)
    data = _load(config.data)
    began = time.monotonic()
    run = train(config, out / "run", resume=True, data=data)
    seconds = {"training, this call": round(time.monotonic() - began, 1)}
    translator = Translator.from_pretrained(run, device=config.training.device)
    suite = make_suite(data, Lpips.load(device=device), vgg=vgg, inception=features, seed=seed)
    results = {
        style: _measure_all([*_methods(translator, data, style), *others], data, style, suite, seed, limit)
        for style in _style_kinds(config.data, translator)
    }
    about = _about(config, translator, data, suite) | {"command": command}
    about["seconds"] = seconds | {"all": round(time.monotonic() - began, 1)}
    pictures.save(content_and_style(translator, data, next(iter(results))), out / "grid.png")
    return _write(results, about, out)


def _write(results: Mapping[StyleKind, Sequence[MethodResult]], about: dict[str, Any], out: Path) -> Path:
    """Write report.json, report.md, and the model's evaluation with each kind of style."""
    for style, methods in results.items():
        title = f"{about['benchmark']}, {style} style"
        model = methods[0].evaluation
        write_evaluation(model, out / style, title, {"command": about["command"]})
        write_case_page(out / style / "cases.html", title, model, model.cases, None)
    styles = {style: as_json(methods) for style, methods in results.items()}
    write_json(out / "report.json", {**about, "results": styles})
    write_text(out / "report.md", markdown(about, results, curves=(out / "run" / "curves.png").exists()))
    return out


def _named_models(against: Sequence[str], device: str) -> list[Named]:
    """The models to compare with, by the names given."""
    return [(name, Translator.from_pretrained(name, device=device)) for name in against]


def _load(config: DataConfig) -> DomainData:
    """Load a data set with test images.

    Raises:
        DataError: it has no test images.
    """
    data = load_data(config)
    data.require_tests()
    return data


def _about(config: Config, translator: Translator, data: DomainData, suite: MetricSuite) -> dict[str, Any]:
    """Facts that a reader of the report needs."""
    images = [(source, at) for source in data.test for at in range(len(source))]
    checked = [images[place] for place in spread(len(images), CHECKED_IMAGES)]
    flagged = ood.flagged(translator, [source[at] for source, at in checked])
    return {
        "benchmark": config.data.name,
        "seed": config.training.seed,
        "peak_memory_bytes": peak_memory(translator.device),
        "environment": environment(translator.device),
        "facts": translator.facts,
        "lpips_networks": list(suite.lpips_networks),
        "lpips_in_training": config.objective.perceptual,
        "classifiers": _accuracies(suite, data),
        "false_alarms": asdict(flagged) if flagged else None,
    }


def _style_kinds(config: DataConfig, translator: Translator) -> tuple[StyleKind, ...]:
    """The kinds of style that a benchmark translates to; a model without domains has no domain styles."""
    kinds = get_source(config.name).style_kinds
    return kinds if translator.model.domains else ("reference",)


def _methods(translator: Translator, data: DomainData, style: StyleKind) -> list[Named]:
    """The model and the methods it is compared with."""
    methods: list[Named] = [
        (MODEL, translator),
        ("copying", Copying()),
        ("colour statistics", ColourStatistics(data)),
    ]
    if style == "domain":
        methods.append(("nearest neighbour", NearestNeighbour(data, translator)))
    return methods


def _measure_all(
    methods: Sequence[Named],
    data: DomainData,
    style: StyleKind,
    suite: MetricSuite,
    seed: int,
    limit: int | None,
) -> list[MethodResult]:
    results = []
    for name, method in methods:
        console.print(f"{style} style: {name}", highlight=False)
        began = time.monotonic()
        evaluation = evaluate(method, data, style=style, suite=suite, seed=seed, limit=limit)
        results.append(MethodResult(name, evaluation, time.monotonic() - began))
    return results


def _accuracies(suite: MetricSuite, data: DomainData) -> dict[str, float]:
    """Accuracies of the classifiers on real test images."""
    accuracies = {} if suite.domains is None else {"domains": round(suite.domains.accuracy, 4)}
    classes = zip(data.domains, suite.classes, strict=False)
    return accuracies | {f"classes of {name}": round(one.accuracy, 4) for name, one in classes}
