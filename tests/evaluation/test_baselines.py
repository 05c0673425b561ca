"""The contract that every translation method keeps: the model and its baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.baselines import (
    ColourStatistics,
    Copying,
    Method,
    ModelMethod,
    NearestNeighbour,
)
from sivae_translate.inference.translator import Translator

METHODS: dict[str, Callable[[DomainData, Translator], Method]] = {
    "model": lambda _, translator: ModelMethod(translator),
    "copying": lambda *_: Copying(),
    "colour statistics": lambda data, _: ColourStatistics(data),
    "nearest neighbour": lambda data, _: NearestNeighbour(data),
    "nearest neighbour by content": NearestNeighbour,
}


@pytest.fixture(scope="module")
def data() -> DomainData:
    """Smooth noise of a colour for each of the model's domains."""
    coarse = np.random.default_rng(0).integers(60, 196, (12, 4, 4, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    shifts = {"cats": 0, "dogs": 30, "foxes": 59}
    train = tuple(ArrayImages(images + np.uint8(shift)) for shift in shifts.values())
    return DomainData(tuple(shifts), train, test=train)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("by_reference", [False, True])
def test_a_method_keeps_the_contract(
    name: str, by_reference: bool, data: DomainData, translator: Translator
) -> None:
    method = METHODS[name](data, translator)
    sources = to_tensor(np.stack([data.test[0][i] for i in range(5)]))
    references = to_tensor(np.stack([data.test[1][i] for i in range(5)])) if by_reference else None
    before = sources.clone()
    made = method.translate(sources, "dogs", references)
    assert made.shape == sources.shape
    assert made.dtype == torch.float32
    assert made.device.type == "cpu"
    assert made.min() >= 0
    assert made.max() <= 1
    assert torch.equal(sources, before)
    # An image's translation does not depend on what else is translated with it.
    alone = method.translate(sources[2:3], "dogs", None if references is None else references[2:3])
    torch.testing.assert_close(made[2:3], alone, atol=1e-4, rtol=0)
