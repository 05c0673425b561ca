"""``sivae-translate mask``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sivae_translate.cli.common import Device, Run, data_of, report_unreadable, require_new_model


@dataclass(frozen=True)
class Mask:
    """Set channels of the content code that carry nothing to their prior, without further training.

    Their means then tell nothing about the domain any more, and translations stay as they are. Training can
    do this at its end (training.mask). The model is written to a new file, with the calibration that it had.
    """

    run: Run
    out: Path
    """New model file, .safetensors; it must not exist."""
    data: Path | None = None
    """Folder with the training images; default: the run's own."""
    device: Device = "auto"


def run(command: Mask) -> int:
    """``sivae-translate mask``; 1 if files were unreadable."""
    from sivae_translate.models.weights import find_model, load_model, save_model
    from sivae_translate.training.masking import mask
    from sivae_translate.utils.errors import InputError
    from sivae_translate.utils.progress import console

    require_new_model(command.out)
    saved = load_model(find_model(command.run))
    config = data_of(command.run, saved.config.data, command.data)
    problems: list[str] = []
    masked = mask(saved, config, problems.extend, command.device)
    if not masked:
        raise InputError(
            "no channel of the content code can be masked",
            remedy="use the model as it is: it uses every channel, or its prior of the content is learned",
        )
    facts = {**saved.facts, "masked": masked}
    save_model(command.out, saved.model, saved.config, saved.domains, facts, saved.calibration)
    console.print(
        f"written to {command.out}: {masked} of {saved.model.content_shape[0]} channels are masked",
        highlight=False,
    )
    return report_unreadable(problems)
