"""Checkpoints: folders of safetensors and JSON files, written atomically."""

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

from sivae_translate.models.autoencoder_files import SPACE
from sivae_translate.training.guard import Guard
from sivae_translate.utils import tensor_files
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import replacing_folder, whole_folders
from sivae_translate.utils.tensor_files import TensorFileError, below, write_tensors

FORMAT = 2
"""In format 1 validation used other images, so a run of format 1 was trained on some of today's."""


WEIGHTS, MOMENTS, PROGRESS = "weights.safetensors", "optimizer.safetensors", "progress.json"
"""Files of a checkpoint."""
STATISTICS = (f"model.{SPACE}mean", f"model.{SPACE}deviation")
"""Tensors of an autoencoder that checkpoints also have, to recognise it: other autoencoders have others."""
ADAM = {"step", "exp_avg", "exp_avg_sq"}
"""State of Adam for each parameter."""
OLD_GUARD_NAMES = {"retreats": "rollbacks", "seen": "observations"}
"""Earlier names of the guard's state."""


@dataclass
class Progress:
    """The progress of a run.

    Attributes:
        step: number of completed steps.
        seconds: training time so far, including loading, validation and pictures.
        best_score: score of best.safetensors, for information only: the score in that file counts.
        guard: state of the guard.
        started_from: the model that fine-tuning started from, with the steps and minutes of all trainings
            before this run.
        domains: names of the domains, in order; None in checkpoints of earlier versions.
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
        OutputError: the folder cannot be written; an older checkpoint of that name is kept.
    """
    weights = {
        f"{name}.{key}": value
        for name, module in modules.items()
        for key, value in module.state_dict().items()
        if not key.startswith(SPACE) or f"{name}.{key}" in STATISTICS  # an autoencoder has its own file
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
    """Load a checkpoint into modules and optimizers of the same sizes.

    Raises:
        CheckpointError: a file is missing or damaged, or does not match the modules or their autoencoder.
    """
    weights = read_tensors(folder / WEIGHTS)
    moments = read_tensors(folder / MOMENTS)
    for name, module in modules.items():
        stored = below(f"{name}.", weights)
        space = {key: value for key, value in module.state_dict().items() if key.startswith(SPACE)}
        if any(not torch.equal(stored[key], space[key].cpu()) for key in stored.keys() & space.keys()):
            raise CheckpointError(
                f"the autoencoder of the run is another than that of its checkpoint {folder}",
                remedy="copy the run's own autoencoder back, or train a new run in another --out",
            )
        load_weights(module, stored | space, folder)
    for name, optimizer in optimizers.items():
        _load_moments(optimizer, below(f"{name}.", moments), folder)
    return read_progress(folder)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load all tensors of a module, strictly.

    Raises:
        CheckpointError: names, shapes or types differ, or a value is not finite.
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
            f"{where} does not fit the model: {detail}", remedy="use the configuration it was trained with"
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
    """The checkpoints in a folder by step."""
    return {step: path for name, path in whole_folders(root).items() if (step := _step(name)) is not None}


def _step(name: str) -> int | None:
    """The step in a checkpoint's name; None for other names."""
    match = re.fullmatch(r"step-(\d{8,18})", name)
    return int(match[1]) if match else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint's safetensors file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return tensor_files.read_tensors(path)
    except TensorFileError as error:
        raise damaged(path, str(error)) from error


def read_progress(folder: Path) -> Progress:
    """Read the progress in a checkpoint.

    Raises:
        CheckpointError: the file is missing or damaged, or has another format.
    """
    path = folder / PROGRESS
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from error
    if not isinstance(state, dict) or not isinstance(state.get("guard"), dict):
        raise damaged(path, "the state of the guard is missing")
    if state.pop("format", None) != FORMAT:
        raise CheckpointError(
            f"{folder} has a checkpoint format other than {FORMAT}", remedy="use the version that wrote it"
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
    """A part of a checkpoint's JSON."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _StoredGuard(_Stored):
    """The stored `Guard`, with bounds."""

    learning_rate_scale: Annotated[float, Field(gt=0, le=1)]
    rollbacks: Annotated[int, Field(ge=0)]
    kl_real: float | None = None
    kl_fake: float | None = None
    collapsed: Annotated[int, Field(ge=0)] = 0
    observations: Annotated[int, Field(ge=0)] = 0


class _StoredProgress(_Stored):
    """The stored `Progress`, with bounds."""

    step: Annotated[int, Field(ge=0, lt=10**18)]
    seconds: Annotated[float, Field(ge=0)]
    best_score: float | None = None
    guard: _StoredGuard
    started_from: dict[str, Any] | None = None
    domains: list[str] | None = None


def _moments(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    state = optimizer.state_dict()["state"]
    return [(f"{index}.{key}", value) for index, values in state.items() for key, value in values.items()]


def _load_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor], folder: Path) -> None:
    """Load Adam's moments, which must belong to the same parameters.

    Raises:
        CheckpointError: names or shapes differ, or a value is not finite.
    """
    path = folder / MOMENTS
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters) or key not in ADAM:
            raise damaged(path, f"it has '{name[:80]}', which is not part of this run")
        like = parameters[int(index)]
        if value.shape != (torch.Size() if key == "step" else like.shape) or not value.isfinite().all():
            raise damaged(path, f"'{name}' has another shape or is not finite")
        # Fused Adam ignores strides, so a moment must have the memory format of its parameter
        # (channels_last).
        laid_out = value if key == "step" else torch.empty_like(like).copy_(value)
        state.setdefault(int(index), {})[key] = laid_out
    if any(set(keys) != ADAM for keys in state.values()):
        raise damaged(path, "it is incomplete")
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
