"""Evaluation of translations: against the truth if it is known, and against copying the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import DomainData
from sivae_translate.data.sources import StyleKind
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import metrics
from sivae_translate.evaluation.baselines import Method, ModelMethod
from sivae_translate.evaluation.code_probes import read_codes
from sivae_translate.evaluation.fidelity import frechet_distance, kernel_distance
from sivae_translate.evaluation.intervals import Interval, bootstrap, bootstrap_gain
from sivae_translate.evaluation.realism import looks_of
from sivae_translate.evaluation.reconstruction import measure_reconstructions
from sivae_translate.evaluation.results import RATIOS, Case, Evaluation, PairResult, TargetResult
from sivae_translate.evaluation.risk import measure_risk
from sivae_translate.evaluation.suite import MetricSuite, stack
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.progress import track
from sivae_translate.utils.seeds import check_seed
from sivae_translate.utils.selection import spread, staggered

STYLES_FOR_DIVERSITY = 4
SOURCES_FOR_DIVERSITY = 32
CASES = 8
"""How many of the best, median and worst translations a report shows."""
SEEN_BY_VGG = 256
"""Translations that VGG16 measures in all, at least one per pair of domains: it takes twenty times as long as
AlexNet."""


def evaluate(
    method: Method | Translator,
    data: DomainData,
    *,
    style: StyleKind = "domain",
    suite: MetricSuite | None = None,
    seed: int = 0,
    probes: bool = True,
    erase: bool = False,
    limit: int | None = None,
    watch: Callable[[Sequence[Case]], object] | None = None,
) -> Evaluation:
    """Translate the test images of each domain into every other domain and measure the results.

    Args:
        method: a model, whose domains are matched by name with those of the data, or a baseline.
        data: a data set with test images.
        style: ``domain`` uses prior means, ``reference`` a random test image of the target for each source.
        suite: the metrics; only LPIPS by default.
        seed: seed of the references, the draws for the diversity, and the bootstrap.
        probes: also measure what a model's codes tell (takes seconds).
        erase: also probe the domain in contents from which it was erased.
        limit: most test images per domain, evenly spread.
        watch: called with the translations of each pair of domains, of which a result keeps only some.

    Raises:
        DataError: there are no test images, or the images are too small for LPIPS.
        InputError: the model lacks a domain of the data, or has none for ``domain``; or the limit is below 1.

    >>> from sivae_translate import DomainData, Translator
    >>> from sivae_translate.data.sources.glyphs import draw
    >>> translator, fonts = Translator.from_pretrained("glyphs"), ("dejavu-sans", "dejavu-serif")
    >>> images = {font: [draw(font, ord(letter), 32) for letter in "ABCD"] for font in fonts}
    >>> data = DomainData.of(images, images, config=translator.config.data, pairs=True)
    >>> evaluation = evaluate(translator, data, probes=False)
    >>> evaluation.overall["gain"].mean > 0.5  # LPIPS to the true letters, against copying
    True
    """
    translator = method if isinstance(method, Translator) else None
    _check(translator, data, style, limit)
    suite = suite or MetricSuite(Lpips.load(device=str(translator.device) if translator else "cpu"))
    work = _Work(method, data, style, suite, check_seed(seed), limit, watch)
    domains = range(len(data.test))
    for pair in track(list(permutations(domains, 2)), "evaluating"):
        work.measure(pair)
    if not work.results:
        single = "test images of two domains or more" if len(domains) < 2 else "paired data"
        other = "" if style == "reference" or len(domains) < 2 else "with --style reference, or "
        raise DataError("no pair of domains has a known truth", remedy=f"evaluate {other}on {single}")
    return work.result(probes, erase)


def check_limit(limit: int | None, least: int = 1) -> None:
    """Raise InputError if a limit on the number of images is below ``least``."""
    if limit is not None and limit < least:
        raise InputError(f"the limit is {limit} images", remedy=f"give {least} or more, or omit it")


def _check(translator: Translator | None, data: DomainData, style: StyleKind, limit: int | None) -> None:
    """Raise the errors of `evaluate`, except for domains that the model does not have."""
    data.require_tests()
    check_limit(limit)
    if len(data.test[0][0]) < SMALLEST_SIDE:
        raise DataError(
            f"LPIPS needs {SMALLEST_SIDE} px or more", remedy="evaluate a model with larger images"
        )
    if style == "domain" and translator is not None and not translator.model.domains:
        raise InputError(
            "the model has no domain labels, so no domain style", remedy="evaluate with --style reference"
        )
    if style == "domain" and data.new_domains:
        raise InputError("the test domains were not trained on", remedy="evaluate with --style reference")


@dataclass(frozen=True)
class _Outputs:
    """Translations of one ordered pair, (N, C, H, W) each, with position and content of each source."""

    sources: Tensor
    outputs: Tensor
    truths: Tensor | None
    references: Tensor | None
    positions: tuple[int, ...]
    contents: tuple[str, ...]


class _Work:
    """Measurements of one method on one data set so far.

    Attributes:
        images: the test images of each domain that are used, (N, C, H, W).
        positions: their positions among the test images of each domain.
        results: one for each pair of domains.
        values: for each pair of domains, metric name to one number per translation.
        contents: the content of each translation.
        vgg_values: like ``values``, for the translations that VGG16 measures.
        vgg_contents: like ``contents``, for the same translations.
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
        watch: Callable[[Sequence[Case]], object] | None,
    ) -> None:
        self.translator = method if isinstance(method, Translator) else None
        self.method = ModelMethod(method) if isinstance(method, Translator) else method
        self.data, self.style, self.suite, self.seed = data, style, suite, seed
        self.watch = watch
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
        """Translate between two domains and add the metrics, unless truths exist only for other pairs."""
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
        cases = _cases(made, values, f"{source} to {target}")
        self.cases += cases
        if self.suite.inception is not None:
            self.features.setdefault(pair[1], []).append(self.suite.inception(made.outputs))
        if self.watch is not None:
            self.watch(cases)

    def _looks_of_sources(self, made: _Outputs, source: int) -> Tensor:
        """`looks_of` the sources, usually cached, since they are all test images of their domain."""
        if len(made.sources) < len(self.images[source]):
            return looks_of(made.sources, self.suite.lpips)
        return self.suite.real_images(self.data.test_domains[source], self.images[source]).looks

    def result(self, probes: bool, erase: bool) -> Evaluation:
        """Everything that was measured, with probes of the codes if they are requested."""
        place = (self.translator if probes else None, self.data, self.images, self.positions, self.seed)
        reading = read_codes(*place, erase=erase)
        rebuilt = measure_reconstructions(
            self.translator, self.data.test_domains, self.images, self.suite.lpips, self.seed
        )
        return Evaluation(
            style=self.style,
            paired="gain" in self.results[0].metrics,
            pairs=tuple(self.results),
            overall=self.overall(),
            targets=self.targets(),
            domains=rebuilt,
            lpips_networks=self.suite.lpips_networks,
            probes=reading.probes,
            leak=reading.leak,
            risk=measure_risk(self.translator, self.cases, self.seed),
            cases=_pick(self.cases),
        )

    def overall(self) -> dict[str, Interval]:
        """Means over all translations."""
        overall = _overall(self.values, self.contents, self.seed)
        return overall | (_overall(self.vgg_values, self.vgg_contents, self.seed) if self.vgg_values else {})

    def targets(self) -> tuple[TargetResult, ...]:
        """FID and KID of all translations into each domain; empty without Inception."""
        results = []
        for index, features in sorted(self.features.items()):
            name = self.data.test_domains[index]
            real, ours = self.suite.real_features(name, self.images[index]), torch.cat(features)
            kid, deviation = kernel_distance(real, ours, seed=self.seed)
            fid = frechet_distance(real, ours)
            results.append(TargetResult(name, len(ours), len(real), fid, kid, deviation))
        return tuple(results)

    def _translate(self, pair: tuple[int, int]) -> _Outputs | None:
        """Translate one pair of domains; sources without a truth are skipped if other sources have one."""
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
        """Metric name to one number per translation, (N,)."""
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
        """LPIPS with VGG16 of some of the translations, and the gain."""
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
        """LPIPS between translations of the same sources into several styles.

        The styles are draws from the target's prior or those of several references.

        Returns:
            (B,), or None for a baseline or a single style.
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


def _overall(values: Sequence[dict[str, Tensor]], contents: Sequence[str], seed: int) -> dict[str, Interval]:
    """Means over all translations; translations of the same content are one unit of the bootstrap."""
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


def _cases(made: _Outputs, values: dict[str, Tensor], title: str) -> list[Case]:
    rows = [dict(zip(values, row, strict=True)) for row in torch.stack([*values.values()], 1).tolist()]
    truths = [None] * len(rows) if made.truths is None else list(made.truths)
    parts = zip(made.sources, made.outputs, truths, made.contents, rows, strict=True)
    return [
        Case(row["lpips"], source, output, truth, title, content, row)
        for source, output, truth, content, row in parts
    ]


def _pick(cases: list[Case], each: int = CASES) -> tuple[Case, ...]:
    """The best, median and worst cases by LPIPS."""
    ranked = sorted(cases, key=lambda case: case.lpips)
    middle = max(0, len(ranked) // 2 - each // 2)
    return tuple(ranked[:each] + ranked[middle : middle + each] + ranked[-each:])
