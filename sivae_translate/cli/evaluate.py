"""``sivae-translate evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sivae_translate.cli.common import (
    Device,
    Dtype,
    Limit,
    Run,
    Vgg,
    VggWeights,
    data_of,
    evaluation_folder,
    report_unreadable,
    require_apart,
    require_vgg,
)

if TYPE_CHECKING:
    from sivae_translate.data.domains import DomainData
    from sivae_translate.evaluation.results import Case, Evaluation


@dataclass(frozen=True)
class Evaluate:
    """Measure a model on test images: LPIPS, L1, SSIM, gain over copying, KID, texture, diversity."""

    run: Run
    data: Path | None = None
    """Folder with test images, FOLDER/<domain>/* or FOLDER/test/<domain>/*; default: the run's own data."""
    pairs: bool = False
    """Test files with the same name in two domains show the same content, so true translations are known."""
    style: Literal["domain", "reference"] = "domain"
    """Style of the translations: the domain's prior mean, or a random test image of the target domain."""
    out: Path | None = None
    """Folder for evaluation.json, evaluation.md and cases.png; default: evaluation/<style> in the run
    folder."""
    html: bool = False
    """Also write evaluation.html: every translation with truth, metrics and verdict, to sort and filter."""
    erase: bool = False
    """Also probe the domain in contents from which it was erased linearly (LEACE)."""
    lpips_weights: Path | None = None
    """torchvision's AlexNet weights, instead of the shipped ones."""
    vgg: Vgg = True
    vgg_weights: VggWeights = None
    seed: int = 0
    """Seed of the references, draws and the bootstrap."""
    limit: Limit = None
    device: Device = "auto"
    dtype: Dtype = "auto"


def run(command: Evaluate) -> int:
    """``sivae-translate evaluate``; 1 if files were unreadable."""
    from sivae_translate.data.loading import load_data
    from sivae_translate.evaluation.case_page import write_case_page
    from sivae_translate.evaluation.reporting import write_evaluation
    from sivae_translate.evaluation.suite import MetricSuite
    from sivae_translate.evaluation.translation import evaluate
    from sivae_translate.inference.translator import Translator
    from sivae_translate.models.lpips import Lpips
    from sivae_translate.utils.files import require_writable
    from sivae_translate.utils.progress import console as progress

    require_vgg(command.vgg, command.vgg_weights)
    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    data_config = data_of(command.run, translator.config.data, command.data)
    if command.pairs:
        data_config = data_config.model_copy(update={"pairs": True})
    device = str(translator.device)
    suite = MetricSuite(
        Lpips.load(command.lpips_weights, device=device),
        vgg=Lpips.load_vgg16(command.vgg_weights, device=device) if command.vgg else None,
    )
    data = load_data(data_config, for_tests=command.data is not None)
    progress.print(_counts(data), highlight=False, soft_wrap=True)
    out = command.out or evaluation_folder(command.run) / command.style
    require_apart(out, data_config)
    require_writable(out)
    cases: list[Case] = []
    result = evaluate(
        translator,
        data,
        style=command.style,
        suite=suite,
        seed=command.seed,
        erase=command.erase,
        limit=command.limit,
        watch=cases.extend if command.html else None,
    )
    title = f"{command.run}, {command.style} style"
    about = {"run": command.run, "seed": command.seed, "device": device, "dtype": str(translator.dtype)}
    about |= {"facts": translator.facts}
    write_evaluation(result, out, title, about)
    if command.html:
        write_case_page(out / "evaluation.html", title, result, cases, translator.engine)
    _show(result, title)
    names = "evaluation.json, evaluation.md, cases.png" + (", evaluation.html" if command.html else "")
    progress.print(f"written to {out}: {names}", highlight=False)
    return report_unreadable(data.unreadable)


def _show(result: Evaluation, title: str) -> None:
    """Print the metrics to standard output."""
    from sivae_translate.evaluation.reporting import codes_lines, evaluation_table, summary_lines
    from sivae_translate.utils.progress import PlainConsole

    console = PlainConsole()
    console.print(evaluation_table(result, title))
    for line in summary_lines(result):
        console.print(line, highlight=False)
    for line in codes_lines(result):
        console.print(line.removeprefix("- "), highlight=False)


def _counts(data: DomainData) -> str:
    """How many test images each domain has, and what is not used."""
    pairs = zip(data.test_domains, data.test, strict=True) if data.test else ()
    counts = [f"{name} {len(images)}".lstrip() for name, images in pairs]
    return "; ".join([f"test images: {', '.join(counts) or 'none'}", *data.notes])
