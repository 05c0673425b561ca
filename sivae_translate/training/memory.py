"""Settings that suit the device, and refusing trainings that cannot fit into its memory."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

from sivae_translate.config import Config
from sivae_translate.models.build import make_model
from sivae_translate.training.latents import open_autoencoder
from sivae_translate.utils.cores import core_count
from sivae_translate.utils.devices import device_memory, pick_device
from sivae_translate.utils.errors import ConfigError

LARGE = 1024
"""Batch size from which on memory is measured."""
TRIED = 2
"""Number of images to measure the memory of."""
GPU_BATCHES = (128, 64)
"""Batch sizes for GPUs, best first; smaller batches leave a GPU idle."""
MOST_WORKERS = 8
"""Most loader processes that are started if no number is named."""
PASSES, FREE = 8, 0.5
"""How many reconstructions a step keeps at most, and the share of a GPU's memory that they may take."""


def suited(config: Config) -> Config:
    """Settings for the device: on a GPU loader processes and a larger batch, unless they are named."""
    if pick_device(config.training.device).type != "cuda":
        return config
    data = config.data
    if "workers" not in data.model_fields_set:
        own = core_count() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # which torchrun sets
        data = data.model_copy(update={"workers": max(0, min(MOST_WORKERS, own - 1))})
    return _with_larger_batch(config.model_copy(update={"data": data}))


def _with_larger_batch(config: Config) -> Config:
    training = config.training
    if "batch" in training.model_fields_set:
        return config
    room, each = FREE * device_memory(training.device), PASSES * least_memory(config) / training.accumulate
    batch = next((size for size in GPU_BATCHES if size * each <= room), training.batch)
    return config.model_copy(update={"training": training.model_copy(update={"batch": batch})})


def require_memory(config: Config) -> None:
    """Fail before training if a large batch needs more memory than there is.

    Raises:
        ConfigError: the minimum that a step needs is more than the device has.
    """
    if config.training.batch < LARGE:
        return
    at_once = config.training.batch // config.training.accumulate
    needed, present = at_once * least_memory(config), device_memory(config.training.device)
    if needed > present:
        raise ConfigError(
            f"training.batch is {config.training.batch:,}: a step would need {needed / 1e9:,.0f} GB at "
            f"least, of {present / 1e9:,.0f} GB that there are",
            remedy="choose a smaller --training.batch, a larger --training.accumulate, or smaller images or "
            "networks",
        )


def least_memory(config: Config) -> float:
    """Bytes per image that one reconstruction keeps for its gradients, in bfloat16; a step has several."""
    space = open_autoencoder(config, Path(), resumed=False)
    model = make_model(config.model, config.data, 2, space)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    views = torch.rand(TRIED, *model.view_shape)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        rebuilt = model.draw_views(model.read(views).mean)
    del rebuilt
    return sum(kept.values()) / TRIED / 2
