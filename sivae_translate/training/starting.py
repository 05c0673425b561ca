"""Fine-tuning: starting a run from the weights of a trained model."""

from __future__ import annotations

from pathlib import Path

import torch

from sivae_translate.config import Config
from sivae_translate.models.growing import grown
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import SavedModel, find_model, load_model
from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import CheckpointError


def fine_tune(model: LatentModel, config: Config, domains: tuple[str, ...], source: str) -> dict[str, object]:
    """Load the weights of a trained model of the same sizes, or of one for smaller images (`grown`).

    Args:
        model: the new model, changed in place.
        config: settings of the new run.
        domains: domains of the new run.
        source: run folder, model file or pretrained name.

    Returns:
        The model's name, with the steps and minutes of its training, including what it started from.

    Raises:
        CheckpointError: there is no such model, or its sizes or domains differ.
    """
    path = find_model(source)
    saved = load_model(path)
    if saved.domains != domains:
        raise CheckpointError(
            f"{path} has the domains {', '.join(saved.domains)}, the data has {', '.join(domains)}",
            remedy="start from a model of the same domains, or omit training.fine_tune",
        )
    _require_same_space(saved.model, model, source)
    weights = saved.model.state_dict()
    if saved.config.data.image_size < config.data.image_size:
        _require_growable(saved, config, path)
        weights = grown(weights, model.state_dict())
    checkpoints.load_weights(model, weights, path)
    before = saved.facts.get("started_from")
    stages = [saved.facts, before if isinstance(before, dict) else {}]
    values = {name: [stage.get(name) for stage in stages] for name in ("steps", "minutes")}
    spent = {name: sum(v for v in parts if isinstance(v, int | float)) for name, parts in values.items()}
    named = Path(source).absolute()
    while named.name in ("run", "model.safetensors", "best.safetensors"):
        named = named.parent
    return {"model": named.name, **spent}


def _require_same_space(saved: LatentModel, model: LatentModel, source: str) -> None:
    """Raise CheckpointError if the two compute on pixels and latents, or on different latents."""
    theirs, ours = saved.space.state_dict(), model.space.state_dict()
    if theirs.keys() != ours.keys() or any(
        not torch.equal(theirs[name], ours[name].cpu()) for name in theirs
    ):
        if theirs and ours:
            what = "on other latents than the new run"
        else:
            what = "on latents, the new run on pixels" if theirs else "on pixels, the new run on latents"
        remedy = f"set model.autoencoder to {source}" if theirs else "leave model.autoencoder out"
        raise CheckpointError(f"{source} computes {what}", remedy=remedy)


def _require_growable(saved: SavedModel, config: Config, path: Path) -> None:
    """Raise CheckpointError if more than the image size differs, which the weights alone would not show."""
    small, large = (
        {"channels": one.data.channels, **one.model.model_dump(include={"kind", "resampling"})}
        for one in (saved.config, config)
    )
    if small["kind"] == "published":
        raise CheckpointError(
            f"{path} has the published networks, which cannot be grown", remedy="omit training.fine_tune"
        )
    if other := [name for name, value in small.items() if value != large[name]]:
        raise CheckpointError(
            f"{path} cannot be grown: it has another {' and '.join(other)}",
            remedy="change only the image size and widths",
        )
