"""The command line. Heavy imports happen inside the commands, so that ``--help`` answers at once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import tyro

from sivae_translate.utils.choices import Check, ObjectiveName, PlaneName, Precision
from sivae_translate.utils.errors import ConfigError, SivaeError

if TYPE_CHECKING:
    from sivae_translate.config import DataConfig
    from sivae_translate.inference.folders import BatchResult
    from sivae_translate.inference.translator import StyleLike

INTERRUPTED = 130
CLOSED = 141
"""128 + SIGPIPE: what programs that the signal ends return."""


@dataclass(frozen=True)
class Train:
    """Train a model on folders of images or on the built-in glyphs.

    Any setting can be given as --section.name VALUE, for instance --training.minutes 5; 'sivae-translate
    settings' lists them.
    """

    config: Annotated[Path | None, tyro.conf.Positional] = None
    """YAML file with settings, or the name of one that ships (glyphs, fashion); left out: the defaults."""
    data: Path | None = None
    """Folder with one sub-folder of images a domain (or with idx files, where the settings say so)."""
    out: Path | None = None
    """Run folder; runs/<name> when left out."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""


@dataclass(frozen=True)
class Translate:
    """Translate files and folders into a domain's style, or into the style of reference images."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships (glyphs)."""
    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Images, and folders that are searched recursively; with --engine ray also s3:// and what else fsspec
    knows."""
    out: str
    """Output folder."""
    to: str | None = None
    """Name of the domain to translate to."""
    seed: int | None = None
    """With --to: draw the style from the domain's prior with this seed instead of taking its mean."""
    like: tuple[Path, ...] = ()
    """One or several reference images."""
    overwrite: bool = False
    """Replace outputs that exist; otherwise they are left alone, so a second call does only what is
    missing."""
    strict: bool = False
    """Stop at the first unreadable file."""
    size: Literal["model", "input"] = "model"
    """Size of the outputs: the model's, or each input's."""
    grid: Path | None = None
    """Also write a picture that compares sources and translations."""
    check: Check = "off"
    """warn lists images unlike the training data, raise stops at them; takes about twice the time."""
    percentile: float = 99.0
    """With --check: from which on an image is unusual; 99 flags one in a hundred of the training's own
    kind."""
    batch_size: int = 64
    """Images computed at a time."""
    engine: Literal["local", "ray"] = "local"
    """ray spreads the work over a cluster (RAY_ADDRESS), or over this machine's processors where there is
    none."""
    workers: int | None = None
    """With --engine ray: models at work; left out: one a GPU, or one a processor."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    dtype: Precision = "auto"
    """Of matrix products; auto is bfloat16 where that is fast."""


@dataclass(frozen=True)
class Reconstruct:
    """Encode and decode files and folders with their own codes: what the model keeps of an image."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships (glyphs)."""
    inputs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Images, and folders that are searched recursively."""
    out: Path
    """Output folder."""
    overwrite: bool = False
    """Replace outputs that exist."""
    strict: bool = False
    """Stop at the first unreadable file."""
    grid: Path | None = None
    """Also write a picture that compares sources and reconstructions."""
    batch_size: int = 64
    """Images computed at a time."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""


@dataclass(frozen=True)
class Sample:
    """Make new images from draws of the prior: a folder of PNG files and samples.png, a grid of the first
    ones.
    """

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships (glyphs)."""
    out: Path
    """Output folder."""
    domain: str | None = None
    """Whose style; left out: every domain in turn."""
    n: int = 64
    """How many (for each domain)."""
    seed: int = 0
    """The same seed gives the same images on the same kind of device."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""


@dataclass(frozen=True)
class Interpolate:
    """A strip of images on the straight line between the codes of two images."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships (glyphs)."""
    a: Annotated[Path, tyro.conf.Positional]
    """First image; it also gives the code that does not move."""
    b: Annotated[Path, tyro.conf.Positional]
    """Last image."""
    out: Path
    """PNG file."""
    steps: int = 9
    """Images in the strip."""
    what: Literal["both", "content", "style"] = "both"
    """Which code moves."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""


@dataclass(frozen=True)
class Toy:
    """The 2D study: data sets x objectives x seeds, with pictures, curves and a table. Called again, it goes
    on.
    """

    out: Path = Path("runs/toy")
    """Output folder."""
    planes: tuple[PlaneName, ...] = get_args(PlaneName)
    """Data sets."""
    objectives: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
    """Objectives."""
    seeds: int = 3
    """How many; they are trained side by side in one process."""
    config: str = "toy"
    """Name of a configuration, or a YAML file: toy has the published settings, toy-short takes under two
    hours on two cores."""
    iterations: int | None = None
    """Steps; the schedule is stretched to them."""
    batch: int | None = None
    """Points a step."""
    hidden: int | None = None
    """Width of the hidden layers."""
    learning_rate: float | None = None
    """At the start."""
    automatic: bool = False
    """Let beta_neg be balanced at each step instead of taking the configuration's."""


@dataclass(frozen=True)
class Theory:
    """Play the idealised game on random finite problems and compare its end with what the theorem says."""

    out: Path = Path("runs/theory")
    """Output folder: theory.json, theory.md, theory.png."""
    problems: int = 48
    """Random problems."""
    iterations: int = 6000
    """Of each game."""


@dataclass(frozen=True)
class Evaluate:
    """Judge a model on test images: LPIPS, L1, SSIM, gain over copying."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships."""
    data: Path | None = None
    """Folder with test images; left out: the run's own data."""
    pairs: bool = False
    """Test files of equal names in two domains show the same content, so the truth of a translation is
    known."""
    style: Literal["domain", "reference"] = "domain"
    """Style of the translations: the domain's prior mean, or one random test image of the target domain."""
    out: Path | None = None
    """Where to write evaluation.json, evaluation.md and cases.png; left out: evaluation/<style> in the run
    folder."""
    lpips_weights: Path | None = None
    """torchvision's AlexNet weights, if not the ones that ship."""
    seed: int = 0
    """Of the references, draws and the bootstrap."""
    limit: int | None = None
    """At most this many test images a domain, spread evenly over them."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""
    dtype: Precision = "auto"
    """Of matrix products; auto is bfloat16 where that is fast."""


@dataclass(frozen=True)
class Fidelity:
    """Judge samples and reconstructions: FID, KID, precision, recall; LPIPS, L1, PSNR, SSIM. Needs the extra
    'fid'.
    """

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships."""
    data: Path | None = None
    """Folder with the data; left out: the run's own."""
    images: int = 1000
    """Of each kind: held out, training, samples. FID falls with their number."""
    out: Path | None = None
    """Where to write generation.json and generation.md; left out: evaluation/ in the run folder."""
    seed: int = 0
    """Of samples and choices."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""


@dataclass(frozen=True)
class Benchmark:
    """Train on a benchmark's domains, translate its test images with the model and with baselines, and judge
    all alike.
    """

    name: Annotated[str | None, tyro.conf.Positional] = None
    """glyphs, glyphs-64, glyphs-colour, cars3d, facades, emoji, digits, or a YAML file of your own; left out,
    with --data: the default settings. Further --section.name VALUE settings replace the file's."""
    root: Path | None = None
    """Folder or zip file with the published data; glyphs needs none."""
    data: Path | None = None
    """Any folder laid out as train/<domain> and test/<domain> instead."""
    pairs: bool = False
    """With --data: test files of equal names in two domains show the same content."""
    minutes: float | None = None
    """Training time; left out: the configuration's budget."""
    out: Path | None = None
    """Output folder; left out: runs/benchmark-NAME. A run in it is gone on with, a finished one is only
    judged."""
    seed: int | None = None
    """Of training, references, judges and the bootstrap; left out: the configuration's."""
    kid: bool = True
    """Also FID and KID to the target domains, which need the extra 'fid' and are slow on a CPU."""
    limit: int | None = None
    """At most this many test images a domain, spread evenly over them."""
    against: tuple[str, ...] = ()
    """Run folders or model files of the same domains, judged beside the model: a supervised bound, a peer, an
    ablation."""


@dataclass(frozen=True)
class Compare:
    """Put the reports of several benchmark runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Output folders of 'benchmark'."""


@dataclass(frozen=True)
class Ood:
    """How well a model tells foreign images from those it knows: AUROC, AUPR, FPR at 95 % TPR of several
    scores.
    """

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships."""
    outside: Annotated[Path, tyro.conf.arg(name="out")]
    """Folder with foreign images, or with idx files."""
    inside: Annotated[Path | None, tyro.conf.arg(name="in")] = None
    """Folder with images of the kind it was trained on, but unseen, or with idx files; left out: the run's
    own test images. Half of them say what is typical."""
    report: Path | None = None
    """Where to write report.json, report.md, histograms.png and hardest.png; left out: ood/<name> in the run
    folder."""
    limit: int = 2000
    """At most this many images of each kind, chosen at random."""
    samples: int = 16
    """Of the importance-weighted likelihood."""
    regret_steps: int = 0
    """Steps that fit each image's posterior for the likelihood regret, the slowest of the scores; 0 leaves it
    out."""
    seed: int = 0
    """Of choices, draws and the bootstrap."""
    device: str = "auto"
    """auto, cpu, cuda, mps."""


@dataclass(frozen=True)
class Export:
    """Write a translation model for other runtimes: translate and style graphs, any batch, style as an
    input.
    """

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships."""
    out: Path
    """Folder; it must not exist."""
    format: Literal["onnx", "torch"] = "onnx"
    """onnx needs the extra 'onnx'; torch writes .pt2 files for torch.export.load."""


@dataclass(frozen=True)
class Info:
    """Show what a model is: domains, sizes, parameters, training figures."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder, model file, or the name of a model that ships."""


@dataclass(frozen=True)
class Settings:
    """List every setting of a configuration with its default."""


@dataclass(frozen=True)
class Demo:
    """Train a small model on glyphs, translate letters that it never saw with it and with the shipped model,
    and judge both.
    """

    out: Path = Path("demo")
    """Output folder."""
    minutes: float = 4.0
    """Training time."""


Command = (
    Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
    | Annotated[Translate, tyro.conf.subcommand("translate", prefix_name=False)]
    | Annotated[Reconstruct, tyro.conf.subcommand("reconstruct", prefix_name=False)]
    | Annotated[Sample, tyro.conf.subcommand("sample", prefix_name=False)]
    | Annotated[Interpolate, tyro.conf.subcommand("interpolate", prefix_name=False)]
    | Annotated[Toy, tyro.conf.subcommand("toy", prefix_name=False)]
    | Annotated[Theory, tyro.conf.subcommand("theory", prefix_name=False)]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate", prefix_name=False)]
    | Annotated[Fidelity, tyro.conf.subcommand("fidelity", prefix_name=False)]
    | Annotated[Benchmark, tyro.conf.subcommand("benchmark", prefix_name=False)]
    | Annotated[Compare, tyro.conf.subcommand("compare", prefix_name=False)]
    | Annotated[Ood, tyro.conf.subcommand("ood", prefix_name=False)]
    | Annotated[Export, tyro.conf.subcommand("export", prefix_name=False)]
    | Annotated[Info, tyro.conf.subcommand("info", prefix_name=False)]
    | Annotated[Settings, tyro.conf.subcommand("settings", prefix_name=False)]
    | Annotated[Demo, tyro.conf.subcommand("demo", prefix_name=False)]
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of ``sivae-translate`` and ``python -m sivae_translate``."""
    try:
        try:
            code = _answer(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        code = CLOSED
    sys.exit(code)


def _answer(arguments: list[str]) -> int:
    """Run the command that the arguments name; the exit status."""
    given, overrides = split_overrides(arguments)
    command = tyro.cli(
        Command,  # type: ignore[arg-type]  # tyro takes a union of annotated types
        prog="sivae-translate",
        description="Unpaired image-to-image translation with a content/style Soft-IntroVAE.",
        args=given or ["--help"],
    )
    try:
        if overrides and not isinstance(command, Train | Benchmark):
            raise ConfigError(
                f"unexpected settings: {' '.join(overrides)}",
                remedy="'train' and 'benchmark' take --section.name VALUE",
            )
        return _run(command, overrides)
    except SivaeError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def split_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Set ``--section.name VALUE`` and ``--section.name=VALUE``, which a configuration checks, apart from the
    rest.
    """
    rest, overrides = list(arguments), []
    plain = []
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        if name.startswith("--") and "." in name:
            overrides.append(argument)
            if not equals and rest and not rest[0].startswith("--"):
                overrides.append(rest.pop(0))
        else:
            plain.append(argument)
    return plain, overrides


def _show(table: str) -> None:
    """What a command was asked for, on standard output, where it can be piped; progress and notes go to
    standard error.
    """
    print(table)  # noqa: T201 - this is the command line


def _run(command: object, rest: list[str]) -> int:
    if isinstance(command, Train):
        return train(command, rest)
    if isinstance(command, Benchmark):
        return benchmark(command, rest)
    commands: dict[type, Callable[..., int]] = {
        Translate: translate,
        Reconstruct: reconstruct,
        Sample: sample,
        Interpolate: interpolate,
        Evaluate: evaluate,
        Fidelity: fidelity,
        Toy: toy,
        Theory: theory,
        Compare: compare,
        Ood: ood,
        Export: export,
        Info: info,
        Settings: settings,
        Demo: demo,
    }
    return commands[type(command)](command)


def train(command: Train, rest: list[str]) -> int:
    """``sivae-translate train``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.config import load_config, parse_overrides
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.training.trainer import train as run_training
    from sivae_translate.utils.progress import console

    overrides = parse_overrides(rest)
    path = _config_path(command, overrides)
    config = load_config(path, overrides)
    if command.data is not None:
        config = config.model_copy(update={"data": config.data.at(command.data)})
    out = command.out or Path(
        "runs", command.data.name if command.data else path.stem if path else config.data.name
    )
    try:
        run_training(config, out, resume=command.resume)
    except Interrupted as stop:
        console.print(f"{stop}; go on with --resume --out {out}")
        return 128 + stop.signum
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun has started, one talks
        console.print(
            f"model: {out / 'model.safetensors'}   report: {out / 'report.html'}   picture: "
            f"{out / 'grid.png'}"
        )
    return 0


def _config_path(command: Train, overrides: dict[str, object]) -> Path | None:
    """The settings file: the one named, one that ships, or, when resuming without one, the run's own."""
    from sivae_translate.utils.resources import config_path

    if command.config is not None:
        return config_path(str(command.config))
    own = command.out / "config.yaml" if command.out else None
    if command.resume and own and own.exists():
        return own
    if command.data is None and "data.name" not in overrides and "data.root" not in overrides:
        raise ConfigError(
            "nothing to train on: neither a config nor --data is given",
            remedy="sivae-translate train --data FOLDER, or sivae-translate train glyphs",
        )
    return None


def translate(command: Translate) -> int:
    """``sivae-translate translate``; 1 when files were unreadable."""
    from sivae_translate.inference.folders import translate_files
    from sivae_translate.inference.style import Style
    from sivae_translate.inference.translator import Translator

    if not command.inputs:
        raise ConfigError(
            "no input is given",
            remedy="name images or folders: sivae-translate translate RUN IN... --to DOMAIN",
        )
    if (command.to is None) == (not command.like):
        raise ConfigError(
            "give either --to DOMAIN or --like REFERENCE", remedy="sivae-translate info RUN lists the domains"
        )
    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    style: StyleLike = list(command.like)
    if command.to is not None:
        style = Style.domain(command.to) if command.seed is None else Style.draw(command.to, command.seed)
    if command.engine == "ray":
        return _translate_on_cluster(command, style)
    result = translate_files(
        translator,
        [Path(given) for given in command.inputs],
        style,
        Path(command.out),
        overwrite=command.overwrite,
        strict=command.strict,
        size=command.size,
        batch_size=command.batch_size,
        grid=command.grid,
        check=command.check,
        percentile=command.percentile,
    )
    return _report(result, Path(command.out))


def _translate_on_cluster(command: Translate, style: StyleLike) -> int:
    """The same by Ray; 1 when files were unreadable."""
    from sivae_translate.inference.cluster import translate_on_cluster
    from sivae_translate.utils.progress import console

    if command.strict or command.grid or command.device != "auto":
        raise ConfigError(
            "--engine ray has neither --strict nor --grid, and its workers choose their devices",
            remedy="leave out --strict, --grid and --device, or use --engine local",
        )
    result = translate_on_cluster(
        command.run,
        command.inputs,
        style,
        command.out,
        overwrite=command.overwrite,
        size=command.size,
        batch_size=command.batch_size,
        check=command.check,
        percentile=command.percentile,
        workers=command.workers,
        dtype=command.dtype,
    )
    told = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    console.print(f"{told}; each file: {result.manifest}", highlight=False)
    return 1 if result.counts["unreadable"] else 0


def reconstruct(command: Reconstruct) -> int:
    """``sivae-translate reconstruct``; 1 when files were unreadable."""
    from sivae_translate.inference.folders import translate_files
    from sivae_translate.inference.translator import Translator

    if not command.inputs:
        raise ConfigError(
            "no input is given",
            remedy="name images or folders: sivae-translate reconstruct RUN IN... --out DIR",
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    result = translate_files(
        translator,
        command.inputs,
        None,
        command.out,
        overwrite=command.overwrite,
        strict=command.strict,
        batch_size=command.batch_size,
        grid=command.grid,
    )
    return _report(result, command.out)


def _report(result: BatchResult, out: Path) -> int:
    """Say what became of the files; 1 when some were unreadable."""
    from sivae_translate.utils.progress import console

    console.print(f"{len(result.written)} written to {out}, {len(result.existing)} there already")
    if result.unreadable:
        console.print(f"[red]{len(result.unreadable)} could not be read:[/]")
        for problem in result.unreadable:
            console.print(f"  {problem}", highlight=False, markup=False)
    if result.unusual:
        console.print(f"[yellow]{len(result.unusual)} are unlike what the model knows:[/]")
        for problem in result.unusual:
            console.print(f"  {problem}", highlight=False, markup=False)
    return 1 if result.unreadable else 0


def sample(command: Sample) -> int:
    """``sivae-translate sample``."""
    from sivae_translate.inference.sampling import sample_files
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.progress import console

    translator = Translator.from_pretrained(command.run, device=command.device)
    written = sample_files(translator, command.out, command.n, domain=command.domain, seed=command.seed)
    console.print(
        f"{len(written)} written to {command.out}, the first ones in {command.out / 'samples.png'}",
        highlight=False,
    )
    return 0


def interpolate(command: Interpolate) -> int:
    """``sivae-translate interpolate``."""
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils import pictures
    from sivae_translate.utils.progress import console

    translator = Translator.from_pretrained(command.run, device=command.device)
    strip = translator.interpolate(command.a, command.b, command.steps, what=command.what)
    pictures.save(pictures.grid([strip], cell=max(64, translator.image_size)), command.out)
    console.print(f"written to {command.out}", highlight=False)
    return 0


def toy(command: Toy) -> int:
    """``sivae-translate toy``."""
    from sivae_translate.lab.settings import load_toy_config
    from sivae_translate.lab.study import study

    if command.seeds < 1:
        raise ConfigError("there is no seed to train", remedy="--seeds 1 or more")
    config = load_toy_config(
        command.config,
        iterations=command.iterations,
        batch=command.batch,
        hidden=command.hidden,
        learning_rate=command.learning_rate,
        automatic=command.automatic or None,
    )
    study(command.planes, command.objectives, range(command.seeds), command.out, config)
    _show((command.out / "results.md").read_text(encoding="utf-8"))
    return 0


def theory(command: Theory) -> int:
    """``sivae-translate theory``."""
    from sivae_translate.lab.theory import check, write

    if command.problems < 1 or command.iterations < 10:
        raise ConfigError(
            f"{command.problems} problems of {command.iterations} iterations say nothing",
            remedy="ask for one problem and ten iterations at least",
        )
    write(check(command.problems, iterations=command.iterations), command.out)
    _show((command.out / "theory.md").read_text(encoding="utf-8"))
    return 0


def evaluate(command: Evaluate) -> int:
    """``sivae-translate evaluate``."""
    from rich.console import Console

    from sivae_translate.data.sources.loading import load_data
    from sivae_translate.evaluation import reporting as report
    from sivae_translate.evaluation.translation import Judges
    from sivae_translate.evaluation.translation import evaluate as judge
    from sivae_translate.inference.translator import Translator
    from sivae_translate.models.lpips import Lpips

    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    run = Path(command.run)
    data_config = _data_of(run, translator.config.data, command.data)
    if command.pairs:
        data_config = data_config.model_copy(update={"pairs": True})
    judges = Judges(Lpips.load(command.lpips_weights, device=str(translator.device)))
    data = load_data(data_config)
    result = judge(
        translator, data, style=command.style, judges=judges, seed=command.seed, limit=command.limit
    )
    out = command.out or _evaluation_folder(run) / command.style
    title = f"{command.run}, {command.style} style"
    about = {
        "run": command.run,
        "seed": command.seed,
        "device": str(translator.device),
        "dtype": str(translator.dtype),
        "facts": translator.facts,
    }
    report.write(result, out, title, about)
    console = Console()
    console.print(report.terminal_table(result, title))
    for name, probe in result.probes.items():
        console.print(f"{name}: {probe.accuracy:.3f} (chance {probe.chance:.3f})", highlight=False)
    console.print(f"written to {out}: evaluation.json, evaluation.md, cases.png", highlight=False)
    return 0


def fidelity(command: Fidelity) -> int:
    """``sivae-translate fidelity``."""
    from sivae_translate.data.sources.loading import load_data
    from sivae_translate.evaluation.fidelity import FEWEST
    from sivae_translate.evaluation.generation import GenerationJudge
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.files import write_json, write_text
    from sivae_translate.utils.progress import console

    if command.images < FEWEST:
        raise ConfigError(
            f"--images is {command.images}", remedy=f"FID and KID want {FEWEST} at least, and better 1,000"
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    run = Path(command.run)
    data = load_data(_data_of(run, translator.config.data, command.data))
    judge = GenerationJudge(data, images=command.images, seed=command.seed, device=translator.device)
    result = judge.judge(translator)
    out = command.out or _evaluation_folder(run)
    table = result.markdown(str(command.run))
    write_json(out / "generation.json", result.as_json())
    write_text(out / "generation.md", table)
    _show(table)
    console.print(f"written to {out}: generation.json, generation.md", highlight=False)
    return 0


def benchmark(command: Benchmark, rest: list[str]) -> int:
    """``sivae-translate benchmark``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.config import load_config, parse_overrides
    from sivae_translate.studies.benchmark import run_benchmark
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.utils.progress import console
    from sivae_translate.utils.resources import config_path

    if command.name is None and command.data is None:
        raise ConfigError(
            "no benchmark is named", remedy="sivae-translate benchmark glyphs, or benchmark --data FOLDER"
        )
    path = config_path(command.name) if command.name else None
    given = {"training.seed": command.seed, "training.minutes": command.minutes, "data.root": command.root}
    overrides = {name: str(v) if isinstance(v, Path) else v for name, v in given.items() if v is not None}
    config = load_config(path, overrides | parse_overrides(rest))
    if command.data is not None:
        data = config.data.model_copy(update={"name": "folder", "root": command.data, "pairs": command.pairs})
        config = config.model_copy(update={"data": data})
    called = command.data.absolute().name if command.data else Path(command.name or "").stem
    out = command.out or Path("runs", f"benchmark-{called}")
    try:
        run_benchmark(
            config,
            out,
            command="sivae-translate " + shlex.join(sys.argv[1:]),
            inception=command.kid,
            limit=command.limit,
            against=command.against,
        )
    except Interrupted as stop:
        console.print(f"{stop}; call the same command again to go on")
        return 128 + stop.signum
    _show((out / "report.md").read_text(encoding="utf-8"))
    console.print(
        f"written to {out}: report.json, report.md, grid.png, the model's cases in its folders",
        highlight=False,
    )
    return 0


def compare(command: Compare) -> int:
    """``sivae-translate compare``."""
    from sivae_translate.studies.benchmark import compare_reports

    if not command.runs:
        raise ConfigError(
            "no report is named", remedy="sivae-translate compare runs/benchmark-a runs/benchmark-b"
        )
    _show(compare_reports(command.runs))
    return 0


def ood(command: Ood) -> int:
    """``sivae-translate ood``."""
    from sivae_translate.data.sources.loading import load_images, load_test_images
    from sivae_translate.evaluation import ood as judge
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.progress import console

    if command.samples < 1 or command.limit < 2 or command.regret_steps < 0:
        raise ConfigError(
            "--samples, --limit or --regret-steps is too small", remedy="give 1, 2 and 0 or more"
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    config = translator.config.data
    if command.inside is None:
        known = load_test_images(_data_of(Path(command.run), config, None), 2 * command.limit, command.seed)
    else:
        known = load_images(command.inside, config, 2 * command.limit, command.seed)
    inside, typical = known[::2], known[1::2]
    outside = load_images(command.outside, config, command.limit, command.seed)
    asked = {"samples": command.samples, "regret_steps": command.regret_steps, "seed": command.seed}
    result = judge.compare(
        translator, judge.score_known(translator, inside, typical, **asked), outside, **asked
    )
    run, title = Path(command.run), f"{command.run}: {command.outside.name} against its own kind"
    out = command.report or _evaluation_folder(run).with_name("ood") / command.outside.name
    judge.write(result, inside, outside, out, title, {"run": command.run, **asked, "facts": translator.facts})
    _show(result.markdown(title))
    console.print(f"written to {out}: report.json, report.md, histograms.png, hardest.png", highlight=False)
    return 0


def export(command: Export) -> int:
    """``sivae-translate export``."""
    from sivae_translate.inference.export import export as write
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.progress import console

    out = write(
        Translator.from_pretrained(command.run, device="cpu", dtype="float32"), command.out, command.format
    )
    console.print(
        f"written to {out}: {', '.join(sorted(path.name for path in out.iterdir()))}", highlight=False
    )
    return 0


def _evaluation_folder(run: Path) -> Path:
    """In the run folder, or in one named after the model where there is none."""
    return (run if run.is_dir() else Path("runs", run.stem)) / "evaluation"


def _data_of(run: Path, saved: DataConfig, given: Path | None) -> DataConfig:
    """The data to judge on: a folder that is named, or the run's own, which the model file does not know the
    place of.
    """
    from sivae_translate.config import load_config

    if given is not None:
        return saved.at(given)
    return load_config(run / "config.yaml").data if (run / "config.yaml").exists() else saved


def info(command: Info) -> int:
    """``sivae-translate info``."""
    from rich.console import Console

    from sivae_translate.inference.translator import Translator
    from sivae_translate.models.weights import parameter_count

    translator = Translator.from_pretrained(command.run, device="cpu")
    model, console = translator.model, Console()
    console.print(
        f"domains     {', '.join(name or '(no labels)' for name in translator.domains)}", highlight=False
    )
    console.print(
        f"image       {' x '.join(map(str, model.image_shape))} (channels x height x width)", highlight=False
    )
    console.print(
        f"content     {' x '.join(map(str, model.content_shape))}, style {model.style_dim}", highlight=False
    )
    for name, part in model.named_children():
        console.print(f"  {name:<18}{parameter_count(part):>12,} parameters", highlight=False)
    console.print(f"  {'together':<18}{parameter_count(model):>12,} parameters", highlight=False)
    for name, value in translator.facts.items():
        shown = (
            ", ".join(f"{key} {_short(one)}" for key, one in value.items())
            if isinstance(value, dict)
            else value
        )
        console.print(f"{name:<20}{shown}", highlight=False, markup=False)
    return 0


def _short(value: object) -> str:
    """Fractions to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings(_: Settings) -> int:
    """``sivae-translate settings``."""
    from rich.console import Console

    from sivae_translate.config import field_names

    for name, text in field_names():
        Console().print(f"--{name:<38}{text}", highlight=False, markup=False)
    return 0


def demo(command: Demo) -> int:
    """``sivae-translate demo``; 0, or 128 + the signal that stopped it."""
    from sivae_translate.studies import demo
    from sivae_translate.training.signals import Interrupted
    from sivae_translate.utils.progress import console

    try:
        demo.demo(command.out, command.minutes)
    except Interrupted as stop:
        console.print(f"{stop}; the next demo starts anew")
        return 128 + stop.signum
    return 0
