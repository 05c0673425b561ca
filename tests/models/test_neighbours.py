"""Distances from training images, against a computation of whole matrices in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sivae_translate.models.appearance import CHANNELS
from sivae_translate.models.neighbours import COMPONENTS, NEAREST, STORED, Neighbours

F = sum(CHANNELS)


def features(count: int, seed: int) -> Any:
    """Features of images that differ in 300 directions, in some more than in others."""
    mixing = np.random.default_rng(0).normal(size=(300, F)) / np.sqrt(1 + np.arange(300))[:, None]
    return torch.from_numpy(5 + np.random.default_rng(seed).normal(size=(count, 300)) @ mixing).float()


def expected_distances(training: Any, others: Any, images: Any) -> Any:
    x, y, z = (some.double().numpy() for some in (training, others, images))
    ends = np.cumsum(CHANNELS)
    sizes = [np.sqrt((x[:, end - size : end] ** 2).mean()) for size, end in zip(CHANNELS, ends, strict=True)]
    scale = x.std(0) + 0.02 * np.repeat(sizes, CHANNELS)
    x, y, z = ((some - x.mean(0)) / scale for some in (x, y, z))
    _, singular, rows = np.linalg.svd(x, full_matrices=False)
    count = min(COMPONENTS, len(x) // 2)
    axes, deviations = rows[:count].T, singular[:count] / np.sqrt(len(x))
    lengths = np.linalg.norm(y - y @ axes @ axes.T, axis=1)
    median = np.sort(lengths)[(len(lengths) - 1) // 2]  # as torch's, the lower of the middle ones

    def place(some: Any) -> Any:
        left = (np.linalg.norm(some - some @ axes @ axes.T, axis=1) - median) / lengths.std()
        return np.concatenate([some @ axes / deviations, left[:, None]], 1)

    stored = x[np.round(np.linspace(0, len(x) - 1, min(len(x), STORED))).astype(int)]
    between = np.linalg.norm(place(z)[:, None] - place(stored)[None], axis=2)
    return np.sort(between, 1)[:, :NEAREST].mean(1)


@pytest.mark.parametrize("count", [40, 300, STORED + 30])
def test_distances_are_those_to_the_three_nearest_in_whitened_components_and_residual(count: int) -> None:
    training, others, images = features(count, 1), features(30, 2), features(12, 3)
    images[6:] += 3 * torch.randn(6, F, generator=torch.Generator().manual_seed(4))
    neighbours = Neighbours.fit(training, others)
    assert neighbours.points.shape == (min(count, STORED), min(COMPONENTS, count // 2) + 1)
    distances = neighbours.distances(images)
    # The file has float16: three digits.
    np.testing.assert_allclose(distances, expected_distances(training, others, images), rtol=0.01)
    assert distances[6:].min() > distances[:6].max()


def test_its_tensors_are_small_and_give_the_same_distances() -> None:
    neighbours = Neighbours.fit(features(1100, 1), features(30, 2))
    tensors = neighbours.tensors()
    assert sum(tensor.nbytes for tensor in tensors.values()) < 450_000
    images = features(5, 3)
    assert torch.equal(Neighbours.of(tensors, F).distances(images), neighbours.distances(images))


def test_equal_images_and_two_images_have_distances() -> None:
    same = features(1, 1).expand(20, -1)
    neighbours = Neighbours.fit(same, same[:3])
    assert neighbours.distances(same[:2]).max() < 1e-3
    assert neighbours.distances(features(2, 5)).min() > 1
    assert Neighbours.fit(features(2, 1), features(1, 2)).distances(features(4, 3)).isfinite().all()


WRONG: dict[str, Any] = {
    "missing": lambda tensors: tensors.pop("axes"),
    "unknown": lambda tensors: tensors.update(other=torch.zeros(1)),
    "of another length": lambda tensors: tensors.update(center=torch.zeros(F - 1)),
    "without images": lambda tensors: tensors.update(points=tensors["points"][:0]),
    "not finite": lambda tensors: tensors["points"][0, :1].fill_(float("nan")),
    "flat": lambda tensors: tensors["scale"][:1].fill_(0),
    "of double precision": lambda tensors: tensors.update(center=tensors["center"].double()),
    "whole numbers": lambda tensors: tensors.update(points=tensors["points"].long()),
    "scalar": lambda tensors: tensors.update(points=torch.tensor(1.0)),
}


@pytest.mark.parametrize("name", WRONG)
def test_tensors_that_do_not_fit_are_refused(name: str) -> None:
    fitted = Neighbours.fit(features(20, 1), features(9, 2))
    tensors = {key: some.clone() for key, some in fitted.tensors().items()}
    WRONG[name](tensors)
    with pytest.raises(ValueError, match=r"do not fit|finite|positive"):
        Neighbours.of(tensors, F)
