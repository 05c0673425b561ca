r"""Probes: how well a small classifier can read a label, such as the domain or the content, from a code.

Half of a code's numbers may be collapsed: their posteriors are nearly the prior, and what their means still
say drowns in the posterior's noise. A classifier of standardised means would undo that. So a probe reads one
of two kinds of features, with mu_i(x) and sigma_i(x) those of the posterior of number i and s_i the root mean
square of sigma_i over the training images:

- ``means``: mu_i / max(s_i, deviation of mu_i). No noise, but a collapsed number stays as small as it is.
- ``draws``: `DRAWS` draws from the posterior of each training image, and as many of each test image, of the
  numbers that carry information. This is what a decoder gets during training.

A code holds what the strongest of its probes can read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.evaluation.intervals import proportion
from sivae_translate.models.codes import Gaussian
from sivae_translate.utils.errors import InputError

ProbeKind = Literal["linear", "mlp"]
KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
ProbeFeatures = Literal["means", "draws"]
Change = Callable[[Tensor], Tensor]
FEATURES: tuple[ProbeFeatures, ...] = get_args(ProbeFeatures)
DRAWS = 12
"""Draws of each image."""
INFORMATIVE = 0.1
"""Nats that a number of the code has to carry for its draws to be read: a Gaussian channel's capacity, half
the logarithm of 1 + variance of its means / mean variance of its posteriors."""
HIDDEN = 128
LEARNING_RATE = 1e-2
WEIGHT_DECAY = 1e-2


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


def _check(codes: Gaussian, labels: Tensor, part: str) -> None:
    mean = codes.mean
    if mean.ndim < 2 or codes.logvar.shape != mean.shape or labels.shape != mean.shape[:1] or not len(labels):
        what = f"the probe's {part} codes have shape {tuple(mean.shape)} and its labels {tuple(labels.shape)}"
        raise InputError(what, remedy="pass codes (N, ...) and one integer label for each, (N,)")
    if labels.is_floating_point():
        raise InputError(f"the probe's {part} labels are of {labels.dtype}", remedy="pass integer labels")
    if not (mean.isfinite().all() and codes.logvar.isfinite().all()):
        raise InputError(
            f"some of the probe's {part} codes are infinite or NaN",
            remedy="check the encoder's outputs",
        )


def _check_both(train: Gaussian, train_labels: Tensor, test: Gaussian, test_labels: Tensor) -> None:
    """Raise InputError if the codes and labels of a probe do not fit each other."""
    _check(train, train_labels, "training")
    _check(test, test_labels, "test")
    if train.mean.shape[1:] != test.mean.shape[1:]:
        shapes = f"{tuple(train.mean.shape[1:])}, its test codes {tuple(test.mean.shape[1:])}"
        raise InputError(
            f"the probe's training codes are shaped {shapes}", remedy="take both from the same encoder"
        )


@torch.no_grad()
def features_of(
    train: Gaussian, test: Gaussian, features: ProbeFeatures, seed: int = 0, change: Change | None = None
) -> tuple[Tensor, Tensor]:
    """What a probe reads: (K, N, F) of N training codes and (K, M, F) of M test codes, float32.

    K is 1 for means and `DRAWS` for draws. The training codes decide on scales and on the numbers that are
    read.

    Args:
        train: posteriors with parameters (N, ...).
        test: posteriors with parameters (M, ...).
        features: see the module.
        seed: seed of the draws.
        change: applied to means or draws (K, N, F) before they are scaled.
    """
    train, test = _flat(train), _flat(test)
    spread = train.mean.std(0, correction=0)
    noise = train.logvar.exp().mean(0).sqrt()
    kept = torch.ones_like(spread, dtype=torch.bool)
    if features == "means":
        values = [codes.mean[None] for codes in (train, test)]
    else:
        informative = 0.5 * torch.log1p((spread / noise).square()) > INFORMATIVE
        kept = informative if informative.any() else kept
        generator = torch.Generator(train.mean.device).manual_seed(seed)
        values = [torch.stack([codes.sample(generator) for _ in range(DRAWS)]) for codes in (train, test)]
    fitted, read = ((one if change is None else change(one))[..., kept] for one in values)
    middle, scale = fitted.mean((0, 1)), fitted.std((0, 1), correction=0)
    if features == "means":
        scale = torch.maximum(scale, noise)
    scale = scale.clamp(min=1e-12)
    return (fitted - middle) / scale, (read - middle) / scale


def _flat(codes: Gaussian) -> Gaussian:
    return Gaussian(codes.mean.detach().flatten(1).float(), codes.logvar.detach().flatten(1).float())


def _classifier(features: int, classes: int, kind: ProbeKind, seed: int) -> nn.Module:
    """The untrained probe, on the CPU; the global random generator is left unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "linear":
            return nn.Linear(features, classes)
        return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))


@torch.enable_grad()
def _fit(probe: nn.Module, codes: Tensor, labels: Tensor, steps: int) -> None:
    """Minimise the cross entropy with AdamW and a cosine schedule down to 0, one draw of all codes a step."""
    optimiser = torch.optim.AdamW(probe.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(probe(codes[step % len(codes)]), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()


def _accuracy(predictions: Tensor, labels: Tensor, period: int) -> float:
    """Fraction of correct predictions, which are (K, N), (N,) or one for all."""
    gap = (predictions - labels).abs()
    right = torch.minimum(gap, period - gap) <= 1 if period else gap == 0
    return float(right.double().mean())


def probe_accuracy(
    train: Gaussian,
    train_labels: Tensor,
    test: Gaussian,
    test_labels: Tensor,
    *,
    kind: ProbeKind = "linear",
    features: ProbeFeatures = "means",
    seed: int = 0,
    steps: int = 300,
    period: int = 0,
    change: Change | None = None,
) -> ProbeResult:
    """Train a classifier on the codes of images and measure its accuracy on those of others.

    Args:
        train: posteriors with parameters (N, ...); further dimensions are flattened.
        train_labels: (N,) integers of any value.
        test: posteriors with parameters (M, ...), shaped like the training codes.
        test_labels: (M,) integers. A label that does not occur in training counts as an error.
        kind: "linear" (logistic regression) or "mlp" (one hidden layer of 128).
        features: "means" or "draws", see the module; the interval is that of M predictions in either case.
        seed: seed of the classifier's initial weights and of the draws; on one machine the same seed gives
            the same result.
        steps: number of steps, of all codes each.
        period: number of positions if labels are positions on a circle, where being one step off is correct;
            0 if labels are classes.
        change: applied to means or draws (K, N, F) before they are read, such as an eraser.

    Raises:
        InputError: wrong shapes, types or values, an unknown kind, or steps below 1.
    """
    _check_both(train, train_labels, test, test_labels)
    if kind not in KINDS or features not in FEATURES or steps < 1:
        raise InputError(
            f"no probe of kind '{kind}' with {features} and {steps} steps",
            remedy="choose linear or mlp, means or draws, and 1 step or more",
        )
    device = train.mean.device
    fitted, read = features_of(train, test, features, seed, change)
    classes, targets = torch.unique(train_labels.to(device), return_inverse=True)
    probe = _classifier(fitted.shape[2], len(classes), kind, seed).to(device)
    _fit(probe, fitted, targets, steps)
    with torch.no_grad():
        predictions = classes[probe(read).argmax(2)]
    labels = test_labels.to(device)
    accuracy = _accuracy(predictions, labels, period)
    chance = max(_accuracy(guess, labels, period) for guess in torch.unique(labels))
    interval = proportion(round(accuracy * len(labels)), len(labels))
    return ProbeResult(accuracy, chance, accuracy / chance, interval.low, interval.high)


def all_probes(
    name: str,
    train: tuple[Gaussian, Tensor],
    test: tuple[Gaussian, Tensor],
    *,
    seed: int,
    period: int = 0,
    change: Change | None = None,
) -> dict[str, ProbeResult]:
    """`probe_accuracy` of both kinds and both features, named ``NAME, KIND, FEATURES``.

    Args:
        name: what is read from what.
        train: training codes and labels.
        test: test codes and labels.
        seed: see `probe_accuracy`.
        period: see `probe_accuracy`.
        change: see `probe_accuracy`.
    """
    return {
        f"{name}, {kind}, {features}": probe_accuracy(
            *train, *test, kind=kind, features=features, seed=seed, period=period, change=change
        )
        for features in FEATURES
        for kind in KINDS
    }


def strongest(probes: Mapping[str, ProbeResult]) -> dict[str, tuple[str, ProbeResult]]:
    """For each thing that is read, how its most accurate probe reads it, and the result: the one that counts.

    >>> weak, strong = ProbeResult(0.4, 0.2, 2.0), ProbeResult(0.5, 0.2, 2.5)
    >>> found = strongest({"code from x, linear, means": weak, "code from x, mlp, draws": strong})
    >>> found["code from x"][0]
    'mlp, draws'
    """
    best: dict[str, tuple[str, ProbeResult]] = {}
    for name, result in probes.items():
        what, _, how = name.partition(", ")
        if what not in best or result.accuracy > best[what][1].accuracy:
            best[what] = (how, result)
    return best


def labelled(groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """All rows of several groups, and the index of each row's group."""
    return torch.cat(list(groups)), torch.cat(
        [torch.full((len(group),), index) for index, group in enumerate(groups)]
    )
