"""Masks what a trained model's content code does not use; see `models.masking`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from sivae_translate.config import DataConfig
from sivae_translate.data.loading import load_data
from sivae_translate.data.tensors import read_batch
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.masking import collapsed_channels, mask_channels
from sivae_translate.models.weights import SavedModel
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.selection import spread

MOST_IMAGES = 500
"""Most images of a domain that the KL is measured on, evenly spread."""
BATCH = 64

Images = Callable[[int, np.ndarray], Tensor]


@torch.no_grad()
def mask_collapsed(
    model: LatentModel,
    positions: Sequence[np.ndarray],
    images: Images,
    autocast: Callable[[], AbstractContextManager[object]],
) -> int:
    """Mask the channels of the content code that no training image uses, in place.

    Args:
        model: a model in evaluation mode.
        positions: positions of training images of each domain.
        images: returns the readable images of a domain at given positions, (B, C, H, W) on the model's
            device.
        autocast: context of the model's passes.

    Returns:
        number of channels that are masked, those of an earlier call included; 0 if all are used, or if the
        prior is learned.
    """
    total, count = torch.zeros(model.content_shape), 0
    for domain, chosen in enumerate(positions):
        places = np.asarray(chosen)[spread(len(chosen), MOST_IMAGES)]
        for start in range(0, len(places), BATCH):
            batch = images(domain, places[start : start + BATCH])
            with autocast():
                content = model.encode(batch).content
            total += 0.5 * content.doubled_kl_terms().float().sum(0).cpu()
            count += len(batch)
    collapsed = collapsed_channels(total / max(1, count))
    return int(collapsed.sum()) if count and mask_channels(model, collapsed) else 0


def require_domains(saved: SavedModel, domains: Sequence[str]) -> None:
    """Raise InputError if data has other domains than a model, or has them in another order."""
    if tuple(domains) == saved.domains:
        return
    theirs, ours = (", ".join(filter(None, names)) or "none" for names in (domains, saved.domains))
    raise InputError(
        f"the model has the domains {ours}, the data has {theirs}",
        remedy="give the data that it was trained on",
    )


def mask(
    saved: SavedModel, config: DataConfig, note: Callable[[list[str]], object], device: str = "auto"
) -> int:
    """`mask_collapsed` of a model file's model, with the training images of its data.

    Args:
        saved: the content of the model file; its model is changed.
        config: its data.
        note: called with the problem of each unreadable image, which is left out.
        device: where to compute.

    Raises:
        DataError: the images cannot be used.
        InputError: the data has other domains.
    """
    data, place = load_data(config), pick_device(device)
    require_domains(saved, data.domains)
    model = saved.model.to(place)

    def images(domain: int, positions: np.ndarray) -> Tensor:
        return read_batch(data.train[domain], positions, model.image_shape, note).to(place)

    count = mask_collapsed(model, [np.arange(len(source)) for source in data.train], images, nullcontext)
    model.cpu()
    return count
