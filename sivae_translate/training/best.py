"""The best checkpoint of a run: which may be, and what its file says."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.models.weights import BEST, read_facts
from sivae_translate.objectives.base import Objective
from sivae_translate.utils.errors import CheckpointError

MEASURE = "KID / trivial + LPIPS, 1"
"""Name of the score in model files: only scores of one kind are compared."""


def best_score(out: Path) -> float | None:
    """The score of best.safetensors as the file itself says it; whatever a checkpoint claims may be untrue
    after a kill between two files.

    Returns:
        None where there is no such file, or one that is damaged or has another kind of score.
    """
    try:
        validation = read_facts(out / BEST).get("validation")
    except CheckpointError:
        return None
    if not isinstance(validation, dict) or validation.get("measure") != MEASURE:
        return None
    score = validation.get("score")
    return float(score) if isinstance(score, int | float) else None


def in_last_phase(objective: Objective, share: float) -> bool:
    """Whether no weight of the objective moves any more and fakes take part, where they ever do.

    Args:
        objective: the run's.
        share: of the training that is done, 0 to 1.
    """
    return objective.weights(share) == objective.weights(1.0)
