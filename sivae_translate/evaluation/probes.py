"""Probes: how well can a small classifier read a label, such as the domain or the content, off a code?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.errors import InputError

ProbeKind = Literal["linear", "mlp"]
HIDDEN = 128
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class ProbeResult:
    """What a probe could read.

    Attributes:
        accuracy: share of the test codes whose label the probe names.
        chance: the accuracy of the best constant answer.
        ratio: accuracy / chance; about 1 when the code says nothing about the label.
    """

    accuracy: float
    chance: float
    ratio: float


def _check(codes: Tensor, labels: Tensor, part: str) -> None:
    if codes.ndim < 2 or labels.shape != codes.shape[:1] or not len(labels):
        what = f"the probe's {part} codes have shape {tuple(codes.shape)} and its labels {tuple(labels.shape)}"
        raise InputError(what, remedy="pass codes (N, ...) and one integer label for each, (N,)")
    if labels.is_floating_point():
        raise InputError(f"the probe's {part} labels are of {labels.dtype}", remedy="pass integer labels")
    if not codes.isfinite().all():
        raise InputError(
            f"some of the probe's {part} codes are infinite or not a number", remedy="see why the encoder made them"
        )


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both codes, flattened to (N, F) float32, with the training codes' mean taken off and divided by their deviation."""
    train, test = train.detach().flatten(1).float(), test.detach().flatten(1).float()
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    # A feature that never changes in training says nothing; rounding noise in it must not be blown up to unit size.
    scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), 1 / deviation.clamp_min(1e-12), 0)
    return (train - mean) * scale, (test - mean) * scale


def _classifier(features: int, classes: int, kind: ProbeKind, seed: int) -> nn.Module:
    """The untrained probe, on the CPU; the caller's random generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "linear":
            return nn.Linear(features, classes)
        return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


@torch.enable_grad()
def _fit(probe: nn.Module, codes: Tensor, labels: Tensor, steps: int) -> None:
    """Full-batch AdamW on the cross entropy, with a cosine to zero so that the last step is a quiet one."""
    optimiser = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(probe(codes), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _share_right(named: Tensor, wanted: Tensor, circle: int) -> float:
    """Share of answers, (N,) or one for all, that are right."""
    gap = (named - wanted).abs()
    right = torch.minimum(gap, circle - gap) <= 1 if circle else gap == 0
    return float(right.double().mean())


def probe_accuracy(
    train_codes: Tensor,
    train_labels: Tensor,
    test_codes: Tensor,
    test_labels: Tensor,
    *,
    kind: ProbeKind = "linear",
    seed: int = 0,
    steps: int = 300,
    circle: int = 0,
) -> ProbeResult:
    """Train a classifier on standardised codes and say how often it is right on others.

    Args:
        train_codes: (N, ...) float; further dimensions are flattened.
        train_labels: (N,) integers of any value.
        test_codes: (M, ...) float, shaped like the training codes.
        test_labels: (M,) integers. A label that training never saw counts as a mistake.
        kind: "linear" (logistic regression) or "mlp" (one hidden layer of 128).
        seed: of the classifier's first weights; on one machine the same seed gives the same result.
        steps: of full-batch optimisation.
        circle: labels are places on a circle of so many steps, and one step off is right; 0: labels are names.

    Raises:
        InputError: wrong shapes, types or values, an unknown kind, or steps below 1.
    """
    _check(train_codes, train_labels, "training")
    _check(test_codes, test_labels, "test")
    if train_codes.shape[1:] != test_codes.shape[1:]:
        shapes = f"{tuple(train_codes.shape[1:])}, its test codes {tuple(test_codes.shape[1:])}"
        raise InputError(f"the probe's training codes are shaped {shapes}", remedy="take both from the same encoder")
    if kind not in ("linear", "mlp") or steps < 1:
        raise InputError(f"no probe of kind '{kind}' with {steps} steps", remedy="choose linear or mlp, and 1 step or more")
    device = train_codes.device
    train, test = _standardised(train_codes, test_codes.to(device))
    classes, targets = torch.unique(train_labels.to(device), return_inverse=True)
    probe = _classifier(train.shape[1], len(classes), kind, seed).to(device)
    _fit(probe, train, targets, steps)
    with torch.no_grad():
        named = classes[probe(test).argmax(1)]
    wanted = test_labels.to(device)
    accuracy = _share_right(named, wanted, circle)
    chance = max(_share_right(guess, wanted, circle) for guess in torch.unique(wanted))
    return ProbeResult(accuracy=accuracy, chance=chance, ratio=accuracy / chance)
