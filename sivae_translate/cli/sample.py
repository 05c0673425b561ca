"""``sivae-translate sample``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import Device, Format, Quality, Run


@dataclass(frozen=True)
class Sample:
    """Sample new images from the prior; samples.png is a grid of the first ones."""

    run: Run
    out: Path
    """Output folder."""
    domain: str | None = None
    """Domain to sample; default: all domains."""
    n: int = 64
    """Number of images of each domain."""
    seed: int = 0
    """The same seed gives the same images on the same kind of device."""
    format: Format = "png"
    quality: Quality = None
    device: Device = "auto"


def run(command: Sample) -> int:
    """``sivae-translate sample``."""
    from sivae_translate.inference.sampling import sample_files
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.encoding import Encoding
    from sivae_translate.utils.progress import console

    translator = Translator.from_pretrained(command.run, device=command.device)
    written = sample_files(
        translator,
        command.out,
        command.n,
        domain=command.domain,
        seed=command.seed,
        encoding=Encoding(command.format, command.quality),
    )
    console.print(
        f"{len(written)} written to {command.out}, the first ones in {command.out / 'samples.png'}",
        highlight=False,
    )
    return 0
