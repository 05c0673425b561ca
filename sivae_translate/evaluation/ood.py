"""Out-of-distribution detection: how well scores and the check of `Translator` detect foreign images.

The check itself is in `sivae_translate.models.typicality`, the scores are in
`sivae_translate.evaluation.ood_scores`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.intervals import Interval, proportion
from sivae_translate.evaluation.ood_scores import surprise
from sivae_translate.evaluation.posteriors import BATCH
from sivae_translate.evaluation.separation import Separation, separation
from sivae_translate.inference.arguments import PERCENTILE, unusual
from sivae_translate.inference.translator import Translator
from sivae_translate.models.latent import bits_per_dimension


@dataclass(frozen=True)
class Flagged:
    """How many images of one kind the translator's check (`sivae_translate.models.typicality`) flags.

    Attributes:
        percentile: the default, or the highest whole number that the model's calibration resolves. At
            most 100 - percentile per cent of in-distribution images are expected to be flagged.
        images: number of images checked.
        share: fraction that was flagged, with Wilson's 95 % interval.
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
    """The result of one comparison.

    Attributes:
        inside: scores of known images, by score name.
        outside: scores of foreign images, by score name.
        separations: AUROC, AUPR and FPR, by score name.
        bits: mean bits per dimension of known and of foreign images.
        flagged: known and foreign images flagged by the translator's check; None for a model without a
            calibration.
    """

    inside: dict[str, np.ndarray]
    outside: dict[str, np.ndarray]
    separations: dict[str, Separation]
    bits: tuple[float, float]
    flagged: tuple[Flagged, Flagged] | None = None

    def as_json(self) -> dict[str, object]:
        """Nested dicts of numbers."""
        scores = {name: asdict(separation) for name, separation in self.separations.items()}
        counts = {"inside": len(self.inside["elbo"]), "outside": len(self.outside["elbo"])}
        bits = dict(zip(counts, self.bits, strict=True))
        flagged = (
            {name: asdict(one) for name, one in zip(counts, self.flagged, strict=True)}
            if self.flagged
            else None
        )
        return {"images": counts, "bits_per_dimension": bits, "flagged": flagged, "scores": scores}


@dataclass(frozen=True)
class Known:
    """Scores of in-distribution images that the model was not trained on.

    Attributes:
        scores: one number per image, by score name.
        expected: typical negative log likelihood in nats: its mean over other in-distribution images.
        flagged: images flagged by the translator's check; None for a model without a calibration.
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
        inside: in-distribution images, but no training images: uint8 (N, H, W, C).
        typical: other in-distribution images; their mean log likelihood is the typical one.
        samples: see `surprise`.
        regret_steps: see `surprise`.
        seed: seed of the random draws.

    Raises:
        InputError: a set is empty, or the model's pixel variance is not fitted.
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
    """Score foreign images and measure how well the scores separate them from known ones.

    Args:
        translator: the model.
        known: result of `score_known` with the same samples, steps and seed.
        outside: foreign images, uint8 (N, H, W, C).
        samples: see `surprise`.
        regret_steps: see `surprise`.
        seed: seed of draws and intervals.

    Raises:
        InputError: there are no images, or the model's pixel variance is not fitted.
    """
    scores = surprise(
        translator, outside, samples=samples, regret_steps=regret_steps, seed=seed, name="foreign images"
    )
    scores["typicality"] = np.abs(scores["likelihood"] - known.expected)
    size = math.prod(translator.model.image_shape)
    likelihoods = (torch.from_numpy(-some["likelihood"]) for some in (known.scores, scores))
    bits = [float(bits_per_dimension(likelihood, size).mean()) for likelihood in likelihoods]
    separations = {name: separation(known.scores[name], scores[name], seed=seed) for name in known.scores}
    foreign = flagged(translator, list(outside))
    both = (known.flagged, foreign) if known.flagged and foreign else None
    return OodResult(known.scores, scores, separations, (bits[0], bits[1]), both)


def flagged(translator: Translator, images: Sequence[np.ndarray]) -> Flagged | None:
    """Count the images that the translator's check flags; for in-distribution images, these are false alarms.

    Args:
        translator: the model.
        images: at least one image, each uint8 (H, W, C).

    Returns:
        None for a model without a calibration.
    """
    if translator.calibration is None:
        return None
    percentile = translator.calibration.highest_whole(PERCENTILE)
    parts = (to_tensor(images[start : start + BATCH]) for start in range(0, len(images), BATCH))
    verdicts = (verdict for part in parts for verdict in translator.engine.typicality(part))
    count = len(unusual(list(verdicts), percentile))
    return Flagged(percentile, len(images), proportion(count, len(images)))
