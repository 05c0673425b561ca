"""How good are translations? Against the truth where it is known and against copying the source; by LPIPS alone elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.images import to_tensor
from sivae_translate.data.sets import DomainData
from sivae_translate.errors import DataError, InputError
from sivae_translate.evaluation import metrics
from sivae_translate.evaluation.lpips import SMALLEST_SIDE, Lpips
from sivae_translate.evaluation.metrics import Interval, bootstrap, bootstrap_gain
from sivae_translate.evaluation.probes import ProbeResult, probe_accuracy
from sivae_translate.progress import track
from sivae_translate.translator import Translator

StyleKind = Literal["domain", "reference"]
STYLES_FOR_DIVERSITY = 4


@dataclass(frozen=True)
class PairResult:
    """One ordered pair of domains.

    Attributes:
        source: domain name.
        target: domain name.
        images: how many translations were judged.
        lpips: mean LPIPS to the truth; without a truth, to the source.
        l1: mean L1 to the truth, None without.
        ssim: mean SSIM to the truth, None without.
        copy_lpips: the same three for copying the source instead of translating it, None without a truth.
        copy_l1: see ``copy_lpips``.
        copy_ssim: see ``copy_lpips``.
        gain: 1 - lpips / copy_lpips, None without a truth.
        gain_low: lower end of the gain's 95 % bootstrap interval.
        gain_high: its upper end.
        diversity: mean LPIPS between translations of one source into several draws of the style, None for references.
    """

    source: str
    target: str
    images: int
    lpips: float
    l1: float | None = None
    ssim: float | None = None
    copy_lpips: float | None = None
    copy_l1: float | None = None
    copy_ssim: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    diversity: float | None = None


@dataclass(frozen=True)
class Case:
    """One translation that the report shows.

    Attributes:
        lpips: to the truth, or to the source without one.
        source: (C, H, W) in [0, 1].
        output: the same.
        truth: the same, or None.
        title: source and target domain.
    """

    lpips: float
    source: Tensor
    output: Tensor
    truth: Tensor | None
    title: str


@dataclass(frozen=True)
class Evaluation:
    """The whole judgement.

    Attributes:
        style: ``domain`` (prior means) or ``reference`` (one random test image of the target domain each).
        paired: whether truths were known.
        pairs: one result for each ordered pair of domains.
        overall: metric name to mean over all translations with a 95 % bootstrap interval; contents are the resampled units.
        probes: what small classifiers read off the codes.
        cases: the best, median and worst translations, not written to JSON.
    """

    style: StyleKind
    paired: bool
    pairs: tuple[PairResult, ...]
    overall: dict[str, Interval]
    probes: dict[str, ProbeResult] = field(default_factory=dict)
    cases: tuple[Case, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, object]:
        """Everything but the pictures."""
        values = asdict(Evaluation(self.style, self.paired, self.pairs, self.overall, self.probes))
        values.pop("cases")
        return values


@dataclass(frozen=True)
class _Outputs:
    """Translations of one ordered pair: (N, C, H, W) each, and which content each shows."""

    sources: Tensor
    outputs: Tensor
    truths: Tensor | None
    contents: tuple[str, ...]


def evaluate(
    translator: Translator,
    data: DomainData,
    *,
    style: StyleKind = "domain",
    lpips: Lpips | None = None,
    seed: int = 0,
    probes: bool = True,
    limit: int | None = None,
) -> Evaluation:
    """Translate the test images of each domain into each other domain and judge the results.

    Args:
        translator: the model; its domains are matched by name with those of the data.
        data: with test images.
        style: ``domain`` uses prior means, ``reference`` a random test image of the target domain for each source.
        lpips: loaded once when evaluating often.
        seed: of the references, of the draws for the diversity and of the bootstrap.
        probes: also train the probes (a few seconds).
        limit: at most this many test images a domain.

    Raises:
        DataError: there are no test images, or the images are too small for LPIPS.
        InputError: a domain of the data is unknown to the model, or it has no domains and ``style`` is ``domain``.
    """
    if not data.test:
        raise DataError("the data has no test images", remedy="add root/test/<domain>/, or evaluate on another --data")
    if translator.image_size < SMALLEST_SIDE:
        raise DataError(f"LPIPS needs {SMALLEST_SIDE} px or more", remedy="evaluate a model of larger images")
    if style == "domain" and not translator.model.domains:
        raise InputError("the model has no domain labels, so no domain style", remedy="evaluate with --style reference")
    judge = lpips or Lpips.load(device=str(translator.device))
    names = data.tested
    images = [_stack(source, limit) for source in data.test]
    ordered = [(i, j) for i in range(len(images)) for j in range(len(images)) if i != j]
    results, values, cases = [], [], []
    for i, j in track(ordered, "evaluating"):
        produced = _translate_pair(translator, data, images, (i, j), names, style, seed)
        if produced is None:
            continue
        result, numbers = _judge_pair(translator, produced, (names[i], names[j]), judge, style)
        results.append(result)
        values.append((produced.contents, numbers))
        cases += _cases(produced, numbers["lpips"], f"{names[i]} to {names[j]}")
    if not results:
        raise DataError("no pair of domains could be judged", remedy="evaluate with --style reference, or on paired data")
    paired = results[0].gain is not None
    found = _probe_codes(translator, data, images, seed) if probes and paired and data.painted is None else {}
    return Evaluation(style, paired, tuple(results), _overall(values, seed), found, _pick(cases))


def _stack(source: Sequence[np.ndarray] | object, limit: int | None) -> Tensor:
    count = len(source)  # type: ignore[arg-type]
    count = min(count, limit) if limit else count
    return to_tensor(np.stack([source[index] for index in range(count)]))  # type: ignore[index]


def _translate_pair(
    translator: Translator,
    data: DomainData,
    images: list[Tensor],
    pair: tuple[int, int],
    names: tuple[str, ...],
    style: StyleKind,
    seed: int,
) -> _Outputs | None:
    """Translations of one pair with their truths; sources without a truth are left out where others have one."""
    i, j = pair
    count = len(images[i])
    references = np.random.default_rng((seed, i, j)).integers(len(images[j]), size=count)
    wanted = [j if style == "domain" else (j, int(reference)) for reference in references]
    truths = [data.truth((i, index), want) for index, want in enumerate(wanted)]
    kept = [index for index, truth in enumerate(truths) if truth is not None]
    if data.paired and not kept:
        return None
    chosen = kept if kept else list(range(count))
    if style == "domain":
        code = translator.style_code(names[j])
    else:
        code = translator.encode(images[j]).style.mean[torch.from_numpy(references[chosen]).to(translator.device)]
    sources = images[i][chosen]
    outputs = translator(sources, code, output="tensor")
    known = [truths[index] for index in kept]
    stacked = to_tensor(np.stack([truth for truth in known if truth is not None])) if kept else None
    ids = data.test_ids[i] if data.test_ids else tuple(map(str, range(count)))
    return _Outputs(sources, outputs, stacked, tuple(ids[index] for index in chosen))


def _judge_pair(
    translator: Translator, made: _Outputs, names: tuple[str, str], judge: Lpips, style: StyleKind
) -> tuple[PairResult, dict[str, Tensor]]:
    device = translator.device
    diversity = _diversity(translator, made, names[1], judge) if style == "domain" and made.truths is None else None
    if made.truths is None:
        numbers = {"lpips": judge.distances(made.sources.to(device), made.outputs.to(device)).cpu()}
        return PairResult(*names, len(made.sources), numbers["lpips"].mean().item(), diversity=diversity), numbers
    numbers = {}
    for prefix, candidate in (("", made.outputs), ("copy_", made.sources)):
        a, b = candidate.to(device), made.truths.to(device)
        numbers[f"{prefix}lpips"] = judge.distances(a, b).cpu()
        numbers[f"{prefix}l1"] = metrics.l1(a, b).cpu()
        numbers[f"{prefix}ssim"] = metrics.ssim(a, b).cpu()
    gain = bootstrap_gain(numbers["lpips"], numbers["copy_lpips"])
    result = PairResult(
        source=names[0],
        target=names[1],
        images=len(made.sources),
        gain=gain.mean,
        gain_low=gain.low,
        gain_high=gain.high,
        diversity=diversity,
        **{name: value.mean().item() for name, value in numbers.items()},  # type: ignore[arg-type]  # all are floats
    )
    return result, numbers


def _diversity(translator: Translator, made: _Outputs, target: str, judge: Lpips) -> float:
    """Mean LPIPS between translations of the same sources into several draws from the target's prior."""
    some = made.sources[:32]
    drawn = [translator(some, (target, seed), output="tensor") for seed in range(STYLES_FOR_DIVERSITY)]
    return metrics.diversity(torch.stack(drawn).to(translator.device), judge).mean().item()


def _overall(values: list[tuple[tuple[str, ...], dict[str, Tensor]]], seed: int) -> dict[str, Interval]:
    """Means over all translations; the same content in many pairs is one unit of the bootstrap, not many."""
    contents = [content for ids, _ in values for content in ids]
    number = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    groups = torch.tensor([number[content] for content in contents])
    joined = {name: torch.cat([numbers[name] for _, numbers in values]) for name in values[0][1]}
    overall = {name: bootstrap(value, groups=groups, seed=seed) for name, value in joined.items()}
    if "copy_lpips" in joined:
        overall["gain"] = bootstrap_gain(joined["lpips"], joined["copy_lpips"], groups, seed=seed)
    return overall


def _cases(made: _Outputs, lpips: Tensor, title: str) -> list[Case]:
    return [
        Case(
            lpips=lpips[index].item(),
            source=made.sources[index],
            output=made.outputs[index],
            truth=None if made.truths is None else made.truths[index],
            title=title,
        )
        for index in range(len(lpips))
    ]


def _pick(cases: list[Case], each: int = 8) -> tuple[Case, ...]:
    """The best, the median and the worst cases by LPIPS."""
    ranked = sorted(cases, key=lambda case: case.lpips)
    middle = max(0, len(ranked) // 2 - each // 2)
    return tuple(ranked[:each] + ranked[middle : middle + each] + ranked[-each:])


def _probe_codes(translator: Translator, data: DomainData, images: list[Tensor], seed: int) -> dict[str, ProbeResult]:
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
    for kind in ("linear", "mlp"):
        found[f"domain from content, {kind}"] = probe_accuracy(
            torch.cat([p.content.mean.flatten(1) for p in learn]).cpu(),
            torch.cat([torch.full((len(p.content.mean),), d) for d, p in enumerate(learn)]),
            torch.cat([p.content.mean.flatten(1) for p in asked]).cpu(),
            torch.cat([torch.full((len(p.content.mean),), d) for d, p in enumerate(asked)]),
            kind=kind,
            seed=seed,
        )
    if len(images) > 2 and len(set(map(len, images))) == 1:
        centred = [p.style.mean - translator.style_code(name) for p, name in zip(asked, data.domains, strict=True)]
        letters = torch.arange(len(images[0]))
        found["content from style, linear"] = probe_accuracy(
            torch.cat(centred[:-1]).cpu(), letters.repeat(len(images) - 1), centred[-1].cpu(), letters, kind="linear", seed=seed
        )
    return found
