"""Probes: how well can a small classifier read a label, such as the domain or the content, off a code?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.data.images import to_tensor
from sivae_translate.data.sets import DomainData
from sivae_translate.errors import InputError
from sivae_translate.translator import Translator

ProbeKind = Literal["linear", "mlp"]
KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
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


def labelled(groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """All rows of some groups, and the number of the group that each is from."""
    return torch.cat(list(groups)), torch.cat([torch.full((len(group),), index) for index, group in enumerate(groups)])


def probe_codes(translator: Translator, data: DomainData, images: Sequence[Tensor], seed: int) -> dict[str, ProbeResult]:
    """What is left of the domain in the content code, and of the content in the style code.

    The domain probe learns on codes of training images and is asked about test images, whose contents it never saw. The content
    probe learns on the style codes of all domains but one, less their prior means, and is asked about that one.
    """
    if len(data.domains) < 2 or len(data.domains) != len(data.test):
        return {}
    train = [to_tensor(np.stack([source[k] for k in range(0, len(source), -(-len(source) // 400))])) for source in data.train]
    found = {}
    with torch.no_grad():
        learn = [translator.encode(x) for x in train]
        asked = [translator.encode(x) for x in images]
    train_codes, train_domain = labelled([p.content.mean.flatten(1).cpu() for p in learn])
    test_codes, test_domain = labelled([p.content.mean.flatten(1).cpu() for p in asked])
    for kind in KINDS:
        found[f"domain from content, {kind}"] = probe_accuracy(
            train_codes, train_domain, test_codes, test_domain, kind=kind, seed=seed
        )
    if len(images) > 2 and len(set(data.test_ids)) == 1:
        centred = [p.style.mean - translator.style_code(name) for p, name in zip(asked, data.domains, strict=True)]
        letters = torch.arange(len(images[0]))
        found["content from style, linear"] = probe_accuracy(
            torch.cat(centred[:-1]).cpu(), letters.repeat(len(images) - 1), centred[-1].cpu(), letters, kind="linear", seed=seed
        )
    return found


def probe_views(translator: Translator, data: DomainData, seed: int) -> dict[str, ProbeResult]:
    """What the content codes of viewpoints tell: the viewpoint (within one step), and the domain, which they should not.

    All test images take part. The viewpoint is learnt on every other domain and asked of the rest; the domain is learnt on
    every other image of all domains and asked of the rest.
    """
    assert data.turns is not None
    place, circle = torch.tensor(data.turns[0]), data.turns[1]
    images = (to_tensor(np.stack([source[view] for view in range(len(source))])) for source in data.test)
    codes = torch.stack([translator.encode(some).content.mean.flatten(1).cpu() for some in images])
    domain = torch.arange(len(codes))[:, None].expand(codes.shape[:2])
    places = place.expand(codes.shape[:2])
    learn, ask = slice(0, None, 2), slice(1, None, 2)
    found = {}
    for kind in KINDS:
        found[f"viewpoint from content, {kind}"] = probe_accuracy(
            codes[learn].flatten(0, 1),
            places[learn].flatten(),
            codes[ask].flatten(0, 1),
            places[ask].flatten(),
            kind=kind,
            seed=seed,
            circle=circle,
        )
        found[f"domain from content, {kind}"] = probe_accuracy(
            codes[:, learn].flatten(0, 1),
            domain[:, learn].flatten(),
            codes[:, ask].flatten(0, 1),
            domain[:, ask].flatten(),
            kind=kind,
            seed=seed,
        )
    return found
