"""What a model's codes tell: the domain from content, the content from style, viewpoints, and the leak."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.erasure import Eraser
from sivae_translate.evaluation.leak import Leak, measure_leak
from sivae_translate.evaluation.posteriors import encode_all
from sivae_translate.evaluation.probes import ProbeResult, all_probes, labelled
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.codes import Gaussian, Posterior
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.selection import spread

TRAINING_IMAGES = 400
"""Roughly how many training images of a domain the probes are trained on."""
LEAK_IMAGES = 2000
"""Most test images that the leak is measured on."""


@dataclass(frozen=True)
class CodeReading:
    """What a model's codes tell.

    Attributes:
        probes: accuracy of probes by name.
        leak: how many nats the content can tell about the domain; None with a single domain, and for
            baselines.
    """

    probes: dict[str, ProbeResult] = field(default_factory=dict)
    leak: Leak | None = None


@dataclass(frozen=True)
class _Tested:
    """Test images of each domain: posteriors on the CPU, and their positions among the domain's images."""

    posteriors: list[Posterior]
    positions: Sequence[Sequence[int]]


def read_codes(
    translator: Translator | None,
    data: DomainData,
    images: Sequence[Tensor],
    positions: Sequence[Sequence[int]],
    seed: int,
    *,
    erase: bool = False,
) -> CodeReading:
    """Probe a model's codes, and measure how much its content can tell about the domain.

    There are no probes for sets with fewer than two domains.

    Args:
        translator: the model; None gives an empty result.
        data: data to train probes on. Contents are identified by equal IDs in all domains, by classes, or by
            viewpoints.
        images: for each domain, test images (N, C, H, W).
        positions: for each domain, the positions of these test images.
        seed: seed of the probes and of draws.
        erase: also probe the domain in contents from which it was erased (`Eraser`).
    """
    if translator is None:
        return CodeReading()
    tested = _Tested([_encode(translator, some) for some in images], positions)
    leak = _leak(translator, data, tested, seed)
    if data.labels is not None and data.labels.period:
        return CodeReading(_read_viewpoints(translator, data, seed, erase), leak)
    known = len(data.domains) > 1 and set(data.domains) <= set(translator.domains)
    if not known or not data.train or len(data.domains) != len(data.test):
        return CodeReading({}, leak)
    return CodeReading(_read(translator, data, tested, seed, erase), leak)


def _read(
    translator: Translator, data: DomainData, tested: _Tested, seed: int, erase: bool
) -> dict[str, ProbeResult]:
    """Probe the domain from content and, where contents are known, the content from style."""
    readable = [
        _readable(source, range(0, len(source), -(-len(source) // TRAINING_IMAGES))) for source in data.train
    ]
    train = [_encode(translator, to_tensor(np.stack([pixels for _, pixels in some]))) for some in readable]
    contents = [_labelled([one.content for one in group]) for group in (train, tested.posteriors)]
    results = _domain_probes(contents[0], contents[1], seed, erase)
    styles = [_styles_within_domains(translator, data, group) for group in (train, tested.posteriors)]
    if data.labels is not None and data.labels.train:
        train_labels = [
            labels[[at for at, _ in some]] for labels, some in zip(data.labels.train, readable, strict=True)
        ]
        test_labels = [
            labels[list(at)] for labels, at in zip(data.labels.test, tested.positions, strict=True)
        ]
        sets = [
            (Gaussian.join(codes), torch.from_numpy(np.concatenate(labels)))
            for codes, labels in zip(styles, (train_labels, test_labels), strict=True)
        ]
        results |= all_probes("content from style", *sets, seed=seed)
    elif data.truth is not None and len(set(data.test_ids)) == 1:
        ids = torch.arange(len(tested.positions[0]))
        others = (Gaussian.join(styles[1][:-1]), ids.repeat(len(styles[1]) - 1))
        results |= all_probes("content from style", others, (styles[1][-1], ids), seed=seed)
    return results


def _domain_probes(
    train: tuple[Gaussian, Tensor], test: tuple[Gaussian, Tensor], seed: int, erase: bool
) -> dict[str, ProbeResult]:
    """Probe the domain from contents, as they are and with the domain erased."""
    results = all_probes("domain from content", train, test, seed=seed)
    if erase:
        eraser = Eraser.fit(*train)
        results |= all_probes("domain from erased content", train, test, seed=seed, change=eraser)
    return results


def _leak(translator: Translator, data: DomainData, tested: _Tested, seed: int) -> Leak | None:
    """The leak of the domain into the content of at most `LEAK_IMAGES` test images."""
    if len(tested.posteriors) < 2:
        return None
    each = max(2, LEAK_IMAGES // len(tested.posteriors))
    chosen = [spread(len(one.content.mean), each) for one in tested.posteriors]
    codes = [one.content[torch.tensor(at)] for one, at in zip(tested.posteriors, chosen, strict=True)]
    places = [[at[i] for i in few] for at, few in zip(tested.positions, chosen, strict=True)]
    prior = copy.deepcopy(translator.model.content_prior).cpu()
    return measure_leak(*_labelled(codes), _contents(data, places), prior, seed)


def _contents(data: DomainData, positions: Sequence[Sequence[int]]) -> Tensor | None:
    """What test images show, as a number each: equal IDs, else labels; None if neither is known."""
    if data.truth is not None and len(set(data.test_ids)) == 1:
        shown: list[object] = [
            ids[at] for ids, few in zip(data.test_ids, positions, strict=True) for at in few
        ]
    elif data.labels is not None:
        shown = [int(some[at]) for some, few in zip(data.labels.test, positions, strict=True) for at in few]
    else:
        return None
    number = {content: index for index, content in enumerate(dict.fromkeys(shown))}
    return torch.tensor([number[content] for content in shown])


def _encode(translator: Translator, images: Tensor) -> Posterior:
    """Posteriors on the CPU in float32."""
    posterior = encode_all(translator.engine, images)
    return Posterior(*(_float(one) for one in (posterior.content, posterior.style)))


def _float(codes: Gaussian) -> Gaussian:
    return Gaussian(codes.mean.float().cpu(), codes.logvar.float().cpu())


def _labelled(groups: Sequence[Gaussian]) -> tuple[Gaussian, Tensor]:
    """Codes of several groups, and the index of each one's group."""
    return Gaussian.join(groups), labelled([one.mean for one in groups])[1]


def _shifted(codes: Gaussian, shift: Tensor) -> Gaussian:
    return Gaussian(codes.mean - shift, codes.logvar)


def _styles_within_domains(
    translator: Translator, data: DomainData, posteriors: Sequence[Posterior]
) -> list[Gaussian]:
    """Styles minus their prior mean of the domain, (N, S) for each domain."""
    return [
        _shifted(posterior.style, translator.style_code(Style.domain(name)).float().cpu())
        for posterior, name in zip(posteriors, data.domains, strict=True)
    ]


def _readable(source: ImageSource, positions: Sequence[int]) -> list[tuple[int, np.ndarray]]:
    """The images of a source that can be read, with their positions."""
    images = []
    for position in positions:
        with suppress(DataError):
            images.append((position, source[position]))
    return images


def _read_viewpoints(
    translator: Translator, data: DomainData, seed: int, erase: bool
) -> dict[str, ProbeResult]:
    """Probe the viewpoint within one step from content and from style, and the domain from content.

    The content should contain the viewpoint but not the domain; the style should not contain the viewpoint.
    All test images are used. Probes of the viewpoint are trained on every other domain and tested on the
    rest; probes of the domain are trained on every other image of all domains and tested on the rest.
    """
    assert data.labels is not None
    period = data.labels.period or 0
    images = (to_tensor(np.stack([source[view] for view in range(len(source))])) for source in data.test)
    posteriors = [_encode(translator, some) for some in images]
    contents = [one.content for one in posteriors]
    # A domain's mean style does not depend on the viewpoint.
    styles = [_shifted(one.style, one.style.mean.mean(0)) for one in posteriors]
    viewpoints = torch.from_numpy(data.labels.test[0])

    def viewpoint(name: str, codes: list[Gaussian]) -> dict[str, ProbeResult]:
        halves = [(Gaussian.join(half), viewpoints.repeat(len(half))) for half in (codes[::2], codes[1::2])]
        return all_probes(name, *halves, seed=seed, period=period)

    views = [_labelled([one[half] for one in contents]) for half in (slice(0, None, 2), slice(1, None, 2))]
    results = viewpoint("viewpoint from content", contents) | _domain_probes(views[0], views[1], seed, erase)
    return results | viewpoint("viewpoint from style", styles)
