"""How good are translations? Against the truth where it is known and against copying the source; by LPIPS
alone elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import DomainData
from sivae_translate.data.sources import StyleKind
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import metrics
from sivae_translate.evaluation.baselines import Method, ModelMethod
from sivae_translate.evaluation.fidelity import frechet_distance, kernel_distance
from sivae_translate.evaluation.intervals import Interval, bootstrap, bootstrap_gain
from sivae_translate.evaluation.probes import ProbeResult, read_codes
from sivae_translate.evaluation.realism import looks_of
from sivae_translate.evaluation.reconstruction import measure_reconstructions
from sivae_translate.evaluation.results import RATIOS, Case, Evaluation, PairResult, TargetResult
from sivae_translate.evaluation.suite import MetricSuite, spread, stack
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.progress import track
from sivae_translate.utils.seeds import check_seed

STYLES_FOR_DIVERSITY = 4
SOURCES_FOR_DIVERSITY = 32
CASES = 8
"""Best, median and worst translations that a report shows, of each."""
SEEN_BY_VGG = 256
"""Translations that VGG16 measures, over all pairs of domains, at least one of each: it takes twenty times
as long as AlexNet."""


def evaluate(
    method: Method | Translator,
    data: DomainData,
    *,
    style: StyleKind = "domain",
    suite: MetricSuite | None = None,
    seed: int = 0,
    probes: bool = True,
    limit: int | None = None,
) -> Evaluation:
    """Translate the test images of each domain into each other domain and measure the results.

    Args:
        method: a model, whose domains are matched by name with those of the data, or a baseline.
        data: with test images.
        style: ``domain`` uses prior means, ``reference`` a random test image of the target domain for each
            source.
        suite: LPIPS alone when left out.
        seed: of the references, of the draws for the diversity and of the bootstrap.
        probes: also train the probes on a model's codes (a few seconds).
        limit: at most this many test images a domain, spread evenly over them.

    Raises:
        DataError: there are no test images, or the images are too small for LPIPS.
        InputError: a domain of the data is unknown to the model, it has no domains and ``style`` is
            ``domain``, or the limit is below 1.
    """
    translator = method if isinstance(method, Translator) else None
    _check(translator, data, style, limit)
    suite = suite or MetricSuite(Lpips.load(device=str(translator.device) if translator else "cpu"))
    work = _Work(method, data, style, suite, check_seed(seed), limit)
    domains = range(len(data.test))
    for pair in track([(i, j) for i in domains for j in domains if i != j], "evaluating"):
        work.measure(pair)
    if not work.results:
        raise DataError(
            "no pair of domains has a known truth",
            remedy="evaluate with --style reference, or on paired data",
        )
    return Evaluation(
        style=style,
        paired="gain" in work.results[0].metrics,
        pairs=tuple(work.results),
        overall=work.overall(),
        targets=work.targets(),
        domains=measure_reconstructions(translator, data.test_domains, work.images, suite.lpips, seed),
        lpips_networks=suite.lpips_networks,
        probes=work.probes() if probes else {},
        cases=_pick(work.cases),
    )


def check_limit(limit: int | None, least: int = 1) -> None:
    """Raises InputError unless a limit on the number of images leaves so many at least."""
    if limit is not None and limit < least:
        raise InputError(f"the limit is {limit} images", remedy=f"give {least} or more, or leave it out")


def _check(translator: Translator | None, data: DomainData, style: StyleKind, limit: int | None) -> None:
    """Raises what `evaluate` raises, but for domains that the model does not know."""
    data.require_tests()
    check_limit(limit)
    if len(data.test[0][0]) < SMALLEST_SIDE:
        raise DataError(f"LPIPS needs {SMALLEST_SIDE} px or more", remedy="evaluate a model of larger images")
    if style == "domain" and translator is not None and not translator.model.domains:
        raise InputError(
            "the model has no domain labels, so no domain style", remedy="evaluate with --style reference"
        )
    if style == "domain" and data.new_domains:
        raise InputError("the test domains were not trained on", remedy="evaluate with --style reference")


@dataclass(frozen=True)
class _Outputs:
    """Translations of one ordered pair: (N, C, H, W) each, which test image each source is, and which content
    it shows.
    """

    sources: Tensor
    outputs: Tensor
    truths: Tensor | None
    references: Tensor | None
    positions: tuple[int, ...]
    contents: tuple[str, ...]


class _Work:
    """One method on one data set: what has been measured so far.

    Attributes:
        images: the test images of each domain that are measured, (N, C, H, W).
        positions: which of each domain's test images they are.
        results: one for each pair of domains.
        values: metric name to a number for each translation, a pair of domains after the other.
        contents: what each of these shows.
        vgg_values: the same as ``values`` of the translations that VGG16 sees.
        vgg_contents: what each of these shows.
        cases: all translations.
    """

    def __init__(
        self,
        method: Method | Translator,
        data: DomainData,
        style: StyleKind,
        suite: MetricSuite,
        seed: int,
        limit: int | None,
    ) -> None:
        self.translator = method if isinstance(method, Translator) else None
        self.method = ModelMethod(method) if isinstance(method, Translator) else method
        self.data, self.style, self.suite, self.seed = data, style, suite, seed
        self.positions = tuple(spread(len(source), limit) for source in data.test)
        self.images = [stack(source, limit) for source in data.test]
        self.results: list[PairResult] = []
        self.values: list[dict[str, Tensor]] = []
        self.contents: list[str] = []
        self.vgg_values: list[dict[str, Tensor]] = []
        self.vgg_contents: list[str] = []
        self.cases: list[Case] = []
        self.features: dict[int, list[Tensor]] = {}

    def measure(self, pair: tuple[int, int]) -> None:
        """Translate between two domains and take in the metrics; nothing where no truth is known but others
        are.
        """
        made = self._translate(pair)
        if made is None:
            return
        source, target = (self.data.test_domains[index] for index in pair)
        values = self._values(made, pair)
        intervals = {name: bootstrap(value.float()) for name, value in values.items()}
        if made.truths is not None:
            intervals["gain"] = bootstrap_gain(values["lpips"], values["copy_lpips"])
        real = self.suite.real_images(target, self.images[pair[1]])
        intervals |= self._vgg(made)
        intervals["kid_alexnet"] = real.kid(looks_of(made.outputs, self.suite.lpips))
        intervals["copy_kid_alexnet"] = real.kid(self._looks_of_sources(made, pair[0]))
        diversity = self._diversity(made, target)
        if diversity is not None:
            intervals["diversity"] = bootstrap(diversity)
            if real.diversity is not None:
                intervals["real_diversity"] = real.diversity
        texture = real.texture(made.outputs)
        self.results.append(PairResult(source, target, len(made.sources), intervals, texture))
        self.values.append(values)
        self.contents += made.contents
        self.cases += _cases(made, values["lpips"], f"{source} to {target}")
        if self.suite.inception is not None:
            self.features.setdefault(pair[1], []).append(self.suite.inception(made.outputs))

    def _looks_of_sources(self, made: _Outputs, source: int) -> Tensor:
        """`looks_of` the sources, which are mostly known: all test images of their domain."""
        if len(made.sources) < len(self.images[source]):
            return looks_of(made.sources, self.suite.lpips)
        return self.suite.real_images(self.data.test_domains[source], self.images[source]).looks

    def overall(self) -> dict[str, Interval]:
        """Means over all translations."""
        overall = _overall(self.values, self.contents, self.seed)
        return overall | (_overall(self.vgg_values, self.vgg_contents, self.seed) if self.vgg_values else {})

    def probes(self) -> dict[str, ProbeResult]:
        """What small classifiers read off a model's codes; nothing of a baseline."""
        if self.translator is None:
            return {}
        return read_codes(self.translator, self.data, self.images, self.positions, self.seed)

    def targets(self) -> tuple[TargetResult, ...]:
        """FID and KID of all translations into each domain; nothing without Inception."""
        results = []
        for index, features in sorted(self.features.items()):
            name = self.data.test_domains[index]
            real, ours = self.suite.real_features(name, self.images[index]), torch.cat(features)
            kid, deviation = kernel_distance(real, ours, seed=self.seed)
            fid = frechet_distance(real, ours)
            results.append(TargetResult(name, len(ours), len(real), fid, kid, deviation))
        return tuple(results)

    def _translate(self, pair: tuple[int, int]) -> _Outputs | None:
        """Translations of one pair with their truths; sources without a truth are left out where others have
        one.
        """
        (i, j), data = pair, self.data
        count = len(self.images[i])
        drawn = np.random.default_rng((self.seed, i, j)).integers(len(self.images[j]), size=count)
        places = self.positions[i]
        styles = [j if self.style == "domain" else (j, self.positions[j][int(place)]) for place in drawn]
        truths = [data.truth_of((i, place), style) for place, style in zip(places, styles, strict=True)]
        with_truth = [index for index, truth in enumerate(truths) if truth is not None]
        if data.truth is not None and not with_truth:
            return None
        chosen = with_truth or list(range(count))
        references = None if self.style == "domain" else self.images[j][torch.from_numpy(drawn[chosen])]
        sources = self.images[i][chosen]
        known = [truth for truth in truths if truth is not None]
        ids = [data.test_ids[i][place] if data.test_ids else str(place) for place in places]
        return _Outputs(
            sources=sources,
            outputs=self.method.translate(sources, data.test_domains[j], references),
            truths=to_tensor(np.stack(known)) if known else None,
            references=references,
            positions=tuple(places[index] for index in chosen),
            contents=tuple(ids[index] for index in chosen),
        )

    def _values(self, made: _Outputs, pair: tuple[int, int]) -> dict[str, Tensor]:
        """Metric name to a number for each translation, (N,)."""
        values = self.suite.distances(made.sources, made.outputs, made.truths)
        labels = None
        if self.data.labels is not None and self.data.labels.train:
            labels = torch.from_numpy(self.data.labels.test[pair[0]][list(made.positions)])
        values |= self.suite.accuracies(made.outputs, pair[1], labels)
        if self.suite.cycle:
            references = None if made.references is None else made.sources
            back = self.method.translate(made.outputs, self.data.test_domains[pair[0]], references)
            values["cycle_lpips"] = self.suite.lpips.distances(made.sources, back)
        return values

    def _vgg(self, made: _Outputs) -> dict[str, Interval]:
        """LPIPS in VGG16's features of some of the translations, and the gain by it."""
        domains = len(self.data.test)
        chosen = staggered(len(made.sources), len(self.results), domains * (domains - 1), SEEN_BY_VGG)
        truths = None if made.truths is None else made.truths[chosen]
        values = self.suite.vgg_distances(made.sources[chosen], made.outputs[chosen], truths)
        if not values:
            return {}
        self.vgg_values.append(values)
        self.vgg_contents += [made.contents[index] for index in chosen]
        intervals = {name: bootstrap(value.float()) for name, value in values.items()}
        if truths is not None:
            intervals["gain_vgg"] = bootstrap_gain(values["lpips_vgg"], values["copy_lpips_vgg"])
        return intervals

    def _diversity(self, made: _Outputs, target: str) -> Tensor | None:
        """LPIPS between translations of the same sources into several draws from the target's prior, or into
        the styles of several references: (B,), or None for a baseline or a single style.
        """
        if self.translator is None:
            return None
        engine = self.translator.engine
        if made.references is None:
            sources = made.sources[:SOURCES_FOR_DIVERSITY]
            styles = [
                self.translator.style_code(Style.draw(target, seed)) for seed in range(STYLES_FOR_DIVERSITY)
            ]
        else:
            sources = made.sources[: SOURCES_FOR_DIVERSITY // 4]  # there may be hundreds of pairs of domains
            codes = engine.encode(made.references[: len(sources)]).style.mean
            styles = [codes.roll(turn, 0) for turn in range(min(STYLES_FOR_DIVERSITY, len(codes)))]
        if len(styles) < 2:
            return None
        drawn = torch.stack([engine.translate(sources, style).float().cpu() for style in styles])
        return metrics.diversity(drawn, self.suite.lpips)


def staggered(count: int, turn: int, turns: int, total: int) -> list[int]:
    """Positions among ``count`` in one of several turns that choose ``total`` together: spread evenly, and
    others in every turn.

    >>> staggered(6, 0, 2, 4), staggered(6, 1, 2, 4)
    ([0, 3], [1, 4])
    """
    each = min(count, max(1, total // turns))
    return [int((index + turn / turns) * count / each) for index in range(each)]


def _overall(values: Sequence[dict[str, Tensor]], contents: Sequence[str], seed: int) -> dict[str, Interval]:
    """Means over all translations; the same content in many pairs is one unit of the bootstrap, not many."""
    number = {content: index for index, content in enumerate(dict.fromkeys(contents))}
    groups = torch.tensor([number[content] for content in contents])
    joined = {name: torch.cat([some[name] for some in values]) for name in values[0]}
    overall = {name: bootstrap(value, groups=groups, seed=seed) for name, value in joined.items()}
    for suffix in ("", "_vgg"):
        if f"copy_lpips{suffix}" in joined:
            pair = joined[f"lpips{suffix}"], joined[f"copy_lpips{suffix}"]
            overall[f"gain{suffix}"] = bootstrap_gain(*pair, groups, seed=seed)
    for name in RATIOS:
        if f"copy_{name}" in overall and overall[f"copy_{name}"].low > 0:
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


def _pick(cases: list[Case], each: int = CASES) -> tuple[Case, ...]:
    """The best, the median and the worst cases by LPIPS."""
    ranked = sorted(cases, key=lambda case: case.lpips)
    middle = max(0, len(ranked) // 2 - each // 2)
    return tuple(ranked[:each] + ranked[middle : middle + each] + ranked[-each:])
