"""``sivae-translate fidelity``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import (
    Device,
    Run,
    data_of,
    evaluation_folder,
    report_unreadable,
    require_apart,
    show,
)
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Fidelity:
    """Measure samples (FID, KID, precision, recall) and reconstructions; needs the extra 'fid'."""

    run: Run
    data: Path | None = None
    """Folder with the data; default: the run's own."""
    images: int = 1000
    """Number of test images, training images and samples, each. FID falls with their number."""
    out: Path | None = None
    """Folder for generation.json and generation.md; default: evaluation/ in the run folder."""
    seed: int = 0
    """Seed of samples and choices."""
    device: Device = "auto"


def run(command: Fidelity) -> int:
    """``sivae-translate fidelity``; 1 if files were unreadable."""
    from sivae_translate.data.loading import load_data
    from sivae_translate.evaluation.fidelity import FEWEST
    from sivae_translate.evaluation.generation import GenerationSuite
    from sivae_translate.inference.translator import Translator
    from sivae_translate.utils.files import require_writable, write_json, write_text
    from sivae_translate.utils.progress import console

    if command.images < FEWEST:
        raise ConfigError(
            f"--images is {command.images}", remedy=f"FID and KID need at least {FEWEST}, better 1,000"
        )
    translator = Translator.from_pretrained(command.run, device=command.device)
    data_config = data_of(command.run, translator.config.data, command.data)
    data = load_data(data_config)
    data.require_tests()
    out = command.out or evaluation_folder(command.run)
    require_apart(out, data_config)
    require_writable(out)
    suite = GenerationSuite(data, images=command.images, seed=command.seed, device=translator.device)
    result = suite.measure(translator)
    table = result.markdown(str(command.run))
    write_json(out / "generation.json", result.as_json())
    write_text(out / "generation.md", table)
    show(table)
    console.print(f"written to {out}: generation.json, generation.md", highlight=False)
    return report_unreadable(data.unreadable)
