"""Probes: how well can a small classifier read a label, such as the domain or the content, off a code?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.encoding import encode_all
from sivae_translate.evaluation.intervals import proportion
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.codes import Posterior
from sivae_translate.utils.errors import DataError, InputError

ProbeKind = Literal["linear", "mlp"]
KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
HIDDEN = 128
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2
TRAINING_IMAGES = 400
"""Training images of a domain that probes are trained on, or a few more."""


@dataclass(frozen=True)
class ProbeResult:
    """What a probe could read.

    Attributes:
        accuracy: share of the test codes whose label the probe predicts.
        chance: the accuracy of the best constant answer.
        ratio: accuracy / chance; about 1 when the code says nothing about the label.
        low: lower end of the accuracy's 95 % interval (Wilson's); reports of earlier versions have none.
        high: its upper end.
    """

    accuracy: float
    chance: float
    ratio: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" ({self.low:.3f} to {self.high:.3f})"
        return f"{self.accuracy:.3f}{interval}, {self.ratio:.2f} times chance ({self.chance:.3f})"


def _check(codes: Tensor, labels: Tensor, part: str) -> None:
    if codes.ndim < 2 or labels.shape != codes.shape[:1] or not len(labels):
        what = (
            f"the probe's {part} codes have shape {tuple(codes.shape)} and its labels {tuple(labels.shape)}"
        )
        raise InputError(what, remedy="pass codes (N, ...) and one integer label for each, (N,)")
    if labels.is_floating_point():
        raise InputError(f"the probe's {part} labels are of {labels.dtype}", remedy="pass integer labels")
    if not codes.isfinite().all():
        raise InputError(
            f"some of the probe's {part} codes are infinite or not a number",
            remedy="see why the encoder made them",
        )


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both codes, flattened to (N, F) float32, with the training codes' mean taken off and divided by their
    deviation.
    """
    train, test = train.detach().flatten(1).float(), test.detach().flatten(1).float()
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    # A feature that never changes in training says nothing; rounding noise in it must not be blown up to unit
    # size.
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


def _accuracy(predictions: Tensor, labels: Tensor, period: int) -> float:
    """Share of predictions, (N,) or one for all, that are right."""
    gap = (predictions - labels).abs()
    right = torch.minimum(gap, period - gap) <= 1 if period else gap == 0
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
    period: int = 0,
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
        period: labels are places on a circle of so many steps, and one step off is right; 0: labels are
            classes.

    Raises:
        InputError: wrong shapes, types or values, an unknown kind, or steps below 1.
    """
    _check(train_codes, train_labels, "training")
    _check(test_codes, test_labels, "test")
    if train_codes.shape[1:] != test_codes.shape[1:]:
        shapes = f"{tuple(train_codes.shape[1:])}, its test codes {tuple(test_codes.shape[1:])}"
        raise InputError(
            f"the probe's training codes are shaped {shapes}", remedy="take both from the same encoder"
        )
    if kind not in ("linear", "mlp") or steps < 1:
        raise InputError(
            f"no probe of kind '{kind}' with {steps} steps", remedy="choose linear or mlp, and 1 step or more"
        )
    device = train_codes.device
    train, test = _standardised(train_codes, test_codes.to(device))
    classes, targets = torch.unique(train_labels.to(device), return_inverse=True)
    probe = _classifier(train.shape[1], len(classes), kind, seed).to(device)
    _fit(probe, train, targets, steps)
    with torch.no_grad():
        predictions = classes[probe(test).argmax(1)]
    labels = test_labels.to(device)
    accuracy = _accuracy(predictions, labels, period)
    chance = max(_accuracy(guess, labels, period) for guess in torch.unique(labels))
    interval = proportion(round(accuracy * len(labels)), len(labels))
    return ProbeResult(accuracy, chance, accuracy / chance, interval.low, interval.high)


def labelled(groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """All rows of some groups, and the number of the group that each is from."""
    return torch.cat(list(groups)), torch.cat(
        [torch.full((len(group),), index) for index, group in enumerate(groups)]
    )


def read_codes(
    translator: Translator,
    data: DomainData,
    images: Sequence[Tensor],
    positions: Sequence[Sequence[int]],
    seed: int,
) -> dict[str, ProbeResult]:
    """What probes read off the codes: the domain off the content, the content off the style, and viewpoints.

    Nothing for sets without two domains.

    Args:
        translator: whose codes.
        data: domains to train probes on. Contents are known by equal ids in all domains, by classes, or by
            viewpoints.
        images: (N, C, H, W) each, test images of every domain.
        positions: which of the domain's test images they are.
        seed: of the probes.
    """
    if data.labels is not None and data.labels.period:
        return _read_viewpoints(translator, data, seed)
    known = len(data.domains) > 1 and set(data.domains) <= set(translator.domains)
    if not known or not data.train or len(data.domains) != len(data.test):
        return {}
    readable = [
        _readable(source, range(0, len(source), -(-len(source) // TRAINING_IMAGES))) for source in data.train
    ]
    training = [to_tensor(np.stack([pixels for _, pixels in some])) for some in readable]
    train, test = ([encode_all(translator.engine, some) for some in group] for group in (training, images))
    contents = [[p.content.mean.flatten(1).cpu() for p in group] for group in (train, test)]
    results = _both("domain from content", labelled(contents[0]), labelled(contents[1]), seed=seed)
    styles = [_styles_within_domains(translator, data, group) for group in (train, test)]
    if data.labels is not None and data.labels.train:
        train_labels = [
            labels[[at for at, _ in some]] for labels, some in zip(data.labels.train, readable, strict=True)
        ]
        test_labels = [labels[list(at)] for labels, at in zip(data.labels.test, positions, strict=True)]
        sets = [
            (torch.cat(codes), torch.from_numpy(np.concatenate(labels)))
            for codes, labels in zip(styles, (train_labels, test_labels), strict=True)
        ]
        results |= _both("content from style", *sets, seed=seed)
    elif data.truth is not None and len(set(data.test_ids)) == 1:
        ids = torch.arange(len(images[0]))
        others = (torch.cat(styles[1][:-1]), ids.repeat(len(images) - 1))
        results |= _both("content from style", others, (styles[1][-1], ids), seed=seed)
    return results


def _styles_within_domains(
    translator: Translator, data: DomainData, posteriors: Sequence[Posterior]
) -> list[Tensor]:
    """Style means less the domain's own, (N, S) for each domain."""
    return [
        (posterior.style.mean - translator.style_code(Style.domain(name))).cpu()
        for posterior, name in zip(posteriors, data.domains, strict=True)
    ]


def _readable(source: ImageSource, positions: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """Those images of a source that can be read, with their positions."""
    images = []
    for position in positions:
        with suppress(DataError):
            images.append((position, source[position]))
    return images


LabelledCodes = tuple[Tensor, Tensor]
"""Codes (N, ...) and their labels (N,)."""


def _both(
    name: str, train: LabelledCodes, test: LabelledCodes, *, seed: int, period: int = 0
) -> dict[str, ProbeResult]:
    """`probe_accuracy` of both kinds."""
    return {
        f"{name}, {kind}": probe_accuracy(*train, *test, kind=kind, seed=seed, period=period)
        for kind in KINDS
    }


def _read_viewpoints(translator: Translator, data: DomainData, seed: int) -> dict[str, ProbeResult]:
    """The viewpoint within one step, which the content should tell and the style not; the domain, which the
    content should not.

    All test images take part. Probes of the viewpoint are trained on every other domain and tested on the
    rest; probes of the domain are trained on every other image of all domains and tested on the rest.
    """
    assert data.labels is not None
    images = (to_tensor(np.stack([source[view] for view in range(len(source))])) for source in data.test)
    posteriors = [encode_all(translator.engine, some) for some in images]
    contents = torch.stack([p.content.mean.flatten(1).cpu() for p in posteriors])
    styles = torch.stack([p.style.mean.cpu() for p in posteriors])
    styles = styles - styles.mean(1, keepdim=True)  # a domain's own style is no viewpoint
    domains = torch.arange(len(contents))[:, None].expand(contents.shape[:2])
    viewpoints = torch.from_numpy(data.labels.test[0]).expand(contents.shape[:2])
    train, test = slice(0, None, 2), slice(1, None, 2)

    def viewpoint(name: str, codes: Tensor) -> dict[str, ProbeResult]:
        halves = [(codes[half].flatten(0, 1), viewpoints[half].flatten()) for half in (train, test)]
        assert data.labels is not None
        return _both(name, *halves, seed=seed, period=data.labels.period or 0)

    halves = [(contents[:, half].flatten(0, 1), domains[:, half].flatten()) for half in (train, test)]
    results = viewpoint("viewpoint from content", contents)
    results |= _both("domain from content", *halves, seed=seed)
    return results | viewpoint("viewpoint from style", styles)
