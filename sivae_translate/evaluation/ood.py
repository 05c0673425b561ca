r"""Knowing what a model does not know: how unlike its training data images are, and how well scores tell.

Every score is larger for images that are less like the training data:

- ``likelihood``: minus the importance-weighted bound of log p(x), nats (arXiv 2012.13253)
- ``elbo``: minus the ELBO, nats (arXiv 1312.6114)
- ``kl``: KL of the codes' posteriors to their priors, nats
- ``reconstruction``: squared error of the most likely codes' reconstruction, summed over pixels
- ``complexity``: bits of the likelihood less bits of the image as a PNG (arXiv 1909.11480)
- ``typicality``: distance of the log likelihood from its mean on typical images, nats (arXiv 1906.02994)
- ``regret``: what the ELBO gains when the posterior is fitted to this one image, nats (arXiv 2003.02977)

The style's prior is that of all domains alike: nobody says which domain an unknown image claims to be in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.metrics import Interval, proportion
from sivae_translate.inference.arguments import PERCENTILE
from sivae_translate.inference.translator import Translator
from sivae_translate.models.codes import Gaussian, Posterior
from sivae_translate.models.latent import LatentModel, bits_per_dimension
from sivae_translate.utils import pictures
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.progress import track

BATCH = 100
REGRET_RATE = 0.05
DETECTED = 0.95
"""Share of foreign images that the false positive rate is given for."""
HARDEST = 12


@dataclass(frozen=True)
class Separation:
    """How well a score tells foreign images from known ones, with 95 % bootstrap intervals.

    Attributes:
        auroc: probability that a foreign image scores higher than a known one, ties counting half.
        aupr: average precision of finding the foreign ones.
        fpr95: share of known images at or above the score that 95 % of the foreign ones reach.
    """

    auroc: Interval
    aupr: Interval
    fpr95: Interval


@dataclass(frozen=True)
class Flagged:
    """How many images of one kind the translator's check (`sivae_translate.models.typicality`) flags.

    Attributes:
        percentile: asked for: the default, or the highest whole one that the model's held-out images can
            tell. Of images of the training's kind, at most 100 less this in a hundred are expected to be
            flagged.
        images: how many were judged.
        share: of them that was flagged, with Wilson's 95 % interval.
    """

    percentile: float
    images: int
    share: Interval

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Flagged:
        """The inverse of `asdict`."""
        return cls(values["percentile"], values["images"], Interval(**values["share"]))

    def __str__(self) -> str:
        return f"{self.share.mean:.1%} ({self.share.low:.1%} to {self.share.high:.1%}) of {self.images}"


@dataclass(frozen=True)
class OodResult:
    """What came out of one comparison.

    Attributes:
        inside: score name to one number an image, of known images.
        outside: the same of foreign images.
        separations: score name to figures.
        bits: mean bits per dimension of known and of foreign images.
        flagged: what the translator's check flags of known and of foreign images; None for a model without a
            comparison with held-out images.
    """

    inside: dict[str, np.ndarray]
    outside: dict[str, np.ndarray]
    separations: dict[str, Separation]
    bits: tuple[float, float]
    flagged: tuple[Flagged, Flagged] | None = None

    def as_json(self) -> dict[str, object]:
        """Nested dicts of numbers."""
        figures = {name: asdict(separation) for name, separation in self.separations.items()}
        counts = {"inside": len(self.inside["elbo"]), "outside": len(self.outside["elbo"])}
        bits = dict(zip(counts, self.bits, strict=True))
        flagged = (
            {name: asdict(one) for name, one in zip(counts, self.flagged, strict=True)}
            if self.flagged
            else None
        )
        return {"images": counts, "bits_per_dimension": bits, "flagged": flagged, "scores": figures}

    def markdown(self, title: str) -> str:
        """A table, the best score first."""
        ranked = sorted(self.separations.items(), key=lambda item: -item[1].auroc.mean)
        rows = (
            f"| {name} | {_interval(s.auroc)} | {_interval(s.aupr)} | {_interval(s.fpr95)} |"
            for name, s in ranked
        )
        flagged = ""
        if self.flagged is not None:
            known, foreign = self.flagged
            flagged = (
                f" The check at percentile {known.percentile:g} flags {known} known and "
                f"{foreign} foreign images."
            )
        lines = [
            f"## {title}",
            "",
            f"{len(self.inside['elbo'])} known and {len(self.outside['elbo'])} foreign images; "
            f"{self.bits[0]:.2f} and {self.bits[1]:.2f} bits per dimension.{flagged}",
            "",
            "| score | AUROC (95 %) | AUPR (95 %) | FPR at 95 % TPR (95 %) |",
            "| --- | --- | --- | --- |",
            *rows,
        ]
        return "\n".join(lines) + "\n"


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3f} ({interval.low:.3f} to {interval.high:.3f})"


# ---- scores


def surprise(
    translator: Translator,
    images: np.ndarray,
    *,
    samples: int = 16,
    regret_steps: int = 0,
    seed: int = 0,
    name: str = "images",
) -> dict[str, np.ndarray]:
    """Every score but typicality, which needs to know what is typical (see `compare`).

    Args:
        translator: its model's pixel variance must be fitted, as training does.
        images: uint8 (N, H, W, C) at the model's size.
        samples: of the importance-weighted bound.
        regret_steps: of fitting each posterior; 0 leaves the regret out.
        seed: of the draws.
        name: on the progress bar.

    Returns:
        score name to (N,) float64.

    Raises:
        InputError: there are no images, or the model's pixel variance was never fitted.
    """
    if not len(images):
        raise InputError(f"{name}: there are no images to score", remedy="name a folder with images")
    model = translator.model
    torch.manual_seed(seed)
    parts: list[dict[str, Tensor]] = []
    for start in track(range(0, len(images), BATCH), name):
        batch = to_tensor(images[start : start + BATCH]).to(translator.device)
        parts.append(_scores(model, batch, samples, regret_steps))
    scores = {key: torch.cat([part[key] for part in parts]).cpu().double().numpy() for key in parts[0]}
    scores["complexity"] = scores["likelihood"] / math.log(2) + _eight_bits(model) - pictures.png_bits(images)
    return scores


def _eight_bits(model: LatentModel) -> float:
    """What turns a density over [0, 1] into one of 256 grey levels, in bits an image."""
    return 8.0 * math.prod(model.image_shape)


def _scores(model: LatentModel, images: Tensor, samples: int, regret_steps: int) -> dict[str, Tensor]:
    # In float32: bfloat16 would add noise of its own to sums over thousands of pixels.
    with torch.no_grad():
        posterior = model.encode(images)
        scores = {
            "likelihood": -model.log_likelihood(images, samples),
            "elbo": _negative_elbo(model, images, posterior, draws=4),
            "kl": model.content_prior.kl(posterior.content) + _style_kl(model, posterior.style),
            "reconstruction": (model.decode(posterior.mean).float() - images).square().flatten(1).sum(1),
        }
    if regret_steps:
        scores["regret"] = _regret(model, images, posterior, regret_steps)
    return scores


def _negative_elbo(model: LatentModel, images: Tensor, posterior: Posterior, draws: int) -> Tensor:
    """Minus the ELBO, its expectation estimated with some draws: (B,) nats."""
    total = -sum(model.log_weight(images, posterior) for _ in range(draws)) / draws
    assert isinstance(total, Tensor)
    return total


def _style_kl(model: LatentModel, style: Gaussian) -> Tensor:
    """KL of the styles to the prior of the domain that fits each best; (B,) nats."""
    if not model.domains:
        return style.kl()
    each = [style.kl(mean) for mean in model.style_prior.means]
    return torch.stack(each).amin(0)


def _regret(model: LatentModel, images: Tensor, posterior: Posterior, steps: int) -> Tensor:
    """ELBO of each image's own best Gaussian, reached by Adam from the encoders' one, less the ELBO of these;
    (B,) nats.
    """
    start = (posterior.content.mean, posterior.content.logvar, posterior.style.mean, posterior.style.logvar)
    moved = [part.detach().clone().requires_grad_(True) for part in start]
    own = Posterior(Gaussian(moved[0], moved[1]), Gaussian(moved[2], moved[3]))
    optimizer = torch.optim.Adam(moved, lr=REGRET_RATE)
    for _ in range(steps):
        gradients = torch.autograd.grad(
            _negative_elbo(model, images, own, draws=1).sum(), moved, allow_unused=True
        )
        for part, gradient in zip(moved, gradients, strict=True):
            part.grad = gradient
        optimizer.step()
    with torch.no_grad():
        return _negative_elbo(model, images, posterior, draws=8) - _negative_elbo(model, images, own, draws=8)


# ---- figures


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Area under the receiver's operating characteristic: P(outside > inside) + P(outside = inside) / 2.

    Args:
        inside: scores of known images, (N,).
        outside: scores of foreign images, (M,).
    """
    ranks = rankdata(np.concatenate([inside, outside]))[len(inside) :]
    return float((ranks.sum() - len(outside) * (len(outside) + 1) / 2) / (len(inside) * len(outside)))


def aupr(inside: np.ndarray, outside: np.ndarray) -> float:
    """Average precision of finding the foreign images: precision summed over the steps in recall, equal
    scores together.
    """
    scores = np.concatenate([outside, inside])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(order < len(outside))
    last = np.append(np.diff(scores[order]) != 0, True)
    precision, recall = (hits / np.arange(1, len(scores) + 1))[last], (hits / len(outside))[last]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def fpr_at_tpr(inside: np.ndarray, outside: np.ndarray, detected: float = DETECTED) -> float:
    """Share of known images at or above the largest threshold that ``detected`` of the foreign ones reach."""
    threshold = np.sort(outside)[::-1][math.ceil(detected * len(outside)) - 1]
    return float(np.mean(inside >= threshold))


def separation(inside: np.ndarray, outside: np.ndarray, draws: int = 200, seed: int = 0) -> Separation:
    """AUROC, AUPR and FPR at 95 % TPR with bootstrap intervals over both sets."""
    rng = np.random.default_rng(seed)
    figures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
        "auroc": auroc,
        "aupr": aupr,
        "fpr95": fpr_at_tpr,
    }
    drawn = [(rng.choice(inside, len(inside)), rng.choice(outside, len(outside))) for _ in range(draws)]
    intervals = {}
    for name, figure in figures.items():
        low, high = np.quantile([figure(a, b) for a, b in drawn], [0.025, 0.975])
        intervals[name] = Interval(figure(inside, outside), float(low), float(high))
    return Separation(**intervals)


@dataclass(frozen=True)
class Known:
    """Images of the kind that a model was trained on, as it sees them.

    Attributes:
        scores: score name to one number an image.
        expected: mean negative log likelihood of others of the kind, which is the typical one; nats.
        flagged: what the translator's check flags; None for a model without a comparison with held-out
            images.
    """

    scores: dict[str, np.ndarray]
    expected: float
    flagged: Flagged | None


def score_known(
    translator: Translator,
    inside: np.ndarray,
    typical: np.ndarray,
    *,
    samples: int = 16,
    regret_steps: int = 0,
    seed: int = 0,
) -> Known:
    """Score known images, once for all comparisons with foreign ones.

    Args:
        translator: the model.
        inside: images of the kind it was trained on, but none of its training images: uint8 (N, H, W, C).
        typical: other images of that kind, whose mean log likelihood is the typical one.
        samples: see `surprise`.
        regret_steps: see `surprise`.
        seed: of draws.

    Raises:
        InputError: a set is empty, or the model's pixel variance was never fitted.
    """
    expected = float(
        surprise(translator, typical, samples=samples, seed=seed, name="typical images")["likelihood"].mean()
    )
    scores = surprise(
        translator, inside, samples=samples, regret_steps=regret_steps, seed=seed, name="known images"
    )
    scores["typicality"] = np.abs(scores["likelihood"] - expected)
    return Known(scores, expected, flagged(translator, list(inside)))


def compare(
    translator: Translator,
    known: Known,
    outside: np.ndarray,
    *,
    samples: int = 16,
    regret_steps: int = 0,
    seed: int = 0,
) -> OodResult:
    """Score foreign images, and judge how well the scores tell them from known ones.

    Args:
        translator: the model.
        known: from `score_known` with the same samples, steps and seed.
        outside: foreign images, uint8 (N, H, W, C).
        samples: see `surprise`.
        regret_steps: see `surprise`.
        seed: of draws and intervals.

    Raises:
        InputError: there are no images, or the model's pixel variance was never fitted.
    """
    scores = surprise(
        translator, outside, samples=samples, regret_steps=regret_steps, seed=seed, name="foreign images"
    )
    scores["typicality"] = np.abs(scores["likelihood"] - known.expected)
    size = math.prod(translator.model.image_shape)
    likelihoods = (torch.from_numpy(-found["likelihood"]) for found in (known.scores, scores))
    bits = [float(bits_per_dimension(nats, size).mean()) for nats in likelihoods]
    separations = {name: separation(known.scores[name], scores[name], seed=seed) for name in known.scores}
    foreign = flagged(translator, list(outside))
    both = (known.flagged, foreign) if known.flagged and foreign else None
    return OodResult(known.scores, scores, separations, (bits[0], bits[1]), both)


def flagged(translator: Translator, images: Sequence[np.ndarray]) -> Flagged | None:
    """How many of some images the translator's check flags: false alarms, where they are of the training's
    kind.

    Args:
        translator: the model.
        images: uint8 (H, W, C) each, at least one.

    Returns:
        None for a model without a comparison with held-out images.
    """
    if translator.calibration is None:
        return None
    percentile = min(PERCENTILE, math.floor(translator.calibration.highest))
    count = sum(verdict.percentile >= percentile for verdict in translator.typicality(images))
    return Flagged(percentile, len(images), proportion(count, len(images)))


# ---- report


def write(
    result: OodResult,
    inside: np.ndarray,
    outside: np.ndarray,
    folder: Path,
    title: str,
    about: dict[str, object],
) -> None:
    """report.json, report.md, histograms.png and hardest.png.

    Args:
        result: what `compare` found.
        inside: the images behind ``result.inside``, in order.
        outside: the images behind ``result.outside``.
        folder: to write to.
        title: of the report.
        about: facts for report.json.

    Raises:
        OutputError: the folder cannot be written to.
    """
    write_json(folder / "report.json", {**about, **result.as_json()})
    write_text(folder / "report.md", result.markdown(title))
    _histograms(result, folder / "histograms.png", title)
    pictures.save(_hardest(result, inside, outside), folder / "hardest.png")


def _histograms(result: OodResult, path: Path, title: str) -> None:
    columns = 4
    figure = pictures.new_figure(3.4 * columns, 2.6 * -(-len(result.inside) // columns))
    figure.suptitle(title)
    for index, name in enumerate(result.inside):
        axes = figure.add_subplot(-(-len(result.inside) // columns), columns, index + 1)
        both = np.concatenate([result.inside[name], result.outside[name]])
        low, high = np.quantile(both, [0.002, 0.998])
        edges = np.linspace(low, high, 60)
        for label, values in (("known", result.inside[name]), ("foreign", result.outside[name])):
            axes.hist(
                np.clip(values, edges[0], edges[-1]),
                bins=edges.tolist(),
                alpha=0.6,
                density=True,
                label=label,
            )
        axes.set_title(f"{name}, AUROC {result.separations[name].auroc.mean:.3f}", fontsize=9)
        axes.set_yticks([])
        axes.legend(fontsize=7)
    pictures.save_figure(figure, path, dpi=100)


def _hardest(result: OodResult, inside: np.ndarray, outside: np.ndarray) -> Image.Image:
    """For each score: foreign images that look most usual, and known ones that look most unusual."""
    rows, names = [], []
    for name in result.inside:
        order = np.argsort(result.outside[name], kind="stable")[:HARDEST]
        rows.append([pictures.from_array(outside[i]) for i in order])
        names.append(f"{name}: foreign, taken for known")
        order = np.argsort(-result.inside[name], kind="stable")[:HARDEST]
        rows.append([pictures.from_array(inside[i]) for i in order])
        names.append(f"{name}: known, taken for foreign")
    return pictures.grid(rows, row_names=names, cell=64)
