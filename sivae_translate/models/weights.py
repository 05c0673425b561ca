"""A trained model as one safetensors file: weights, and as metadata its configuration, its domains and facts
about its training.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sivae_translate.config import Config, from_dict
from sivae_translate.models.build import make_model
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import Calibration
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import replacing
from sivae_translate.utils.resources import asset_path

FORMAT = "sivae-translate 1"
PRETRAINED = {"glyphs": "glyphs.safetensors", "glyphs-64": "glyphs-64.safetensors"}
"""Names of the models that come with the library, and their files in assets/."""


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes:
        model: in evaluation mode, on the CPU, float32.
        config: the run's settings.
        domains: names, in the order of the domain indices; one unnamed domain without labels.
        facts: about the training (steps, minutes, last metrics).
        calibration: what is typical of validation images, or None where there were none.
    """

    model: LatentModel
    config: Config
    domains: tuple[str, ...]
    facts: dict[str, object]
    calibration: Calibration | None


def save_model(
    path: Path,
    model: LatentModel,
    config: Config,
    domains: Sequence[str],
    facts: Mapping[str, object],
    calibration: Calibration | None = None,
) -> None:
    """Write a model file, whole or not at all. The user's paths are left out: they mean nothing elsewhere.

    Raises:
        OutputError: it cannot be written.
    """
    settings = config.model_dump(mode="json")
    settings["data"]["root"] = settings["data"]["cache"] = settings["training"]["fine_tune"] = None
    calibrated = calibration.as_json() if calibration else None
    about = {"config": settings, "domains": list(domains), "facts": dict(facts), "calibration": calibrated}
    metadata = {"format": FORMAT, "about": json.dumps(about, sort_keys=True)}
    weights = {name: value.detach().float().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata=metadata)


def load_model(path: Path) -> SavedModel:
    """Read a model file.

    Raises:
        CheckpointError: missing, damaged, or no model of this library.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot read the model {path}: {error}", remedy="name a run folder or a model.safetensors"
        ) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is no model of this library", remedy="name a model.safetensors that training wrote"
        )
    about = json.loads(metadata["about"])
    weights.setdefault("variance", torch.tensor(0.0))  # files older than the likelihood have none: not fitted
    config, domains = from_dict(about["config"], str(path)), tuple(about["domains"])
    model = make_model(config.model, config.data, len(domains))
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} is damaged: its weights do not fit its configuration", remedy="train again"
        ) from error
    calibration = Calibration.from_json(about["calibration"]) if about.get("calibration") else None
    return SavedModel(model.eval().requires_grad_(False), config, domains, about["facts"], calibration)


def find_model(source: str | Path) -> Path:
    """The model file that a name, a run folder or a path stands for.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        if (path / "model.safetensors").is_file():
            return path / "model.safetensors"
        unfinished = (path / "checkpoints").is_dir()
        remedy = (
            f"finish it: sivae-translate train {path / 'config.yaml'} --out {path} --resume"
            if unfinished
            else "name a run"
        )
        raise CheckpointError(f"{path} holds no model.safetensors", remedy=remedy)
    if str(source) in PRETRAINED:
        return asset_path(PRETRAINED[str(source)])
    raise CheckpointError(
        f"there is no run, file or pretrained model '{source}'",
        remedy=f"pretrained models are {', '.join(PRETRAINED)}",
    )


def parameter_count(model: torch.nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in model.parameters())
