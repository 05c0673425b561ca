"""``sivae-translate interpolate``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sivae_translate.cli.common import Device, Run
from sivae_translate.utils.errors import ConfigError

LONGEST = 1000
"""Images in a strip."""


@dataclass(frozen=True)
class Interpolate:
    """Draw a strip of images by interpolating between the codes of two images."""

    run: Run
    a: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """First image; it also gives the code that is not interpolated."""
    b: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Last image."""
    out: Path
    """File to write, with the extension .png, .jpg or .webp."""
    steps: int = 9
    """Number of images in the strip, at most 1,000."""
    what: Literal["both", "content", "style"] = "both"
    """Which code to interpolate."""
    device: Device = "auto"


def run(command: Interpolate) -> int:
    """``sivae-translate interpolate``."""
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils import pictures
    from sivae_translate.utils.progress import console

    if command.steps > LONGEST:
        raise ConfigError(f"--steps is {command.steps}", remedy=f"a strip has at most {LONGEST} images")
    translator = Translator.from_pretrained(command.run, device=command.device)
    pictures.require_place(command.out, (command.a, command.b))
    strip = translator.interpolate(command.a, command.b, command.steps, what=command.what)
    pictures.save(pictures.grid([strip], cell=max(64, translator.image_size)), command.out)
    console.print(f"written to {command.out}", highlight=False)
    return 0
