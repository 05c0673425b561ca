"""Fine-tuning: a run that starts from the weights of a trained model."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.config import Config
from sivae_translate.models.growing import grown
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import SavedModel, find_model, load_model
from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import CheckpointError


def fine_tune(model: LatentModel, config: Config, domains: tuple[str, ...], source: str) -> dict[str, object]:
    """Take over the weights of a trained model of the same sizes, or of one for smaller images (`grown`).

    Args:
        model: changed in place.
        config: of the new run.
        domains: of the new run's data.
        source: run folder, model file or pretrained name.

    Returns:
        the model's name, with the steps and minutes that it was trained for, itself and what it started from.

    Raises:
        CheckpointError: there is no such model, or its sizes or domains differ.
    """
    path = find_model(source)
    saved = load_model(path)
    if saved.domains != domains:
        raise CheckpointError(
            f"{path} has the domains {', '.join(saved.domains)}, the data has {', '.join(domains)}",
            remedy="start from a model of the same domains, or leave training.fine_tune out",
        )
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


def _require_growable(saved: SavedModel, config: Config, path: Path) -> None:
    """Raises CheckpointError where more differs than the images' size, which weights alone would not tell."""
    small, large = (
        {"channels": one.data.channels, **one.model.model_dump(include={"kind", "resampling"})}
        for one in (saved.config, config)
    )
    if small["kind"] == "published":
        raise CheckpointError(
            f"{path} has the published networks, which do not grow", remedy="leave training.fine_tune out"
        )
    if other := [name for name, value in small.items() if value != large[name]]:
        raise CheckpointError(
            f"{path} cannot be grown: it has another {' and '.join(other)}",
            remedy="change the image size and widths only",
        )
