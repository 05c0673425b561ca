"""``sivae-translate reconstruct``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sivae_translate.cli.common import Device, Format, Quality, Run, report_files, resumable
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Reconstruct:
    """Encode and decode files and folders, to see what the model preserves."""

    run: Run
    inputs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IN [IN ...]")]
    """Images, and folders that are searched recursively."""
    out: Path
    """Output folder."""
    overwrite: bool = False
    """Replace existing outputs."""
    strict: bool = False
    """Stop at the first unreadable file and at files that are not images."""
    format: Format = "png"
    quality: Quality = None
    grid: Path | None = None
    """Also write a picture of sources and reconstructions."""
    workers: int | None = None
    """Processes that decode and encode image files beside the model, 0 for none; default: one per core if
    there are many images."""
    batch_size: int = 64
    """Images computed at a time."""
    device: Device = "auto"


def run(command: Reconstruct) -> int:
    """``sivae-translate reconstruct``; 1 if files were unreadable."""
    from sivae_translate.inference.folders import translate_files
    from sivae_translate.inference.translator import Translator

    if not command.inputs:
        raise ConfigError(
            "no input is given",
            remedy="name images or folders: sivae-translate reconstruct RUN IN... --out DIR",
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    with resumable():
        result = translate_files(
            translator,
            command.inputs,
            None,
            command.out,
            overwrite=command.overwrite,
            strict=command.strict,
            batch_size=command.batch_size,
            grid=command.grid,
            encoding=Encoding(command.format, command.quality),
            workers=command.workers,
        )
    return report_files(result, command.out)
