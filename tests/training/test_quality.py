"""The score that chooses the best checkpoint: blur and doing nothing do not win, and nothing is random."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.config import from_dict
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.splits import split_training
from sivae_translate.models.build import make_model
from sivae_translate.training.quality import Quality, Score
from sivae_translate.training.validation import Validation

SIZES = {"widths": [4, 6, 8], "style_widths": [4, 4, 6], "style_dim": 5, "style_features": 8}


def textured(seed: int, colour: tuple[float, float, float]) -> np.ndarray:
    """40 images of random stripes in a colour, (40, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    stripes = rng.integers(0, 2, (40, 32, 16, 1)).repeat(2, 2)
    return np.asarray(np.round(255 * stripes * np.array(colour)), dtype=np.uint8)


def domains_of(**images: np.ndarray) -> DomainData:
    return DomainData(tuple(images), tuple(map(ArrayImages, images.values())))


def unlabelled(images: np.ndarray) -> DomainData:
    return DomainData(("",), (ArrayImages(images),))


DATA = domains_of(red=textured(0, (1, 0.3, 0.3)), blue=textured(1, (0.2, 0.3, 1)))


def validation(kind: str = "translation", data: DomainData = DATA, share: float = 0.4) -> Any:
    config = from_dict({"data": {"image_size": 32}, "model": {"kind": kind, **SIZES}}, "the test")
    torch.manual_seed(0)
    model = make_model(config.model, config.data, len(data.domains)).eval().requires_grad_(False)
    return Validation(data, split_training(data.train, share), model, nullcontext, lambda problems: None)


def turned(images: Tensor) -> Tensor:
    """The other domain's colours: red and blue change places."""
    return images.flip(1)


def blurred(images: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), 5, 1)


def noisy(images: Tensor) -> Tensor:
    """Sharp stripes in wrong places: an error of a pixel above that of a blur."""
    return images.roll(2, 3)


def score_of(translate: Any) -> Score:
    measured = validation()
    measured.model.translate = lambda images, style: translate(images)
    score: Score = measured.score()
    return score


def test_a_blurred_model_loses_although_its_pixels_are_nearer() -> None:
    source: Any = DATA.train[0]
    images = torch.from_numpy(source.array).permute(0, 3, 1, 2) / 255
    errors = [float((change(images) - images).square().mean()) for change in (noisy, blurred)]
    assert errors[0] > 1.5 * errors[1]
    sharp, blur = (score_of(lambda x, change=change: change(turned(x))) for change in (noisy, blurred))
    assert sharp.total < blur.total
    assert sharp.kid < 0.5 < 1 < blur.kid


def test_a_perfect_model_wins_and_doing_nothing_is_no_translation() -> None:
    perfect, nothing = score_of(turned), score_of(lambda images: images)
    assert perfect.lpips == 0
    assert perfect.kid < 0.1
    assert nothing.kid == pytest.approx(1, abs=0.2)
    assert perfect.total < score_of(lambda x: blurred(turned(x))).total


@pytest.mark.parametrize("kind", ["translation", "plain", "published"])
@pytest.mark.parametrize("labelled", [True, False])
def test_every_kind_of_model_has_a_score_that_repeats_and_draws_nothing(kind: str, labelled: bool) -> None:
    data = DATA if labelled and kind == "translation" else unlabelled(textured(0, (1, 1, 1)))
    measured = validation(kind, data)
    states = torch.get_rng_state(), str(np.random.get_state())
    first = measured.score()
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]
    torch.manual_seed(5)
    assert measured.score() == first
    assert np.isfinite(first.total)
    assert validation(kind, data).score() == first


def test_one_validation_image_each_is_enough_and_without_any_there_is_no_score() -> None:
    few = domains_of(red=textured(0, (1, 0, 0))[:10], blue=textured(1, (0, 0, 1))[:10])
    assert validation(data=few, share=0.01).score() is not None
    assert validation(data=few, share=0).score() is None


def test_of_many_domains_and_images_some_are_scored() -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    many = domains_of(**{f"domain{number:02}": images for number in range(20)})
    measured = validation(data=many, share=0.4)
    count = 0

    class Counted(ArrayImages):
        def __getitem__(self, index: int) -> np.ndarray:
            nonlocal count
            count += 1
            return super().__getitem__(index)

    measured.data = DomainData(many.domains, tuple(Counted(images) for _ in many.domains))
    assert measured.score() is not None
    assert count <= 8 * (16 + 64)
    again = count
    measured.score()
    assert count == again  # read once


def test_images_of_28_pixels_are_scored() -> None:
    small = unlabelled(np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), dtype=np.uint8))
    config = from_dict(
        {
            "data": {"image_size": 28, "channels": 1},
            "model": {**SIZES, "content_size": 7, "widths": [4, 6], "style_widths": [4, 4]},
        },
        "the test",
    )
    model = make_model(config.model, config.data, 1).eval()
    measured = Validation(small, split_training(small.train, 0.2), model, nullcontext, lambda problems: None)
    assert measured.score() is not None


def test_quality_passes_over_a_target_whose_images_cannot_be_read() -> None:
    measured = validation()
    nothing = torch.empty(0, 3, 32, 32)
    quality = Quality(measured.model, measured.splits, lambda domain, positions: nothing, nullcontext)
    assert quality.score() is None


def test_images_that_are_not_finite_have_no_score() -> None:
    measured = validation()
    measured.model.translate = lambda images, style: images * float("nan")
    assert measured.score() is None
