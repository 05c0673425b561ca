r"""How near an image is to training images, in the features of AlexNet.

The means of AlexNet's channels over an image are divided by their deviations over training images and
projected to the training images' principal components, each divided by its own deviation. What the components
leave, the residual, is one more coordinate: its length, less the median, in deviations. The distance of an
image is the mean distance to the three nearest of the stored training images (nearest neighbours in deep
features: arXiv 2204.06507).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sivae_translate.models.appearance import CHANNELS
from sivae_translate.utils.selection import spread

NEAREST = 3
COMPONENTS = 128
STORED = 512
"""Most training images whose coordinates are stored; 128 do as well on average (experiment 72)."""
LEAST_DEVIATION = 0.02
"""Least deviation of a channel, in root mean squares of its layer: channels that never vary among training
images would tell any other image from them, and rounding errors too."""
LEAST_SPREAD = 0.01
"""Least deviation of the residual's length, in medians, for sets of a few images."""
LEAST_VARIANCE = 1e-6
"""Least variance of a principal component, as a part of that of the first."""


@dataclass(frozen=True)
class Neighbours:
    """Where some training images lie among features.

    Attributes:
        center: means of the features, (F,).
        scale: deviations of the features, (F,).
        axes: principal components, (F, K), of length 1, in float16.
        deviations: of the training images along the components, (K,).
        residual: median and deviation of the length of what the components leave, (2,).
        points: coordinates of the stored images, (N, K + 1), in float16.
    """

    center: Tensor
    scale: Tensor
    axes: Tensor
    deviations: Tensor
    residual: Tensor
    points: Tensor

    @classmethod
    def fit(cls, training: Tensor, others: Tensor) -> Neighbours:
        """Fit to features of images.

        Args:
            training: (M, F) of training images, two or more; `STORED` of them, evenly spread, are stored.
            others: (L, F) of images like them, one or more, for the unit of the residual: the components fit
                the images better that they were fitted to.
        """
        values = training.double()
        center, scale = values.mean(0), values.std(0, correction=0)
        scale += LEAST_DEVIATION * _layer_sizes(values)
        centred = (values - center) / scale
        axes = _principal(centred).half()
        deviations = (centred @ axes.double()).square().mean(0).sqrt().clamp(min=1e-3)
        flat = cls(
            center.float(), scale.float(), axes, deviations.float(), torch.tensor([0.0, 1.0]), axes[:0]
        )
        lengths = flat.coordinates(others)[:, -1]
        least = LEAST_SPREAD * lengths.median() + 1e-3
        residual = torch.stack([lengths.median(), lengths.std(correction=0).maximum(least)])
        placed = cls(flat.center, flat.scale, axes, flat.deviations, residual, flat.points)
        points = placed.coordinates(training[list(spread(len(training), STORED))]).half()
        return cls(flat.center, flat.scale, axes, flat.deviations, residual, points)

    def coordinates(self, features: Tensor) -> Tensor:
        """Coordinates of images with these features (B, F): (B, K + 1), float32."""
        centred = (features.float() - self.center) / self.scale
        along = centred @ self.axes.float()
        left = (centred.square().sum(1) - along.square().sum(1)).clamp(min=0).sqrt()
        return torch.cat(
            [along / self.deviations, ((left - self.residual[0]) / self.residual[1])[:, None]], 1
        )

    def distances(self, features: Tensor) -> Tensor:
        """Mean distance of images with these features (B, F) to the nearest stored images: (B,)."""
        each = torch.cdist(self.coordinates(features), self.points.float())
        return each.topk(min(NEAREST, len(self.points)), largest=False).values.mean(1)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], features: int) -> Neighbours:
        """The inverse of `tensors`.

        Args:
            tensors: of a file.
            features: number F of features.

        Raises:
            ValueError: a tensor is missing, shapes or types do not fit, or a number is out of range.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        stored, components = (*shapes.get("points", ()), 0, 0)[0], (*shapes.get("deviations", ()), 0)[0]
        expected = {
            "center": (features,),
            "scale": (features,),
            "axes": (features, components),
            "deviations": (components,),
            "residual": (2,),
            "points": (stored, components + 1),
        }
        if shapes != expected or not stored or not components:
            raise ValueError("its tensors do not fit each other")
        half = ("axes", "points")
        types = {name: torch.float16 if name in half else torch.float32 for name in tensors}
        if types != {name: tensor.dtype for name, tensor in tensors.items()}:
            raise ValueError("its tensors do not fit each other: they have other types")
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("it has values that are not finite")
        neighbours = cls(**tensors)
        if not all(
            (some > 0).all() for some in (neighbours.scale, neighbours.deviations, neighbours.residual[1])
        ):
            raise ValueError("it has deviations that are not positive")
        return neighbours


def _layer_sizes(features: Tensor) -> Tensor:
    """Root mean square of the features of each layer, at the place of each feature: (F,)."""
    layers = features.split_with_sizes(list(CHANNELS), 1)
    return torch.cat(
        [layer.square().mean().sqrt().clamp(min=1e-6).expand(layer.shape[1]) for layer in layers]
    )


def _principal(centred: Tensor) -> Tensor:
    """Principal components (F, K) of images (M, F), of length 1.

    With fewer than 2 K images there are half as many components as images. They are found among the images'
    products, of which there are fewer than those of features.
    """
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    most = max(1, min(COMPONENTS, len(centred) // 2))
    values, vectors = values.flip(0)[:most].clamp(min=0), vectors.flip(1)[:, :most]
    kept = values > LEAST_VARIANCE * values[0]
    if not kept.any():  # all images are equal
        return torch.eye(centred.shape[1], 1, dtype=centred.dtype)
    axes: Tensor = centred.T @ vectors[:, kept] / values[kept].sqrt()
    return axes
