"""MetricSuite: everything that translations between the domains of one data set are measured by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import ContentLabels, DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import metrics
from sivae_translate.evaluation.classifier import Classifier, train_classifier
from sivae_translate.evaluation.fidelity import Inception
from sivae_translate.evaluation.probes import labelled
from sivae_translate.evaluation.realism import RealImages
from sivae_translate.models.lpips import Lpips

CLASSIFIER_IMAGES = 2000
"""Images of each domain that a classifier of the domains is trained on."""
VGG_BATCH = 32
"""Pairs that VGG16 sees at a time: an image of 256 px takes it 130 MB."""


@dataclass(frozen=True)
class MetricSuite:
    """The measures; the more, the slower.

    Attributes:
        lpips: always; in AlexNet's features.
        vgg: LPIPS in VGG16's features, for some of the translations; slow, and a second opinion where
            a network's features were in the loss.
        inception: for FID and KID to the target domain.
        domains: classifier of the data's domains.
        classes: one classifier a domain, of its classes.
        cycle: also translate back.
        real: domain and number of images to Inception's features of that many real test images, kept from
            method to method.
        known: the same key to what else is measured of them.
    """

    lpips: Lpips
    vgg: Lpips | None = None
    inception: Inception | None = None
    domains: Classifier | None = None
    classes: tuple[Classifier, ...] = ()
    cycle: bool = False
    real: dict[tuple[str, int], Tensor] = field(default_factory=dict, repr=False, compare=False)
    known: dict[tuple[str, int], RealImages] = field(default_factory=dict, repr=False, compare=False)

    @property
    def lpips_networks(self) -> tuple[str, ...]:
        """Whose features LPIPS is measured in."""
        return ("AlexNet",) if self.vgg is None else ("AlexNet", "VGG16")

    def real_images(self, domain: str, images: Tensor) -> RealImages:
        """A domain's real test images (N, C, H, W), to compare translations with."""
        key = (domain, len(images))
        if key not in self.known:
            self.known[key] = RealImages(images, self.lpips)
        return self.known[key]

    def real_features(self, domain: str, images: Tensor) -> Tensor:
        """Inception's features (N, F) of a domain's real test images (N, C, H, W)."""
        assert self.inception is not None
        key = (domain, len(images))
        if key not in self.real:
            self.real[key] = self.inception(images)
        return self.real[key]

    def distances(self, sources: Tensor, outputs: Tensor, truths: Tensor | None) -> dict[str, Tensor]:
        """LPIPS, L1, SSIM and PSNR of translations and of copies to the truths; without truths, LPIPS to the
        sources.

        Args:
            sources: (N, C, H, W) in [0, 1].
            outputs: the same.
            truths: the same, or None.

        Returns:
            Metric name to (N,).
        """
        if truths is None:
            return {"lpips": self.lpips.distances(sources, outputs)}
        values = {}
        distances = self.lpips.distances_to(truths, outputs, sources)
        for prefix, candidate, distance in zip(("", "copy_"), (outputs, sources), distances, strict=True):
            values[f"{prefix}lpips"] = distance
            values[f"{prefix}l1"] = metrics.l1(candidate, truths)
            values[f"{prefix}ssim"] = metrics.ssim(candidate, truths)
            values[f"{prefix}psnr"] = metrics.psnr(candidate, truths)
        return values

    def vgg_distances(self, sources: Tensor, outputs: Tensor, truths: Tensor | None) -> dict[str, Tensor]:
        """LPIPS as in `distances`, in VGG16's features; nothing without them."""
        if self.vgg is None:
            return {}
        if truths is None:
            return {"lpips_vgg": self.vgg.distances(sources, outputs, VGG_BATCH)}
        ours, copying = self.vgg.distances_to(truths, outputs, sources)
        return {"lpips_vgg": ours, "copy_lpips_vgg": copying}

    def accuracies(self, outputs: Tensor, target: int, labels: Tensor | None) -> dict[str, Tensor]:
        """Which translations classifiers of real images recognise.

        Args:
            outputs: (N, C, H, W) in [0, 1].
            target: index of the domain that they claim to be in.
            labels: the sources' classes (N,), or None.

        Returns:
            Metric name to (N,) of 0 and 1.
        """
        values = {}
        if self.domains is not None:
            values["domain_accuracy"] = (self.domains.classes(outputs) == target).float()
        if self.classes and labels is not None:
            values["class_accuracy"] = (self.classes[target].classes(outputs) == labels).float()
        return values


def make_suite(
    data: DomainData,
    lpips: Lpips,
    *,
    vgg: Lpips | None = None,
    inception: Inception | None = None,
    seed: int = 0,
) -> MetricSuite:
    """All the measures that a data set allows. Classifiers of its domains and classes are trained here, on
    its training images.

    Args:
        data: with test images, which say how good the classifiers are.
        lpips: the distance.
        vgg: the same in VGG16's features, or None.
        inception: for FID and KID, or None.
        seed: of the classifiers.
    """
    domains, classes = None, []
    if len(data.domains) > 1 and not data.new_domains and len(data.test) == len(data.domains):
        train, test = (
            [stack(source, CLASSIFIER_IMAGES) for source in sources] for sources in (data.train, data.test)
        )
        domains = train_classifier(*labelled(train), labelled(test), seed=seed)
    content = data.labels or ContentLabels(test=())
    for train_images, test_images, train_labels, test_labels in zip(
        data.train, data.test, content.train, content.test, strict=False
    ):
        images, labels = stack(train_images, None), torch.from_numpy(train_labels)
        test_set = (stack(test_images, None), torch.from_numpy(test_labels))
        classes.append(train_classifier(images, labels, test_set, seed=seed))
    return MetricSuite(lpips, vgg, inception, domains, tuple(classes), cycle=True)


def spread(count: int, limit: int | None) -> Sequence[int]:
    """At most ``limit`` of ``count`` positions, spread evenly: the first few of a sorted set are no fair
    sample of it.

    >>> list(spread(10, 4))
    [0, 3, 6, 9]
    """
    if limit is None or count <= limit:
        return range(count)
    return [round(place) for place in np.linspace(0, count - 1, limit)]


def stack(source: ImageSource, limit: int | None) -> Tensor:
    """At most ``limit`` images of a source, spread evenly: (N, C, H, W) in [0, 1]."""
    return to_tensor(np.stack([source[position] for position in spread(len(source), limit)]))
