"""Checkpoints: folders of safetensors and JSON that appear whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from sivae_translate.training.guard import Guard
from sivae_translate.utils import tensor_files
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import replacing_folder, whole_folders
from sivae_translate.utils.tensor_files import TensorFileError, write_tensors

FORMAT = 2
"""2: validation has other images than in 1, so that a run of 1 has been trained on some of them."""


WEIGHTS, MOMENTS, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.json"
"""The files of a checkpoint."""
ADAM = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam keeps for a parameter."""
OLD_GUARD_NAMES = {"retreats": "rollbacks", "seen": "observations"}
"""Names that the guard's state had in checkpoints of earlier versions."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        seconds: of training so far, with loading, validation and pictures.
        best_score: that of best.safetensors, for information: what counts is what that file says.
        guard: the guard's state.
        started_from: the model whose weights it started from, with the steps and minutes of all trainings
            before this run.
        domains: names, in their order; None in checkpoints of earlier versions.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    guard: Guard = field(default_factory=Guard)
    started_from: dict[str, Any] | None = None
    domains: list[str] | None = None


def save(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    progress: Progress,
) -> None:
    """Write a checkpoint folder: weights.safetensors, optimizer.safetensors, progress.json.

    Raises:
        OutputError: the folder cannot be written; an older checkpoint of that name is still there.
    """
    weights = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    moments = {
        f"{name}.{key}": value for name, optimizer in optimizers.items() for key, value in _moments(optimizer)
    }
    with replacing_folder(folder) as temporary:
        write_tensors(temporary / WEIGHTS, weights)
        write_tensors(temporary / MOMENTS, moments)
        state = {"format": FORMAT, **asdict(progress)}
        (temporary / PROGRESS).write_text(json.dumps(state, indent=2), encoding="utf-8")


def load(
    folder: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> Progress:
    """Read a checkpoint folder into modules and optimizers of the same sizes.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the modules.
    """
    weights = read_tensors(folder / WEIGHTS)
    moments = read_tensors(folder / MOMENTS)
    for name, module in modules.items():
        load_weights(module, _below(name, weights), folder)
    for name, optimizer in optimizers.items():
        _load_moments(optimizer, _below(name, moments), folder)
    return read_progress(folder)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load every tensor of a module, strictly.

    Raises:
        CheckpointError: names, shapes or types differ, or a number is not finite.
    """
    types = {name: value.dtype for name, value in module.state_dict().items()}
    for name, value in weights.items():
        if value.dtype != types.get(name, value.dtype) or not value.isfinite().all():
            raise CheckpointError(
                f"{where} is damaged: '{name[:80]}' is of another type or not finite",
                remedy="use another checkpoint or model, or train again",
            )
    try:
        module.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(
            f"{where} does not fit the model: {detail}", remedy="use the configuration it was made with"
        ) from error


def latest(root: Path) -> Path | None:
    """The newest checkpoint in a folder, even one whose replacement was interrupted; or None."""
    steps = _steps(root)
    return steps[max(steps)] if steps else None


def prune(root: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints."""
    for _, folder in sorted(_steps(root).items())[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)


def _steps(root: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their steps."""
    return {step: path for name, path in whole_folders(root).items() if (step := _step(name)) is not None}


def _step(name: str) -> int | None:
    """The step of a checkpoint's name; None for another name."""
    match = re.fullmatch(r"step-(\d{8,18})", name)
    return int(match[1]) if match else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file of a checkpoint.

    Raises:
        CheckpointError: missing or damaged.
    """
    try:
        return tensor_files.read_tensors(path)
    except TensorFileError as error:
        raise damaged(path, str(error)) from error


def read_progress(folder: Path) -> Progress:
    """Where a checkpoint stands.

    Raises:
        CheckpointError: its file is missing or damaged, or of another format.
    """
    path = folder / PROGRESS
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(state, dict) or not isinstance(state.get("guard"), dict):
        raise damaged(path, "it has no state of the guard")
    if state.pop("format", None) != FORMAT:
        raise CheckpointError(
            f"{folder} has another checkpoint format than {FORMAT}", remedy="use the version that wrote it"
        )
    state["guard"] = {OLD_GUARD_NAMES.get(name, name): value for name, value in state["guard"].items()}
    try:
        stored = _StoredProgress.model_validate(state)
    except ValidationError as error:
        problem = error.errors()[0]
        raise damaged(path, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    return Progress(**{**dict(stored), "guard": Guard(**dict(stored.guard))})


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error for a file of a checkpoint that cannot be used."""
    folder, own = path.parent, _step(path.parent.name)
    earlier = [step for step in _steps(folder.parent) if own is not None and step < own]
    remedy = (
        f"remove {folder}; --resume continues from step {max(earlier)} then"
        if earlier
        else "there is no earlier checkpoint: train again into another --out"
    )
    return CheckpointError(f"cannot read {path}: {reason}", remedy=remedy)


class _Stored(BaseModel):
    """What a checkpoint's JSON may hold."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _StoredGuard(_Stored):
    """`Guard`, with bounds."""

    learning_rate_scale: Annotated[float, Field(gt=0, le=1)]
    rollbacks: Annotated[int, Field(ge=0)]
    kl_real: float | None = None
    kl_fake: float | None = None
    collapsed: Annotated[int, Field(ge=0)] = 0
    observations: Annotated[int, Field(ge=0)] = 0


class _StoredProgress(_Stored):
    """`Progress`, with bounds."""

    step: Annotated[int, Field(ge=0, lt=10**18)]
    seconds: Annotated[float, Field(ge=0)]
    best_score: float | None = None
    guard: _StoredGuard
    started_from: dict[str, Any] | None = None
    domains: list[str] | None = None


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def _moments(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    state = optimizer.state_dict()["state"]
    return [(f"{index}.{key}", value) for index, values in state.items() for key, value in values.items()]


def _load_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor], folder: Path) -> None:
    """Adam's moments, which must be those of the same parameters.

    Raises:
        CheckpointError: names or shapes differ, or a number is not finite.
    """
    path = folder / MOMENTS
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters) or key not in ADAM:
            raise damaged(path, f"it holds '{name[:80]}', which this run does not have")
        like = parameters[int(index)]
        if value.shape != (torch.Size() if key == "step" else like.shape) or not value.isfinite().all():
            raise damaged(path, f"'{name}' has another shape or is not finite")
        # Fused Adam walks through memory, so a moment must lie in memory as its parameter does
        # (channels_last).
        laid_out = value if key == "step" else torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[key] = laid_out
    if any(set(keys) != ADAM for keys in state.values()):
        raise damaged(path, "it is incomplete")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
