"""Batches that are drawn and augmented on the device, here the CPU, like those of the loader."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.pixel import functional as pixel
from torch import Tensor

from sivae_translate.config import AugmentConfig, DataConfig
from sivae_translate.data import augment_tensors as ours
from sivae_translate.data import resident
from sivae_translate.data.augment import Augmentation
from sivae_translate.data.augment_tensors import TensorAugmentation
from sivae_translate.data.batches import TrainingBatches
from sivae_translate.data.domains import ArrayImages, DomainData, FileImages
from sivae_translate.data.resident import ResidentBatches, fits
from sivae_translate.data.splits import split_training
from sivae_translate.data.tensors import to_tensor, to_uint8

CPU = torch.device("cpu")
EVERYTHING = AugmentConfig(
    shift=0.2, scale=0.2, rotate=20, flip=True, brightness=0.3, contrast=0.3, saturation=0.5, hue=0.1
)


def picture(channels: int = 3, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """Smooth colours."""
    coarse = np.random.default_rng(3).integers(0, 256, (5, 6, channels), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, channels)


def domains(counts: tuple[int, ...] = (30, 7), channels: int = 3) -> DomainData:
    """Every image has one grey level of its own, domain by domain."""
    levels = np.cumsum((0, *counts))
    arrays = [
        np.tile(np.arange(first, last, dtype=np.uint8)[:, None, None, None], (1, 8, 8, channels))
        for first, last in pairwise(levels)
    ]
    names = tuple(f"domain {index}" for index in range(len(counts)))
    return DomainData(domains=names, train=tuple(ArrayImages(array) for array in arrays))


def both(data: DomainData, batch: int = 8, **config: Any) -> tuple[TrainingBatches, ResidentBatches]:
    splits = split_training(data.train, 0.1)
    sizes = (data, DataConfig(image_size=32, **config), batch, 5, splits)
    return TrainingBatches(*sizes), ResidentBatches(CPU, *sizes)


@pytest.mark.parametrize(
    ("shift", "scale", "degrees", "flip"),
    [
        ((3, -2), 1.0, 0.0, False),
        ((0, 0), 1.2, 0.0, False),
        ((2, 1), 0.9, 17.0, False),
        ((0, 4), 1.1, -9, True),
    ],
)
def test_images_are_placed_as_on_the_cpu(shift: Any, scale: float, degrees: float, flip: bool) -> None:
    image = picture()
    across, down = shift
    place = A.Affine(
        scale=(scale, scale),
        translate_px={"x": (across, across), "y": (down, down)},
        rotate=(degrees, degrees),
        interpolation=cv2.INTER_LINEAR,
        border_mode=cv2.BORDER_REPLICATE,
        p=1,
    )
    expected = place(image=image[:, ::-1].copy() if flip else image)["image"]
    numbers = torch.tensor([scale]), torch.tensor([degrees])
    made = ours.placed(to_tensor(image[None]), torch.tensor([[across, down]]), *numbers, torch.tensor([flip]))
    difference = np.abs(to_uint8(made)[0].astype(int) - expected)
    exact = scale == 1 and degrees == 0
    assert difference.max() <= (0 if exact else 8)  # OpenCV rounds places to 1/32 of a pixel
    assert difference.mean() <= (0 if exact else 1)


@pytest.mark.parametrize(
    ("change", "reference", "factor", "near"),
    [
        (ours.brightened, pixel.adjust_brightness_torchvision, 0.7, 1),
        (ours.brightened, pixel.adjust_brightness_torchvision, 1.3, 1),
        (ours.contrasted, pixel.adjust_contrast_torchvision, 0.6, 1),
        (ours.contrasted, pixel.adjust_contrast_torchvision, 1.4, 1),
        (ours.saturated, pixel.adjust_saturation_torchvision, 0.5, 2),
        (ours.saturated, pixel.adjust_saturation_torchvision, 1.5, 2),
        (ours.turned, pixel.adjust_hue_torchvision, 0.1, 6),  # OpenCV has 180 hues
        (ours.turned, pixel.adjust_hue_torchvision, -0.2, 6),
    ],
)
def test_colours_change_as_on_the_cpu(
    change: Callable[[Tensor, Tensor], Tensor], reference: Any, factor: float, near: int
) -> None:
    image = picture()
    made = change(to_tensor(image[None]), torch.full((1, 1, 1, 1), factor))
    assert np.abs(to_uint8(made)[0].astype(int) - reference(image, factor)).max() <= near


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_images_are_distributed_as_on_the_cpu(channels: int) -> None:
    count, image = 1500, picture(channels)
    made = TensorAugmentation(EVERYTHING)(to_tensor(np.stack([image] * count)), 7)
    assert torch.equal(made, made.mul(255).round() / 255)
    augment = Augmentation(EVERYTHING)
    expected = to_tensor(np.stack([augment(image, seed) for seed in range(count)]))

    def statistics(images: Tensor) -> Tensor:
        """For each image its mean, contrast, saturation and the brighter side."""
        saturation = (images.amax(1) - images.amin(1)).mean((1, 2))
        side = images[..., 16:].mean((1, 2, 3)) - images[..., :16].mean((1, 2, 3))
        upper = images[:, :, 12:].mean((1, 2, 3)) - images[:, :, :12].mean((1, 2, 3))
        return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), saturation, side, upper], 1)

    one, other = statistics(made), statistics(expected)
    error = (one.var(0) / count + other.var(0) / count).sqrt()
    assert ((one.mean(0) - other.mean(0)).abs() <= 4 * error + 2e-3).all()
    assert (one.std(0) - other.std(0)).abs().max() <= 0.1 * other.std(0).max()
    deviations = made.std(0), expected.std(0)  # of every pixel
    assert (deviations[0] - deviations[1]).abs().max() <= 0.03


def test_without_changes_images_are_the_very_same() -> None:
    images = torch.rand(4, 1, 8, 8)
    assert TensorAugmentation(AugmentConfig())(images, 0) is images
    assert TensorAugmentation(AugmentConfig(hue=0.5, saturation=1.0))(images, 0) is images
    flipped = TensorAugmentation(AugmentConfig(flip=True))(images[:1].expand(200, -1, -1, -1), 0)
    mirrored = (flipped - images[0].flip(2)).abs().amax((1, 2, 3)) < 0.01
    assert ((flipped - images[0]).abs().amax((1, 2, 3)) < 0.01).logical_xor(mirrored).all()
    assert 70 <= int(mirrored.sum()) <= 130


def test_changes_depend_on_the_seed_alone_and_leave_the_default_generator() -> None:
    images, change = torch.rand(4, 3, 8, 8), TensorAugmentation(EVERYTHING)
    before = torch.get_rng_state()
    assert torch.equal(change(images, 1), change(images, 1))
    assert not torch.equal(change(images, 1), change(images, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_have_the_domains_of_the_loader_and_draw_every_training_image() -> None:
    data = domains()
    loader, drawing = both(data)
    drawn: list[set[int]] = [set(), set()]
    for step in range(60):
        expected, batch = loader[step], drawing[step]
        assert batch.domain.tolist() == expected.domain.tolist()
        assert batch.images.shape == expected.images.shape
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        levels = batch.images[:, 0, 0, 0].mul(255).round().int().tolist()
        for level, domain in zip(levels, batch.domain, strict=True):
            drawn[int(domain)].add(level)
    first, second = (set(split.tolist()) for split in loader.train)
    assert drawn == [first, {30 + place for place in second}]  # no validation image


def test_a_batch_depends_on_the_seed_and_its_number_alone() -> None:
    _, first = both(domains(), augment=EVERYTHING.model_dump())
    _, again = both(domains(), augment=EVERYTHING.model_dump())
    ahead = [again[step].images for step in (2, 1, 0)]
    for step in range(3):
        assert torch.equal(first[step].images, ahead[2 - step])
    assert not torch.equal(first[0].images, first[1].images)


def test_decoded_sets_that_fit_are_resident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, gpu = domains(), torch.device("cuda")
    splits = split_training(data.train, 0.1)
    needed = sum(len(split.train) for split in splits) * 8 * 8 * 3
    monkeypatch.setattr(resident, "device_memory", lambda _: 4 * needed)
    assert fits(gpu, 0.25, data, splits)
    assert not fits(gpu, 0.24, data, splits)
    assert not fits(CPU, 1.0, data, splits)
    files = DomainData(domains=("a",), train=(FileImages((tmp_path / "a.png",), DataConfig()),))
    assert not fits(gpu, 1.0, files, split_training(files.train, 0.0))
