"""How good are translations? Against the truth where it is known and against copying the source; by LPIPS
alone elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import ContentLabels, DomainData, ImageSource
from sivae_translate.data.sources import StyleKind
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import metrics
from sivae_translate.evaluation.baselines import Method, ModelMethod
from sivae_translate.evaluation.classifier import Classifier, train_classifier
from sivae_translate.evaluation.fidelity import Inception, frechet_distance, kernel_distance
from sivae_translate.evaluation.metrics import Interval, bootstrap, bootstrap_gain
from sivae_translate.evaluation.probes import ProbeResult, labelled, read_codes
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.progress import track

STYLES_FOR_DIVERSITY = 4
SOURCES_FOR_DIVERSITY = 32
RATIOS = ("lpips", "l1", "ssim", "psnr")
"""Figures that are also divided by those of copying, where these are surely above 0 (an SSIM may not be)."""
CLASSIFIED = 2000
"""Images a domain that classifiers of the domains are trained on."""


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
        psnr: mean PSNR to the truth in dB, None without.
        copy_lpips: the same four for copying the source instead of translating it, None without a truth.
        copy_l1: see ``copy_lpips``.
        copy_ssim: see ``copy_lpips``.
        copy_psnr: see ``copy_lpips``.
        gain: 1 - lpips / copy_lpips, None without a truth.
        gain_low: lower end of the gain's 95 % bootstrap interval.
        gain_high: its upper end.
        diversity: mean LPIPS between translations of one source into several draws of the style, or to
            several references; None for baselines.
        recognised: share of translations that a classifier of real images takes for the target domain; None
            without one.
        classified: share of translations whose class (digit) a classifier of the target's real images still
            names; None where the data has no classes.
        cycle_lpips: mean LPIPS between sources and their translations translated back; None where it was not
            asked for.
    """

    source: str
    target: str
    images: int
    lpips: float
    l1: float | None = None
    ssim: float | None = None
    psnr: float | None = None
    copy_lpips: float | None = None
    copy_l1: float | None = None
    copy_ssim: float | None = None
    copy_psnr: float | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    diversity: float | None = None
    recognised: float | None = None
    classified: float | None = None
    cycle_lpips: float | None = None


@dataclass(frozen=True)
class TargetResult:
    """All translations into one domain, by Inception's features against the real test images of that domain.

    Attributes:
        target: domain name.
        images: translations, from every other domain.
        real: real images.
        fid: Frechet distance; it falls with the number of images, so compare methods on the same data only.
        kid: squared MMD, unbiased.
        kid_std: its standard deviation over random subsets of at most half of the images: more than that of
            the whole.
    """

    target: str
    images: int
    real: int
    fid: float
    kid: float
    kid_std: float


@dataclass(frozen=True)
class Judges:
    """What translations between the domains of one data set are judged by; the more, the slower.

    Attributes:
        lpips: always.
        inception: for FID and KID to the target domain.
        domains: classifier of the data's domains.
        classes: one classifier a domain, of its classes.
        cycle: also translate back.
        known: domain and number of images to Inception's features of that many real test images, kept from
            method to method.
    """

    lpips: Lpips
    inception: Inception | None = None
    domains: Classifier | None = None
    classes: tuple[Classifier, ...] = ()
    cycle: bool = False
    known: dict[tuple[str, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def real_features(self, domain: str, images: Tensor) -> Tensor:
        """Inception's features (N, F) of a domain's real test images (N, C, H, W)."""
        assert self.inception is not None
        key = (domain, len(images))
        if key not in self.known:
            self.known[key] = self.inception(images)
        return self.known[key]


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
        targets: one result for each target domain; empty without Inception.
        overall: metric name to mean over all translations with a 95 % bootstrap interval; contents are the
            resampled units.
        probes: what small classifiers read off the codes.
        cases: the best, median and worst translations, not written to JSON.
    """

    style: StyleKind
    paired: bool
    pairs: tuple[PairResult, ...]
    overall: dict[str, Interval]
    targets: tuple[TargetResult, ...] = ()
    probes: dict[str, ProbeResult] = field(default_factory=dict)
    cases: tuple[Case, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, object]:
        """Everything but the pictures."""
        values = asdict(replace(self, cases=()))
        values.pop("cases")
        return values


@dataclass(frozen=True)
class _Outputs:
    """Translations of one ordered pair: (N, C, H, W) each, which test image each source is, and which content
    it shows.
    """

    sources: Tensor
    outputs: Tensor
    truths: Tensor | None
    references: Tensor | None
    chosen: tuple[int, ...]
    contents: tuple[str, ...]


def evaluate(
    method: Method | Translator,
    data: DomainData,
    *,
    style: StyleKind = "domain",
    judges: Judges | None = None,
    seed: int = 0,
    probes: bool = True,
    limit: int | None = None,
) -> Evaluation:
    """Translate the test images of each domain into each other domain and judge the results.

    Args:
        method: a model, whose domains are matched by name with those of the data, or a baseline.
        data: with test images.
        style: ``domain`` uses prior means, ``reference`` a random test image of the target domain for each
            source.
        judges: LPIPS alone when left out.
        seed: of the references, of the draws for the diversity and of the bootstrap.
        probes: also train the probes on a model's codes (a few seconds).
        limit: at most this many test images a domain, spread evenly over them.

    Raises:
        DataError: there are no test images, or the images are too small for LPIPS.
        InputError: a domain of the data is unknown to the model, it has no domains and ``style`` is
            ``domain``, or the limit is below 1.
    """
    if not data.test:
        raise DataError(
            "the data has no test images", remedy="add root/test/<domain>/, or evaluate on another --data"
        )
    check_limit(limit)
    if len(data.test[0][0]) < SMALLEST_SIDE:
        raise DataError(f"LPIPS needs {SMALLEST_SIDE} px or more", remedy="evaluate a model of larger images")
    translator = method if isinstance(method, Translator) else None
    if style == "domain" and translator is not None and not translator.model.domains:
        raise InputError(
            "the model has no domain labels, so no domain style", remedy="evaluate with --style reference"
        )
    if style == "domain" and data.new_domains:
        raise InputError("the test domains were not trained on", remedy="evaluate with --style reference")
    positions = tuple(spread(len(source), limit) for source in data.test)
    judged = _Judged(
        ModelMethod(method) if isinstance(method, Translator) else method,
        translator,
        data,
        style,
        seed,
        positions,
    )
    judges = judges or Judges(Lpips.load(device=str(translator.device) if translator else "cpu"))
    images = [_stack(source, limit) for source in data.test]
    ordered = [(i, j) for i in range(len(images)) for j in range(len(images)) if i != j]
    results, values, cases = [], [], []
    features: dict[int, list[Tensor]] = {}
    for i, j in track(ordered, "evaluating"):
        produced = judged.translate(images, (i, j))
        if produced is None:
            continue
        result, numbers = judged.judge(produced, (i, j), judges)
        results.append(result)
        values.append((produced.contents, numbers))
        if judges.inception is not None:
            features.setdefault(j, []).append(judges.inception(produced.outputs))
        cases += _cases(produced, numbers["lpips"], f"{result.source} to {result.target}")
    if not results:
        raise DataError(
            "no pair of domains could be judged", remedy="evaluate with --style reference, or on paired data"
        )
    paired = results[0].gain is not None
    found = read_codes(translator, data, images, positions, seed) if probes and translator is not None else {}
    return Evaluation(
        style=style,
        paired=paired,
        pairs=tuple(results),
        overall=_overall(values, seed),
        targets=_to_targets(features, images, data, judges, seed),
        probes=found,
        cases=_pick(cases),
    )


@dataclass(frozen=True)
class _Judged:
    """One method on one data set, and which of each domain's test images are judged."""

    method: Method
    translator: Translator | None
    data: DomainData
    style: StyleKind
    seed: int
    positions: tuple[Sequence[int], ...]

    def translate(self, images: list[Tensor], pair: tuple[int, int]) -> _Outputs | None:
        """Translations of one pair with their truths; sources without a truth are left out where others have
        one.
        """
        (i, j), data = pair, self.data
        count = len(images[i])
        drawn = np.random.default_rng((self.seed, i, j)).integers(len(images[j]), size=count)
        places = self.positions[i]
        wanted = [
            j if self.style == "domain" else (j, self.positions[j][int(reference)]) for reference in drawn
        ]
        truths = [data.truth_of((i, place), want) for place, want in zip(places, wanted, strict=True)]
        kept = [index for index, truth in enumerate(truths) if truth is not None]
        if data.truth is not None and not kept:
            return None
        chosen = kept if kept else list(range(count))
        references = None if self.style == "domain" else images[j][torch.from_numpy(drawn[chosen])]
        sources = images[i][chosen]
        outputs = self.method.translate(sources, data.test_domains[j], references)
        known = [truth for truth in truths if truth is not None]
        ids = [data.test_ids[i][place] if data.test_ids else str(place) for place in places]
        return _Outputs(
            sources=sources,
            outputs=outputs,
            truths=to_tensor(np.stack(known)) if known else None,
            references=references,
            chosen=tuple(places[index] for index in chosen),
            contents=tuple(ids[index] for index in chosen),
        )

    def judge(
        self, made: _Outputs, pair: tuple[int, int], judges: Judges
    ) -> tuple[PairResult, dict[str, Tensor]]:
        """Figures of one pair, and one number a translation for the means over all pairs."""
        numbers = _distances(made, judges.lpips)
        names = (self.data.test_domains[pair[0]], self.data.test_domains[pair[1]])
        others: dict[str, float | None] = {
            name: value.float().mean().item() for name, value in numbers.items()
        }
        if made.truths is not None:
            gain = bootstrap_gain(numbers["lpips"], numbers["copy_lpips"])
            others |= {"gain": gain.mean, "gain_low": gain.low, "gain_high": gain.high}
        if self.translator is not None:
            others["diversity"] = _diversity(self.translator, made, names[1], judges.lpips)
        more = self._recognition(made, pair, judges)
        if judges.cycle:
            back = self.method.translate(
                made.outputs, names[0], None if made.references is None else made.sources
            )
            more["cycle_lpips"] = judges.lpips.distances(made.sources, back)
        others |= {name: value.float().mean().item() for name, value in more.items()}
        return PairResult(*names, len(made.sources), **others), numbers | more  # type: ignore[arg-type]  # lpips is a float

    def _recognition(self, made: _Outputs, pair: tuple[int, int], judges: Judges) -> dict[str, Tensor]:
        """Which translations classifiers of real images recognise: (N,) of 0 and 1 each."""
        found = {}
        if judges.domains is not None:
            found["recognised"] = (judges.domains.classes(made.outputs) == pair[1]).float()
        if judges.classes and self.data.labels is not None:
            right = torch.from_numpy(self.data.labels.test[pair[0]][list(made.chosen)])
            found["classified"] = (judges.classes[pair[1]].classes(made.outputs) == right).float()
        return found


def check_limit(limit: int | None, least: int = 1) -> None:
    """Raises InputError unless a limit on the number of images leaves so many at least."""
    if limit is not None and limit < least:
        raise InputError(f"the limit is {limit} images", remedy=f"give {least} or more, or leave it out")


def make_judges(
    data: DomainData, lpips: Lpips, *, inception: Inception | None = None, seed: int = 0
) -> Judges:
    """All the judges that a data set allows: classifiers of its domains and classes, trained here on its
    training images.

    Args:
        data: with test images, which say how good the classifiers are.
        lpips: the distance.
        inception: for FID and KID, or None.
        seed: of the classifiers.
    """
    domains, classes = None, []
    if len(data.domains) > 1 and not data.new_domains and len(data.test) == len(data.domains):
        train, test = (
            [_stack(source, CLASSIFIED) for source in sources] for sources in (data.train, data.test)
        )
        domains = train_classifier(*labelled(train), labelled(test), seed=seed)
    content = data.labels or ContentLabels(test=())
    for source, held, known, asked in zip(data.train, data.test, content.train, content.test, strict=False):
        images, labels = _stack(source, None), torch.from_numpy(known)
        classes.append(
            train_classifier(images, labels, (_stack(held, None), torch.from_numpy(asked)), seed=seed)
        )
    return Judges(lpips, inception, domains, tuple(classes), cycle=True)


def spread(count: int, limit: int | None) -> Sequence[int]:
    """At most ``limit`` of ``count`` positions, spread evenly: the first few of a sorted set are no fair
    sample of it.
    """
    if limit is None or count <= limit:
        return range(count)
    return [round(place) for place in np.linspace(0, count - 1, limit)]


def _stack(source: ImageSource, limit: int | None) -> Tensor:
    return to_tensor(np.stack([source[position] for position in spread(len(source), limit)]))


def _distances(made: _Outputs, lpips: Lpips) -> dict[str, Tensor]:
    """LPIPS, L1, SSIM and PSNR of translations and of copies to the truths; LPIPS to the sources where there
    are none.
    """
    if made.truths is None:
        return {"lpips": lpips.distances(made.sources, made.outputs)}
    numbers = {}
    for prefix, candidate in (("", made.outputs), ("copy_", made.sources)):
        numbers[f"{prefix}lpips"] = lpips.distances(candidate, made.truths)
        numbers[f"{prefix}l1"] = metrics.l1(candidate, made.truths)
        numbers[f"{prefix}ssim"] = metrics.ssim(candidate, made.truths)
        numbers[f"{prefix}psnr"] = metrics.psnr(candidate, made.truths)
    return numbers


def _to_targets(
    features: dict[int, list[Tensor]], images: list[Tensor], data: DomainData, judges: Judges, seed: int
) -> tuple[TargetResult, ...]:
    """FID and KID of the features of all translations into each domain."""
    results = []
    for j in sorted(features):
        theirs, ours = judges.real_features(data.test_domains[j], images[j]), torch.cat(features[j])
        kid = kernel_distance(theirs, ours, seed=seed)
        results.append(
            TargetResult(data.test_domains[j], len(ours), len(theirs), frechet_distance(theirs, ours), *kid)
        )
    return tuple(results)


def _diversity(translator: Translator, made: _Outputs, target: str, judge: Lpips) -> float | None:
    """Mean LPIPS between translations of the same sources into several draws from the target's prior, or to
    references.
    """
    if made.references is None:
        some = made.sources[:SOURCES_FOR_DIVERSITY]
        drawn = [translator(some, (target, seed), output="tensor") for seed in range(STYLES_FOR_DIVERSITY)]
    else:
        some = made.sources[: SOURCES_FOR_DIVERSITY // 4]  # there may be hundreds of pairs of domains
        styles = translator.encode(made.references[: len(some)]).style.mean
        turns = range(min(STYLES_FOR_DIVERSITY, len(styles)))
        drawn = [
            translator.engine.translate(some.to(translator.device), styles.roll(turn, 0)).cpu()
            for turn in turns
        ]
    if len(drawn) < 2:
        return None
    return metrics.diversity(torch.stack(drawn), judge).mean().item()


def _overall(values: list[tuple[tuple[str, ...], dict[str, Tensor]]], seed: int) -> dict[str, Interval]:
    """Means over all translations; the same content in many pairs is one unit of the bootstrap, not many."""
    contents = [content for ids, _ in values for content in ids]
    number = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    groups = torch.tensor([number[content] for content in contents])
    joined = {name: torch.cat([numbers[name] for _, numbers in values]) for name in values[0][1]}
    overall = {name: bootstrap(value, groups=groups, seed=seed) for name, value in joined.items()}
    if "copy_lpips" in joined:
        overall["gain"] = bootstrap_gain(joined["lpips"], joined["copy_lpips"], groups, seed=seed)
    for name in RATIOS if "copy_lpips" in joined else ():
        if overall[f"copy_{name}"].low <= 0:
            continue
        gain = bootstrap_gain(joined[name], joined[f"copy_{name}"], groups, seed=seed)
        overall[f"{name}_ratio"] = Interval(1 - gain.mean, 1 - gain.high, 1 - gain.low)
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
