"""Rolling back: a training that diverges returns to its last checkpoint."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.training import checkpoints
from sivae_translate.training.state import RunState
from sivae_translate.utils.errors import TrainingError

NOT_FINITE = "the weights are not finite"


def restore_last(state: RunState, out: Path, problem: str) -> str:
    """Return to the last checkpoint with half the learning rate; says so.

    Args:
        state: what is restored.
        out: the run folder.
        problem: what is wrong.

    Raises:
        TrainingError: there were too many rollbacks already.
    """
    guard, step = state.progress.guard, state.progress.step
    saved = checkpoints.latest(out / "checkpoints")
    if saved is None:
        raise TrainingError(
            f"before the first step, {problem}", remedy="start from another model (training.fine_tune)"
        )
    if guard.rollbacks >= state.config.training.max_rollbacks:
        raise TrainingError(
            f"training diverged again at step {step}: {problem}; the last good state is {saved}",
            remedy="continue with --resume and a lower training.learning_rate or objective.beta_neg, or "
            "with more training.max_rollbacks",
        )
    state.restore(saved)
    state.progress.guard = guard.rolled_back()
    scale = state.progress.guard.learning_rate_scale
    return f"step {step}: {problem}; back to step {state.progress.step} with {scale:g} x the learning rate"
