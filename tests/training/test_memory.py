"""Batches that cannot fit are refused before a training begins."""

from __future__ import annotations

import pytest
import torch

from sivae_translate.config import Config, from_dict, load_config
from sivae_translate.training import memory
from sivae_translate.training.memory import MOST_WORKERS, least_memory, require_memory, suited
from sivae_translate.utils.devices import device_memory
from sivae_translate.utils.errors import ConfigError


def settings(batch: int) -> Config:
    return from_dict({"training": {"batch": batch, "device": "cpu"}}, "the test")


def test_a_batch_that_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "device_memory", lambda name: 4 * 10**9)
    with pytest.raises(ConfigError, match=r"batch is 65,536: a step would need \d+ GB at least, of 4 GB"):
        require_memory(settings(65_536))
    monkeypatch.setattr(memory, "device_memory", lambda name: 10**13)
    require_memory(settings(65_536))
    monkeypatch.setattr(memory, "device_memory", lambda name: 0)
    require_memory(settings(32))  # small ones are not measured


def test_a_gpu_gets_the_batch_and_the_loaders_that_suit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"model": {"widths": [8] * 4, "style_widths": [8] * 4}}
    config = from_dict(sizes, "the test")
    assert suited(config) == config  # on the CPU
    monkeypatch.setattr(memory, "pick_device", lambda name: torch.device("cuda"))
    each = 1_000_000
    monkeypatch.setattr(memory, "least_memory", lambda config: each)
    for images, batch in ((16 * 128, 128), (16 * 128 - 1, 64), (16 * 64 - 1, 32)):
        monkeypatch.setattr(memory, "device_memory", lambda name, images=images: images * each)
        assert suited(config).training.batch == batch
    monkeypatch.setattr(memory, "device_memory", lambda name: 10**13)
    named = from_dict({**sizes, "training": {"batch": 32}}, "the test")
    assert suited(named).training.batch == 32
    monkeypatch.setattr(memory, "core_count", lambda: 6)
    assert suited(named).data.workers == 5
    monkeypatch.setattr(memory, "core_count", lambda: 64)
    assert suited(named).data.workers == MOST_WORKERS
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert suited(named).data.workers == 3
    assert suited(load_config(None, {"data.workers": 0})).data.workers == 0
    again = load_config(None, {"training.batch": 32})
    assert suited(again).training.batch == 32


def test_the_memory_of_a_large_batch_is_that_of_latents_where_networks_compute_on_them() -> None:
    sizes = {"widths": [8, 8, 8], "style_widths": [8, 8, 8]}  # too few for 64 px, right for latents of 16
    latents = from_dict(
        {"model": {**sizes, "autoencoder": "own"}, "training": {"batch": 1024, "device": "cpu"}}, "the test"
    )
    require_memory(latents)
    pixels = from_dict({"model": {"widths": [8] * 4, "style_widths": [8] * 4}}, "the test")
    assert least_memory(latents) < least_memory(pixels)


def test_an_image_needs_more_than_its_pixels_and_less_than_a_step_has_been_seen_to_take() -> None:
    """With the default settings the peak of a training rose by 8.4 MB an image, from batch 64 to 256."""
    assert 64 * 64 * 3 * 4 < least_memory(settings(32)) < 8.4e6
    assert device_memory("cpu") > 2**28
