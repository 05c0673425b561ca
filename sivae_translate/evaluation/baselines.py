"""Baselines that a translation method has to beat, and the interface through which `evaluate` measures it."""

from __future__ import annotations

from typing import Protocol

import kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.posteriors import BATCH, encode_all
from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.errors import InputError

SAMPLE = 400
"""How many training images of a domain are used for its statistics and as neighbours."""
COARSE = 8
"""Side of the pictures that are compared to find neighbours without a model."""


class Method(Protocol):
    """A way to translate images."""

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        """Translate images into a domain, or each into the style of a reference image.

        Args:
            sources: (N, C, H, W) in [0, 1] on the CPU.
            target: name of the target domain.
            references: (N, C, H, W), an image of the target domain for each source, or None for the domain's
                mean style.

        Returns:
            (N, C, H, W) in [0, 1] on the CPU.
        """


class ModelMethod:
    """A trained model.

    Args:
        translator: the model.
    """

    def __init__(self, translator: Translator) -> None:
        self.translator = translator

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        """See `Method.translate`."""
        engine, parts = self.translator.engine, torch.split(sources, BATCH)
        _check_shape(sources, self.translator)
        if references is None:
            styles = [self.translator.style_code(Style.domain(target))] * len(parts)
        else:
            styles = [engine.encode(part).style.mean for part in torch.split(references, BATCH)]
        made = [engine.translate(part, style) for part, style in zip(parts, styles, strict=True)]
        return torch.cat(made).float().cpu()


def _check_shape(images: Tensor, translator: Translator) -> None:
    """Raise InputError if the images do not have the model's shape."""
    shape, expected = tuple(images.shape[1:]), tuple(translator.model.image_shape)
    if shape != expected:
        raise InputError(
            f"the test images are {shape}, the model takes {expected} (channels, height, width)",
            remedy="set data.image_size and data.channels as the model was trained",
        )


class Copying:
    """Returns the source unchanged: gain 0."""

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        """See `Method.translate`."""
        return sources


class ColourStatistics:
    """Matches mean and standard deviation of each Lab channel to the target.

    The method is "Color Transfer" (Reinhard et al. 2001). The target is the reference image, or training
    images of the domain.

    Args:
        data: with training images of every target domain.
    """

    def __init__(self, data: DomainData) -> None:
        self.statistics = {
            name: _lab_statistics(_sample(source)[None])
            for name, source in zip(data.domains, data.train, strict=True)
        }

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        """See `Method.translate`."""
        if references is None:
            _require(target, self.statistics)
            mean, deviation = self.statistics[target]
        else:
            mean, deviation = _lab_statistics(references[:, None])
        own_mean, own_deviation = _lab_statistics(sources[:, None])
        matched = (_lab(sources) - own_mean) / own_deviation.clamp_min(1e-3) * deviation + mean
        rgb = kornia.color.lab_to_rgb(matched).clamp(0, 1)
        return rgb if sources.shape[1] == 3 else rgb.mean(1, keepdim=True)


def _lab(images: Tensor) -> Tensor:
    converted: Tensor = kornia.color.rgb_to_lab(images.expand(-1, 3, -1, -1))
    return converted


def _lab_statistics(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of Lab channels in groups of images.

    Args:
        groups: (G, N, C, H, W).

    Returns:
        Two tensors (G, 3, 1, 1).
    """
    lab = torch.stack([_lab(group) for group in groups])
    return lab.mean((1, 3, 4))[..., None, None], lab.std((1, 3, 4))[..., None, None]


class NearestNeighbour:
    """Returns the target domain's training image with the most similar content.

    Args:
        data: with training images of every target domain.
        translator: compares images by its content codes; without it, they are compared as grey pictures of
            8 x 8 pixels.
    """

    def __init__(self, data: DomainData, translator: Translator | None = None) -> None:
        self.translator = translator
        self.known = {name: _sample(source) for name, source in zip(data.domains, data.train, strict=True)}

    def translate(self, sources: Tensor, target: str, references: Tensor | None) -> Tensor:
        """See `Method.translate`; only the domain of the references is used."""
        _require(target, self.known)
        known = self.known[target]
        distances = torch.cdist(self._content(sources), self._content(known))
        return known[distances.argmin(1)]

    def _content(self, images: Tensor) -> Tensor:
        """Features to compare, (N, D)."""
        if self.translator is not None:
            return encode_all(self.translator.engine, images).content.mean.flatten(1).cpu()
        grey = F.adaptive_avg_pool2d(images.mean(1, keepdim=True), COARSE).flatten(1)
        return (grey - grey.mean(1, keepdim=True)) / grey.std(1, keepdim=True).clamp_min(1e-3)


def _sample(source: ImageSource) -> Tensor:
    """At most `SAMPLE` evenly spread images of a source: (N, C, H, W)."""
    step = -(-len(source) // SAMPLE)
    return to_tensor(np.stack([source[index] for index in range(0, len(source), step)]))


def _require(
    target: str, known: dict[str, object] | dict[str, Tensor] | dict[str, tuple[Tensor, Tensor]]
) -> None:
    if target not in known:
        raise InputError(
            f"there are no training images of '{target}'",
            remedy="use --style reference or another baseline",
        )
