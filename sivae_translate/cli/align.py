"""``sivae-translate align``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import Device, Run, data_of, report_unreadable, require_new_model
from sivae_translate.utils.errors import InputError


@dataclass(frozen=True)
class Align:
    """Align the contents of a trained model's domains, without further training.

    Training does this at its end (training.align). The model and its alignment are written to a new file.
    """

    run: Run
    out: Path
    """New model file, .safetensors; it must not exist."""
    data: Path | None = None
    """Folder with the training images; default: the run's own."""
    device: Device = "auto"


def run(command: Align) -> int:
    """``sivae-translate align``; 1 if files were unreadable."""
    from sivae_translate.models.weights import find_model, load_model, save_model
    from sivae_translate.training.aligning import align
    from sivae_translate.utils.progress import console

    require_new_model(command.out)
    saved = load_model(find_model(command.run))
    config = data_of(command.run, saved.config.data, command.data)
    problems: dict[str, None] = {}  # in order; images are read again where their neighbours are compared
    alignment = align(saved, config, lambda found: problems.update(dict.fromkeys(found)), command.device)
    if alignment is None:
        raise InputError(
            "no alignment brings translations closer to neighbours in the other domain",
            remedy="use the model as it is; the domains may have no corresponding images",
        )
    saved.model.alignment = alignment
    pairs = saved.model.domains * (saved.model.domains - 1)
    facts = {**saved.facts, "aligned": alignment.kept}
    save_model(command.out, saved.model, saved.config, saved.domains, facts, saved.calibration)
    console.print(
        f"written to {command.out}: {alignment.kept} of {pairs} directions are aligned", highlight=False
    )
    return report_unreadable(list(problems))
