"""``sivae-translate export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sivae_translate.cli.common import Run


@dataclass(frozen=True)
class Export:
    """Export a model for other runtimes.

    One graph translates images, with the style as an input; another one computes the style of images. Both
    take any batch size.
    """

    run: Run
    out: Path
    """New folder; it must not exist."""
    format: Literal["onnx", "torch"] = "onnx"
    """Format: onnx needs the extra 'onnx'; torch writes .pt2 files for torch.export.load."""


def run(command: Export) -> int:
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
