"""Probes: how well a small classifier can read a label, such as the domain or the content, from a code."""

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
from sivae_translate.evaluation.intervals import proportion
from sivae_translate.evaluation.posteriors import encode_all
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
"""Roughly how many training images of a domain the probes are trained on."""


@dataclass(frozen=True)
class ProbeResult:
    """The accuracy of a probe.

    Attributes:
        accuracy: fraction of the test codes whose label the probe predicts.
        chance: accuracy of the best constant prediction.
        ratio: accuracy / chance; about 1 if the code carries no information about the label.
        low: lower end of the accuracy's 95 % interval (Wilson); NaN in reports of earlier versions.
        high: upper end of the interval.
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
            f"some of the probe's {part} codes are infinite or NaN",
            remedy="check the encoder's outputs",
        )


def _standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten codes to (N, F) float32 and standardise them by the training codes' mean and deviation."""
    train, test = train.detach().flatten(1).float(), test.detach().flatten(1).float()
    deviation, mean = torch.std_mean(train, dim=0, correction=0)
    # A feature that is constant in training carries no information; its rounding noise must not be scaled up
    # to unit variance.
    scale = torch.where(deviation > 1e-6 * (1 + mean.abs()), 1 / deviation.clamp_min(1e-12), 0)
    return (train - mean) * scale, (test - mean) * scale


def _classifier(features: int, classes: int, kind: ProbeKind, seed: int) -> nn.Module:
    """The untrained probe, on the CPU; the global random generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "linear":
            return nn.Linear(features, classes)
        return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


@torch.enable_grad()
def _fit(probe: nn.Module, codes: Tensor, labels: Tensor, steps: int) -> None:
    """Minimise the cross entropy with full-batch AdamW and a cosine schedule down to 0."""
    optimiser = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(probe(codes), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _accuracy(predictions: Tensor, labels: Tensor, period: int) -> float:
    """Fraction of correct predictions, which are (N,) or one for all."""
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
    """Train a classifier on standardised codes and measure its accuracy on test codes.

    Args:
        train_codes: (N, ...) float; further dimensions are flattened.
        train_labels: (N,) integers of any value.
        test_codes: (M, ...) float, shaped like the training codes.
        test_labels: (M,) integers. A label that does not occur in training counts as an error.
        kind: "linear" (logistic regression) or "mlp" (one hidden layer of 128).
        seed: seed of the classifier's initial weights; on one machine the same seed gives the same result.
        steps: number of full-batch steps.
        period: number of positions if labels are positions on a circle, where being one step off is correct;
            0 if labels are classes.

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
    """All rows of several groups, and the index of each row's group."""
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
    """Probe a model's codes: the domain from content, the content from style, and viewpoints.

    The result is empty for sets with fewer than two domains.

    Args:
        translator: the model.
        data: data to train probes on. Contents are identified by equal IDs in all domains, by classes, or by
            viewpoints.
        images: for each domain, test images (N, C, H, W).
        positions: for each domain, the positions of these test images.
        seed: seed of the probes.
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
    """Style means minus their mean over the domain, (N, S) for each domain."""
    return [
        (posterior.style.mean - translator.style_code(Style.domain(name))).cpu()
        for posterior, name in zip(posteriors, data.domains, strict=True)
    ]


def _readable(source: ImageSource, positions: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """The images of a source that can be read, with their positions."""
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
    """Probe the viewpoint within one step from content and from style, and the domain from content.

    The content should contain the viewpoint but not the domain; the style should not contain the viewpoint.
    All test images are used. Probes of the viewpoint are trained on every other domain and tested on the
    rest; probes of the domain are trained on every other image of all domains and tested on the rest.
    """
    assert data.labels is not None
    images = (to_tensor(np.stack([source[view] for view in range(len(source))])) for source in data.test)
    posteriors = [encode_all(translator.engine, some) for some in images]
    contents = torch.stack([p.content.mean.flatten(1).cpu() for p in posteriors])
    styles = torch.stack([p.style.mean.cpu() for p in posteriors])
    styles = styles - styles.mean(1, keepdim=True)  # a domain's mean style does not depend on the viewpoint
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
