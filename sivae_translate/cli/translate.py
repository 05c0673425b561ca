"""``sivae-translate translate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sivae_translate.cli.common import (
    Device,
    Dtype,
    Format,
    Quality,
    Run,
    note_left_out,
    report_files,
    resumable,
)
from sivae_translate.utils.choices import Check
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import ConfigError

if TYPE_CHECKING:
    from sivae_translate.inference.arguments import Options
    from sivae_translate.inference.translator import StyleLike, Translator

LOCAL = ("strict", "grid", "html", "metadata")
"""Options that only the local engine has."""


@dataclass(frozen=True)
class Translate:
    """Translate files and folders into the style of a domain or of reference images."""

    run: Run
    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN [IN ...]")]
    """Images, and folders that are searched recursively, or one film; with --engine ray also s3:// and other
    fsspec locations."""
    out: str
    """Output folder; for one film, animation or TIFF file of several pages, the file to write."""
    to: str | None = None
    """Domain to translate to."""
    seed: int | None = None
    """With --to: draw the style from the domain's prior with this seed, instead of using its mean."""
    like: tuple[Path, ...] = ()
    """One or more reference images."""
    overwrite: bool = False
    """Replace existing outputs; otherwise they are kept, so a repeated call translates only what is
    missing."""
    strict: bool = False
    """Stop at the first unreadable file and at files that are not images."""
    size: Literal["model", "input"] = "model"
    """Size of the outputs: the model's, or each input's width and height. The model still sees inputs at the
    scale of training, unless --tile is given."""
    tile: int | Literal["auto"] | None = None
    """With --size input: translate at the input's own scale, in tiles of this side in pixels; auto computes
    it whole if memory suffices."""
    overlap: int | None = None
    """With --tile: least overlap of neighbouring tiles in pixels; default: as much as the networks see, at
    most half a tile."""
    alpha: Literal["keep", "white"] = "keep"
    """With --size input: keep the transparency of inputs (not in jpg), or leave it on white."""
    mask: Path | None = None
    """With --size input: translate only where this picture is white; it is scaled to each input."""
    keep_detail: bool = False
    """With --size input: add the fine detail of inputs that reconstructions lack, where translations are like
    reconstructions."""
    bits: Literal[8, 16] = 8
    """With --size input and --format png: 16 gives grey inputs of 16 bits outputs of 16 bits, if the model is
    grey."""
    metadata: bool = False
    """Keep the EXIF data and the resolution of inputs."""
    format: Format = "png"
    quality: Quality = None
    grid: Path | None = None
    """Also write a picture of sources and translations."""
    html: Path | None = None
    """Also write a page with every source and translation, to sort and filter in a browser."""
    check: Check = "off"
    """warn lists images unlike the training data, raise stops at them; doubles the time."""
    percentile: float | None = None
    """With --check: percentile above which an image counts as unusual; 99 flags one in a hundred. Default:
    99, or the highest whole number that the model's validation images resolve."""
    batch_size: int = 64
    """Images computed at a time."""
    engine: Literal["local", "ray"] = "local"
    """ray distributes the work over a cluster (RAY_ADDRESS) or, without one, over this machine's
    processors."""
    workers: int | None = None
    """Processes that decode and encode image files beside the model, 0 for none; default: one per core if
    there are many images. With --engine ray: number of workers; default: one per GPU, or one per
    processor."""
    device: Device = "auto"
    dtype: Dtype = "auto"


def run(command: Translate) -> int:
    """``sivae-translate translate``; 1 if files were unreadable."""
    from sivae_translate.inference.folder_page import write_folder_page
    from sivae_translate.inference.folders import translate_files
    from sivae_translate.inference.style import Style
    from sivae_translate.inference.translator import Translator

    _check(command)
    translator = Translator.from_pretrained(command.run, device=command.device, dtype=command.dtype)
    style: StyleLike = list(command.like)
    if command.to is not None:
        style = Style.domain(command.to) if command.seed is None else Style.draw(command.to, command.seed)
    if _is_film(command):
        return _translate_film(command, translator, style)
    if command.engine == "ray":
        return _translate_on_cluster(command, style)
    with resumable():
        result = translate_files(
            translator,
            [Path(given) for given in command.inputs],
            style,
            Path(command.out),
            overwrite=command.overwrite,
            strict=command.strict,
            metadata=command.metadata,
            grid=command.grid,
            encoding=Encoding(command.format, command.quality),
            workers=command.workers,
            **_options(command),
        )
    if command.html is not None:
        inputs = [Path(given) for given in command.inputs]
        suffix = Encoding(command.format, command.quality).suffix
        out = Path(command.out)
        write_folder_page(command.html, inputs, out, suffix, translator.processor, result)
    return report_files(result, Path(command.out))


def _options(command: Translate) -> Options:
    """The options of a translation of files, by either engine."""
    return {
        "size": command.size,
        "tile": command.tile,
        "overlap": command.overlap,
        "alpha": command.alpha,
        "mask": command.mask,
        "keep_detail": command.keep_detail,
        "bits": command.bits,
        "batch_size": command.batch_size,
        "check": command.check,
        "percentile": command.percentile,
    }


def _is_film(command: Translate) -> bool:
    """Whether one file with several pictures, a film or an animation, is to become another."""
    from sivae_translate.inference.film import CONTAINERS, SUFFIXES

    if any(Path(given).suffix.lower() in CONTAINERS and Path(given).is_file() for given in command.inputs):
        return True
    out = Path(command.out)
    return len(command.inputs) == 1 and out.suffix.lower() in SUFFIXES and not out.is_dir()


def _translate_film(command: Translate, translator: Translator, style: StyleLike) -> int:
    """Translate a film or an animation to the file ``--out``."""
    from sivae_translate.inference.arguments import Request
    from sivae_translate.inference.film import translate_film
    from sivae_translate.utils.progress import console

    unsupported = (*LOCAL, "percentile", "quality", "workers")
    if len(command.inputs) > 1 or command.check != "off" or command.engine == "ray":
        raise ConfigError(
            "a film is translated alone, without --check and by the local engine",
            remedy="name one film, and its translation after --out",
        )
    if any(getattr(command, name) not in (None, False) for name in unsupported) or (
        command.format != "png" or command.bits != 8
    ):
        named = ", ".join(f"--{name}" for name in (*unsupported, "format", "bits"))
        raise ConfigError(
            f"films support none of {named}", remedy="omit these; the name after --out gives the format"
        )
    source, target = Path(command.inputs[0]), Path(command.out)
    if target.exists() and not command.overwrite:
        console.print(f"{target} already existed; --overwrite replaces it", highlight=False)
        return 0
    request = Request(
        size="input",
        tile=command.tile,
        overlap=command.overlap,
        alpha=command.alpha,
        mask=command.mask,
        keep_detail=command.keep_detail,
    )
    count = translate_film(translator, source, style, target, request)
    console.print(f"{count} pictures written to {target}", highlight=False)
    return 0


def _check(command: Translate) -> None:
    """Raise ConfigError if options are missing or contradict each other."""
    if not command.inputs:
        raise ConfigError(
            "no input is given",
            remedy="name images or folders: sivae-translate translate RUN IN... --to DOMAIN",
        )
    if (command.to is None) == (not command.like):
        raise ConfigError(
            "either --to DOMAIN or --like REFERENCE is needed",
            remedy="sivae-translate info RUN lists the domains",
        )
    if command.like and command.seed is not None:
        raise ConfigError(
            "--seed draws a style from a domain's prior, but --like uses the style of references",
            remedy="omit --seed, or give --to DOMAIN instead of --like",
        )
    if command.percentile is not None and command.check == "off":
        raise ConfigError("--percentile is the check's", remedy="add --check warn, or leave it out")
    if command.html is not None and command.html.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--html {command.html} is no name of a page", remedy="end it in .html")


def _translate_on_cluster(command: Translate, style: StyleLike) -> int:
    """Translate with Ray; returns 1 if files were unreadable."""
    from sivae_translate.inference.cluster import translate_on_cluster
    from sivae_translate.utils.progress import console

    unsupported = {name: getattr(command, name) for name in LOCAL}
    if any(unsupported.values()) or command.device != "auto":
        raise ConfigError(
            f"--engine ray supports none of {', '.join(f'--{name}' for name in LOCAL)}, and its workers "
            "choose their devices",
            remedy="omit these and --device, or use --engine local",
        )
    result = translate_on_cluster(
        command.run,
        command.inputs,
        style,
        command.out,
        overwrite=command.overwrite,
        workers=command.workers,
        dtype=command.dtype,
        encoding=Encoding(command.format, command.quality),
        **_options(command),
    )
    summary = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    console.print(f"{summary}; manifest: {result.manifest}", highlight=False)
    note_left_out(result.left_out)
    return 1 if result.counts["unreadable"] else 0
