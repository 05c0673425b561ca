"""Fine-tuning: starting a run from the weights of a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sivae_translate.config import Config
from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.growing import grown
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import SavedModel, find_model, load_model
from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import CheckpointError, DataError
from sivae_translate.utils.selection import spread

MEANS = "style_prior.means"
"""The only weights that depend on the domains."""
ENCODED = 64
"""Images of a new domain whose styles give its first mean."""


def fine_tune(model: LatentModel, config: Config, data: DomainData, source: str) -> dict[str, object]:
    """Load the weights of a trained model of the same sizes, or of one for smaller images (`grown`).

    Domains that the trained model has keep their style means. The means of new ones are those of the styles
    that the trained encoder sees in their training images. Domains that the data no longer has are dropped.

    Args:
        model: the new model, changed in place.
        config: settings of the new run.
        data: data of the new run.
        source: run folder, model file or pretrained name.

    Returns:
        The model's name, with the steps and minutes of its training, including what it started from.

    Raises:
        CheckpointError: there is no such model, or its sizes differ, or only one of the two has domains.
    """
    path = find_model(source)
    saved = load_model(path)
    if bool(saved.model.domains) != bool(model.domains):
        has = "has no domains, the data has" if model.domains else "has domains, the data has none of"
        names = ", ".join(data.domains if model.domains else saved.domains)
        raise CheckpointError(
            f"{path} {has} {names}", remedy="set data.labels as in that run, or omit training.fine_tune"
        )
    _require_same_space(saved.model, model, source)
    saved.model.alignment = None  # training changes what it was fitted to
    weights = saved.model.state_dict()
    if saved.config.data.image_size < config.data.image_size:
        _require_growable(saved, config, path)
        weights = grown(weights, model.state_dict())
    kept = {name: saved.domains.index(name) for name in data.domains if name in saved.domains}
    if saved.domains != data.domains:
        weights[MEANS] = _means(weights[MEANS], data.domains, kept)
    checkpoints.load_weights(model, weights, path)
    if model.domains:
        _encode_new_domains(model, data, [i for i, name in enumerate(data.domains) if name not in kept])
    before = saved.facts.get("started_from")
    stages = [saved.facts, before if isinstance(before, dict) else {}]
    values = {name: [stage.get(name) for stage in stages] for name in ("steps", "minutes")}
    spent = {name: sum(v for v in parts if isinstance(v, int | float)) for name, parts in values.items()}
    named = Path(source).absolute()
    while named.name in ("run", "model.safetensors", "best.safetensors"):
        named = named.parent
    return {"model": named.name, **spent}


def _means(before: Tensor, domains: Sequence[str], kept: Mapping[str, int]) -> Tensor:
    """Style means (D, S) of the domains: their own if they were kept, else 0 for the time being."""
    means = before.new_zeros(len(domains), before.shape[1])
    for index, name in enumerate(domains):
        if name in kept:
            means[index] = before[kept[name]]
    return means


@torch.no_grad()
def _encode_new_domains(model: LatentModel, data: DomainData, new: Sequence[int]) -> None:
    """Set the means of domains to those of the styles of some of their training images."""
    means = model.style_prior.means
    for domain in new:
        source = data.train[domain]
        images = [read for index in spread(len(source), ENCODED) for read in _read(source, index)]
        if images:
            batch = to_tensor(np.stack(images)).to(means.device)
            means[domain] = model.encode(batch).style.mean.mean(0)


def _read(source: ImageSource, index: int) -> list[np.ndarray]:
    """An image, or nothing if it cannot be read; the loader reports it."""
    try:
        return [source[index]]
    except DataError:
        return []


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
