"""The results of an evaluation: metrics by name, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor

from sivae_translate.data.sources import StyleKind
from sivae_translate.evaluation.intervals import Interval
from sivae_translate.evaluation.leak import Leak
from sivae_translate.evaluation.probes import ProbeResult
from sivae_translate.evaluation.risk import RiskCoverage
from sivae_translate.evaluation.texture import Texture

TITLES = {
    "lpips": "LPIPS",
    "l1": "L1",
    "ssim": "SSIM",
    "psnr": "PSNR",
    "copy_lpips": "copy LPIPS",
    "copy_l1": "copy L1",
    "copy_ssim": "copy SSIM",
    "copy_psnr": "copy PSNR",
    "gain": "gain",
    "lpips_vgg": "LPIPS (VGG16)",
    "copy_lpips_vgg": "copy LPIPS (VGG16)",
    "gain_vgg": "gain (VGG16)",
    "kid_alexnet": "KID (AlexNet)",
    "copy_kid_alexnet": "copy KID (AlexNet)",
    "diversity": "diversity",
    "real_diversity": "real diversity",
    "domain_accuracy": "domain accuracy",
    "class_accuracy": "class accuracy",
    "cycle_lpips": "cycle LPIPS",
    "fid": "FID",
    "kid": "KID",
    "reconstruction_lpips": "reconstruction LPIPS",
    "reconstruction_l1": "reconstruction L1",
    "autoencoder_lpips": "autoencoder LPIPS",
    "autoencoder_l1": "autoencoder L1",
}
"""Titles of metrics in tables. LPIPS, L1, SSIM and PSNR (dB) compare with the truth; without truths, LPIPS
compares with the source. ``copy_*`` are the metrics of the unchanged source."""
RATIOS = ("lpips", "l1", "ssim", "psnr")
"""Metrics that are also divided by those of copying, if these are clearly above 0 (an SSIM may not be)."""
OLD_NAMES = {"recognised": "domain_accuracy", "classified": "class_accuracy"}
"""Earlier names of metrics, in reports of earlier versions."""

Metrics = Mapping[str, Interval]


@dataclass(frozen=True)
class PairResult:
    """One ordered pair of domains.

    Attributes:
        source: name of the source domain.
        target: name of the target domain.
        images: number of translations measured.
        metrics: means over these translations with 95 % bootstrap intervals. ``gain`` is 1 - LPIPS / LPIPS of
            copying; ``kid_alexnet`` is the squared MMD to real images of the target in AlexNet's features,
            ``copy_kid_alexnet`` that of the sources; ``diversity`` is the LPIPS between translations of one
            source into several styles, ``real_diversity`` that between real images of the target;
            ``domain_accuracy`` is the fraction that a classifier of real images assigns to the target domain;
            ``class_accuracy`` is the fraction whose class (digit) a classifier of the target's real images
            recognises; ``cycle_lpips`` is the LPIPS between sources and translations that were translated
            back. ``lpips_vgg``, ``copy_lpips_vgg`` and ``gain_vgg`` use VGG16, for some of the translations.
        texture: power relative to real images of the target, in bands of periods; None in older reports.
    """

    source: str
    target: str
    images: int
    metrics: Metrics
    texture: Texture | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PairResult:
        """The inverse of `dataclasses.asdict`."""
        metrics = {name: Interval(**interval) for name, interval in values["metrics"].items()}
        written = values.get("texture")
        texture = Texture(**written) if written else None
        return cls(values["source"], values["target"], values["images"], metrics, texture)

    def value(self, name: str) -> float | None:
        """The mean of a metric; None if it was not measured."""
        return self.metrics[name].mean if name in self.metrics else None


@dataclass(frozen=True)
class TargetResult:
    """All translations into one domain against its real test images, in Inception's features.

    Attributes:
        target: name of the target domain.
        images: number of translations, from all other domains.
        real: number of real images.
        fid: Frechet distance; it falls with the number of images, so compare methods on the same data only.
        kid: squared MMD, unbiased.
        kid_std: its standard deviation over random subsets of at most half of the images; over all images it
            would be smaller.
    """

    target: str
    images: int
    real: int
    fid: float
    kid: float
    kid_std: float


@dataclass(frozen=True)
class DomainResult:
    """Metrics of a model's reconstructions of one domain's test images.

    Attributes:
        domain: name of the domain.
        images: number of images measured.
        metrics: ``reconstruction_lpips`` and ``reconstruction_l1`` with 95 % bootstrap intervals; for a model
            on latents also ``autoencoder_lpips`` and ``autoencoder_l1``, of its autoencoder alone.
    """

    domain: str
    images: int
    metrics: Metrics


@dataclass(frozen=True)
class Case:
    """A translation that the report shows.

    Attributes:
        lpips: LPIPS to the truth or, if it is not known, to the source.
        source: (C, H, W) in [0, 1].
        output: the same.
        truth: the same, or None.
        title: names of source and target domain.
        content: what identifies the source.
        metrics: one number for each metric of a translation.
    """

    lpips: float
    source: Tensor
    output: Tensor
    truth: Tensor | None
    title: str
    content: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """All measurements of one method on one data set.

    Attributes:
        style: ``domain`` (prior means) or ``reference`` (a random test image of the target for each source).
        paired: whether truths are known.
        pairs: one result for each ordered pair of domains.
        targets: one result for each target domain; empty without Inception.
        overall: means over all translations with 95 % bootstrap intervals, by metric name; contents are the
            resampled units.
        domains: one result for each domain; empty for baselines.
        lpips_networks: networks that LPIPS was computed with.
        probes: accuracy of small classifiers of the codes.
        leak: how much the content code can tell about the domain; None for baselines and without probes.
        risk: whether unusual sources are translated worse; None for baselines, without truths and without a
            calibration.
        cases: the best, median and worst translations, not written to JSON.
    """

    style: StyleKind
    paired: bool
    pairs: tuple[PairResult, ...]
    overall: Metrics
    targets: tuple[TargetResult, ...] = ()
    domains: tuple[DomainResult, ...] = ()
    lpips_networks: tuple[str, ...] = ("AlexNet",)
    probes: dict[str, ProbeResult] = field(default_factory=dict)
    leak: Leak | None = None
    risk: RiskCoverage | None = None
    cases: tuple[Case, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, Any]:
        """Everything except the pictures."""
        values = asdict(replace(self, cases=()))
        values.pop("cases")
        return values
