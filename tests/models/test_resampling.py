"""How networks change resolution: without a texture of their own, and as version 0.1 did."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.config.reading import with_new_names
from sivae_translate.models.build import make_model
from sivae_translate.models.networks import Decoder
from sivae_translate.models.resampling import Resampling, doubled, halved, low_pass, smoothed

INNER = (slice(None), slice(None), slice(1, -1), slice(1, -1))
"""The rim has no neighbours beyond it."""


def test_halving_filters_with_1_3_3_1_before_it_samples() -> None:
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    planes, kernel = image.reshape(6, 1, 8, 8)[..., 1:, 1:], (taps[:, None] * taps)[None, None] / 64
    expected = F.conv2d(planes, kernel, stride=2).reshape(2, 3, 2, 2)
    torch.testing.assert_close(halved(image, low_pass(3).double())[INNER], expected)
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    torch.testing.assert_close(halved(ramp, low_pass(1))[0, 0, 0, 1:3], torch.tensor([2.5, 4.5]))


def test_halving_gives_even_and_odd_pixels_the_same_gradient() -> None:
    image = torch.rand(1, 1, 16, 16, requires_grad=True)
    halved(image, low_pass(1)).sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    torch.testing.assert_close(image.grad[0, 0, 2:-2, 2:-2], torch.full((12, 12), 0.25))


def test_doubling_keeps_ramps() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    torch.testing.assert_close(
        doubled(ramp)[0, 0, 3, 1:-1], torch.tensor([0.25, 0.75, 1.25, 1.75, 2.25, 2.75])
    )


def decoded_from_a_flat_code(resampling: Resampling) -> Any:
    """The inner part of what a decoder makes where no place differs from another."""
    torch.manual_seed(0)
    decoder = Decoder(1, (8, 8, 8), 1, (2, 16, 16), 4, 8, resampling)
    with torch.no_grad():
        decoder.canvas.weight.zero_()
        decoder.canvas.bias.fill_(0.3)
        image = decoder(torch.ones(1, 2, 16, 16), torch.randn(1, 4))
    return image[0, 0, 48:80, 48:80]


def test_a_decoder_without_information_about_places_draws_no_texture() -> None:
    assert decoded_from_a_flat_code("smooth").std() < 1e-5
    assert decoded_from_a_flat_code("shuffle").std() > 1e-2


def test_smoothing_does_not_pass_the_finest_chequers() -> None:
    chequer = 0.2 * (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))
    flat = torch.full((1, 1, 32, 32), 0.5)
    torch.testing.assert_close(smoothed(flat), flat)
    torch.testing.assert_close(smoothed(flat + chequer)[INNER], flat[INNER])
    moved = []
    for resampling in ("shuffle", "antialiased"):
        torch.manual_seed(0)
        config = ModelConfig(widths=(4, 6, 8), style_widths=(4, 4, 6), resampling=resampling)
        model = make_model(config, DataConfig(image_size=32, channels=1), 2)
        picture = F.interpolate(torch.rand(1, 1, 6, 6), 32, mode="bicubic").clamp(0.2, 0.8)
        before, after = (model.encode(x).content.mean for x in (picture, picture + chequer))
        moved.append((after - before).abs().mean().item())
    assert moved[1] < 0.2 * moved[0]


@pytest.mark.parametrize(("antialias", "resampling"), [(False, "shuffle"), (True, "antialiased")])
def test_settings_of_version_0_1_mean_the_networks_of_version_0_1(antialias: bool, resampling: str) -> None:
    assert with_new_names({"model": {"antialias": antialias}}) == {"model": {"resampling": resampling}}
    assert with_new_names({"model": {"widths": [8]}}) == {"model": {"widths": [8]}}
