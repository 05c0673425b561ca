"""Checkpoints: folders of safetensors and JSON that appear whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sivae_translate.training.guard import Guard
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import replacing_folder

FORMAT = 2
"""2: validation has other images than in 1, so that a run of 1 has been trained on some of them."""


OLD_GUARD_NAMES = {"retreats": "rollbacks", "seen": "observations"}
"""Names that the guard's state had in checkpoints of earlier versions."""


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        seconds: of training so far, with loading, validation and pictures.
        best_score: lowest validation score so far.
        guard: the guard's state.
        started_from: the model whose weights it started from, with the steps and minutes of all trainings
            before this run.
    """

    step: int = 0
    seconds: float = 0.0
    best_score: float | None = None
    guard: Guard = field(default_factory=Guard)
    started_from: dict[str, Any] | None = None


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
        save_file(_plain(weights), temporary / "weights.safetensors")
        save_file(_plain(moments), temporary / "optimizer.safetensors")
        state = {"format": FORMAT, **asdict(progress)}
        (temporary / "progress.json").write_text(json.dumps(state, indent=2), encoding="utf-8")


def load(
    folder: Path, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> Progress:
    """Read a checkpoint folder into modules and optimizers of the same sizes.

    Raises:
        CheckpointError: a file is missing or damaged, or does not fit the modules.
    """
    weights = read_tensors(folder / "weights.safetensors")
    moments = read_tensors(folder / "optimizer.safetensors")
    for name, module in modules.items():
        load_weights(module, _below(name, weights), folder)
    for name, optimizer in optimizers.items():
        _load_moments(optimizer, _below(name, moments))
    state = read_json(folder / "progress.json")
    if state.pop("format", None) != FORMAT:
        raise CheckpointError(
            f"{folder} has another checkpoint format than {FORMAT}", remedy="use the version that wrote it"
        )
    guard = {OLD_GUARD_NAMES.get(name, name): value for name, value in state["guard"].items()}
    return Progress(**{**state, "guard": Guard(**guard)})


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Load every tensor of a module, strictly.

    Raises:
        CheckpointError: names or shapes differ.
    """
    try:
        module.load_state_dict(dict(weights), strict=True)
    except RuntimeError as error:
        detail = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CheckpointError(
            f"{where} does not fit the model: {detail}", remedy="use the configuration it was made with"
        ) from error


def latest(root: Path) -> Path | None:
    """The newest checkpoint in a folder, or None."""
    checkpoints = sorted(root.glob("step-*/progress.json"))
    return checkpoints[-1].parent if checkpoints else None


def prune(root: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` checkpoints, and what interrupted writes have left."""
    for folder in sorted(root.glob("step-*"))[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)
    for leftover in root.glob(".*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Raises:
        CheckpointError: missing or damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}", remedy="use another checkpoint of the run, or train again"
        ) from error
    return tensors


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: missing or damaged.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error}", remedy="use another checkpoint of the run, or train again"
        ) from error
    return value


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU in plain memory order, which is what safetensors stores."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }


def _moments(optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
    state = optimizer.state_dict()["state"]
    return [(f"{index}.{key}", value) for index, values in state.items() for key, value in values.items()]


def _load_moments(optimizer: torch.optim.Optimizer, moments: Mapping[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in moments.items():
        index, _, key = name.partition(".")
        like = parameters[int(index)]
        # Fused Adam walks through memory, so a moment must lie in memory as its parameter does
        # (channels_last).
        laid_out = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[key] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
