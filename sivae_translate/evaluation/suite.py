"""`MetricSuite`: the metrics of translations between the domains of one data set."""

from __future__ import annotations

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
from sivae_translate.utils.selection import spread

CLASSIFIER_IMAGES = 2000
"""How many images of each domain the classifier of domains is trained on."""
VGG_BATCH = 32
"""Batch size of VGG16, which needs 130 MB for an image of 256 px."""


@dataclass(frozen=True)
class MetricSuite:
    """The metrics to compute; each optional one takes time.

    Attributes:
        lpips: LPIPS with AlexNet; always computed.
        vgg: LPIPS with VGG16, for some of the translations; slow, but independent of the loss if AlexNet's
            features were part of it.
        inception: for FID and KID to the target domain.
        domains: classifier of the domains.
        classes: for each domain, a classifier of its classes.
        cycle: also translate back.
        real: Inception's features of real test images, by domain and number of images; shared by all
            methods.
        known: other measurements of the same images, with the same keys.
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
        """Names of the networks that LPIPS is computed with."""
        return ("AlexNet",) if self.vgg is None else ("AlexNet", "VGG16")

    def real_images(self, domain: str, images: Tensor) -> RealImages:
        """Measurements of a domain's real test images (N, C, H, W)."""
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
        """LPIPS, L1, SSIM and PSNR of translations and of copies to the truths.

        Without truths, only LPIPS to the sources is computed.

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
        """LPIPS as in `distances`, with VGG16; empty if the suite does not use it."""
        if self.vgg is None:
            return {}
        if truths is None:
            return {"lpips_vgg": self.vgg.distances(sources, outputs, VGG_BATCH)}
        ours, copying = self.vgg.distances_to(truths, outputs, sources)
        return {"lpips_vgg": ours, "copy_lpips_vgg": copying}

    def accuracies(self, outputs: Tensor, target: int, labels: Tensor | None) -> dict[str, Tensor]:
        """Which translations are recognised by classifiers of real images.

        Args:
            outputs: (N, C, H, W) in [0, 1].
            target: index of the target domain.
            labels: classes of the sources (N,), or None.

        Returns:
            Metric name to (N,), 0 or 1.
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
    """Build a suite with all metrics that a data set supports; trains classifiers on its training images.

    Args:
        data: a data set; its test images measure the accuracy of the classifiers.
        lpips: LPIPS with AlexNet.
        vgg: LPIPS with VGG16, or None.
        inception: for FID and KID, or None.
        seed: seed of the classifiers.
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


def stack(source: ImageSource, limit: int | None) -> Tensor:
    """At most ``limit`` evenly spread images of a source: (N, C, H, W) in [0, 1]."""
    return to_tensor(np.stack([source[position] for position in spread(len(source), limit)]))
