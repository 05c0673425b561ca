"""A small classifier of real images, which recognises the domain or class (digit) of translations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.utils.errors import InputError
from sivae_translate.utils.progress import track

WIDTHS = (24, 48, 96)
LEARNING_RATE = 3e-3
STEPS = 600


@dataclass(frozen=True)
class Classifier:
    """A classifier trained on real images.

    Attributes:
        network: maps images (B, C, H, W) in [0, 1] to logits.
        accuracy: accuracy on real test images, which translations cannot be expected to exceed.
    """

    network: nn.Module
    accuracy: float

    def classes(self, images: Tensor, batch: int = 256) -> Tensor:
        """The most likely class of each image: (B,) integers."""
        return _classes(self.network, images, batch)


def train_classifier(
    images: Tensor,
    labels: Tensor,
    test: tuple[Tensor, Tensor],
    *,
    steps: int | None = None,
    batch: int = 64,
    seed: int = 0,
) -> Classifier:
    """Train a classifier on real images, randomly shifted by up to a sixteenth of their side.

    Args:
        images: (N, C, H, W) in [0, 1].
        labels: (N,) from 0.
        test: test images and labels, to measure the accuracy.
        steps: number of Adam steps with a one-cycle learning rate; `STEPS` by default. Classes are drawn
            equally often.
        batch: images per step.
        seed: seed of weights and random draws.

    Raises:
        InputError: there are not as many labels as images, or only one class.
    """
    if len(images) != len(labels) or int(labels.min()) == int(labels.max()):
        raise InputError(
            f"{len(images)} images and {len(labels)} labels",
            remedy="give one label per image, of two or more classes",
        )
    steps = STEPS if steps is None else steps
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(images.shape[1], int(labels.max()) + 1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        weight = 1 / labels.bincount().float()[labels]
        for _ in track(range(steps), "training a classifier"):
            chosen = torch.multinomial(weight, batch, replacement=True)
            loss = F.cross_entropy(network(_shifted(images[chosen])), labels[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval().requires_grad_(False)
    right = _classes(network, test[0], 256) == test[1]
    return Classifier(network, right.float().mean().item())


def _network(channels: int, classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for narrow, wide in zip((channels, *WIDTHS), WIDTHS, strict=False):
        layers += [nn.Conv2d(narrow, wide, 3, padding=1), nn.GroupNorm(8, wide), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(WIDTHS[-1] * 16, classes))


def _shifted(images: Tensor) -> Tensor:
    """Shift the whole batch by one random offset."""
    reach = images.shape[-1] // 16
    offset: Sequence[int] = torch.randint(-reach, reach + 1, (2,)).tolist()
    padded = F.pad(images, [reach] * 4, mode="replicate")
    top, left = reach + offset[0], reach + offset[1]
    return padded[..., top : top + images.shape[-2], left : left + images.shape[-1]]


@torch.no_grad()
def _classes(network: nn.Module, images: Tensor, batch: int) -> Tensor:
    return torch.cat([network(part).argmax(1) for part in torch.split(images, batch)])
