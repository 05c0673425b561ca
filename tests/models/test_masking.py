"""Masks of the content code: exact, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sivae_translate.models.masking import collapsed_channels, mask_channels
from sivae_translate.models.plain import PlainVAE
from sivae_translate.models.translation import TranslationVAE

SIZES: dict[str, Any] = {"content_size": 4, "style_dim": 6, "style_features": 16}
MASKED = torch.tensor([True, False, True])


def translating(**settings: Any) -> TranslationVAE:
    torch.manual_seed(0)
    return TranslationVAE(
        (1, 32, 32), 2, widths=(4, 4, 8), style_widths=(4, 4, 4), content_channels=3, **SIZES, **settings
    ).eval()


def test_a_channel_collapses_if_none_of_its_numbers_is_active() -> None:
    kl = torch.tensor([[[0.0, 0.1], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.11]]])
    assert collapsed_channels(kl).tolist() == [True, False]
    assert collapsed_channels(torch.tensor([0.2, 0.1])).tolist() == [False, True]


@torch.no_grad()
def test_masked_channels_are_the_prior_and_others_as_before() -> None:
    model, images = translating(), torch.rand(3, 1, 32, 32)
    before = model.encode(images)
    assert mask_channels(model, MASKED)
    after = model.encode(images)
    assert not after.content.mean[:, MASKED].any() and not after.content.logvar[:, MASKED].any()
    torch.testing.assert_close(after.content.mean[:, 1], before.content.mean[:, 1])
    torch.testing.assert_close(after.content.logvar[:, 1], before.content.logvar[:, 1])
    assert torch.equal(after.style.mean, before.style.mean)
    kl = before.content.doubled_kl_terms()[:, 1].flatten(1).sum(1) / 2
    torch.testing.assert_close(after.content.kl(), kl)


@torch.no_grad()
def test_the_mask_holds_for_pictures_of_any_size() -> None:
    model = translating()
    mask_channels(model, MASKED)
    content = model.content(torch.rand(1, 1, 64, 96))
    assert content.shape == (1, 3, 8, 12)
    assert not content[:, MASKED].any() and content[:, 1].any()


@pytest.mark.parametrize("published", [False, True])
@torch.no_grad()
def test_numbers_of_a_plain_model_are_masked(published: bool) -> None:
    torch.manual_seed(0)
    model = PlainVAE((1, 32, 32), latent_dim=3, widths=(4, 4, 8), size=4, published=published).eval()
    assert mask_channels(model, MASKED)
    content = model.encode(torch.rand(2, 1, 32, 32)).content
    assert not content.mean[:, MASKED].any() and content.mean[:, 1].all()


@torch.no_grad()
def test_a_learned_prior_is_not_what_a_mask_would_give() -> None:
    model = translating(prior_components=2)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    assert not mask_channels(model, MASKED)
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())
