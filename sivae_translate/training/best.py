"""The best checkpoint of a run: when one can be the best, and the score in its file."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.models.weights import BEST, read_facts
from sivae_translate.objectives.base import Objective
from sivae_translate.utils.errors import CheckpointError

MEASURE = "KID / trivial + LPIPS, 1"
"""Name of the score in model files: only scores of the same kind are compared."""


def best_score(out: Path) -> float | None:
    """The score in best.safetensors; that in a checkpoint may be wrong if the process was killed.

    Returns:
        None if the file is missing or damaged, or has another kind of score.
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
    """Whether the objective's weights are final and fakes take part, if they ever do.

    Args:
        objective: objective of the run.
        share: completed fraction of the training, 0 to 1.
    """
    return objective.weights(share) == objective.weights(1.0)
