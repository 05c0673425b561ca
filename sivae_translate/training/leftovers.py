"""Cleaning up the run folder after killed trainings."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import OutputError
from sivae_translate.utils.files import remove_leftovers


def tidy(out: Path, step: int) -> None:
    """Remove leftovers of killed trainings from a run folder that this training has locked.

    Args:
        out: the run folder.
        step: step of the checkpoint that this training has read, or 0.

    Raises:
        OutputError: another training has continued the run since then.
    """
    for folder in (out, out / "pictures", out / "checkpoints"):
        remove_leftovers(folder, exclusive=True)
    newest = checkpoints.latest(out / "checkpoints")
    if newest is not None and checkpoints.read_progress(newest).step != step:
        raise OutputError(
            f"another training has continued the run in {out} in the meantime", remedy="resume again"
        )
