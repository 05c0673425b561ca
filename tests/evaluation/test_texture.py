"""The texture test: structure lands in the band of its period, and blur and stripes are told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.evaluation.texture import (
    BANDS,
    NAMES,
    ROUNDING,
    Texture,
    band_powers,
    compare_textures,
    count_right,
    is_right,
    texture_cells,
)
from sivae_translate.utils.errors import InputError

SIDE = 64


def noise(count: int = 20, side: int = SIDE, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + 0.1 * torch.randn(count, 3, side, side, generator=generator)).clamp(0, 1)


def sine(period: float, *, across: bool) -> Tensor:
    """Vertical stripes if the wave runs across, else horizontal ones."""
    line = 0.5 + 0.3 * torch.sin(2 * math.pi * torch.arange(SIDE) / period)
    image = line.expand(SIDE, SIDE) if across else line[:, None].expand(SIDE, SIDE)
    return image.expand(1, 1, SIDE, SIDE)


def powers_of(images: Tensor) -> dict[str, float]:
    return dict(zip(NAMES, band_powers(images).mean(0).tolist(), strict=True))


def ratios(translations: Tensor, real: Tensor) -> Texture:
    return compare_textures(band_powers(translations), band_powers(real))


def counted(images: np.ndarray) -> dict[str, float]:
    """Every frequency by itself, from the definition: images (N, C, H, W)."""
    height, width = images.shape[2:]
    hann = [0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size) for size in (height, width)]
    window = np.outer(*hann)
    centred = (images - images.mean((2, 3), keepdims=True)) * window
    spectrum = (np.abs(np.fft.fft2(centred)) ** 2).mean((0, 1)) / (window**2).sum()
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for row in range(height):
        for column in range(width):
            down, across = min(row, height - row) / height, min(column, width - column) / width
            waves = {"": math.hypot(down, across)}
            if min(row, height - row) <= 1:
                waves[" vertical stripes"] = across
            if min(column, width - column) <= 1:
                waves[" horizontal stripes"] = down
            for orientation, frequency in waves.items():
                period = 1 / frequency if frequency else math.inf
                for band, (shortest, longest) in BANDS.items():
                    if (shortest <= period or shortest == 2) and period < longest:
                        found[band + orientation].append(spectrum[row, column])
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_powers_are_those_of_every_frequency_by_itself() -> None:
    images = torch.rand(3, 2, 32, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert powers_of(images) == pytest.approx(counted(images.numpy()), rel=1e-9)


@pytest.mark.parametrize(("period", "band"), [(3, "2-4"), (16 / 3, "4-8"), (64 / 6, "8-16")])
@pytest.mark.parametrize("across", [True, False])
def test_a_sine_lands_in_the_band_of_its_period_and_on_its_axis(
    period: float, band: str, across: bool
) -> None:
    powers = powers_of(sine(period, across=across))
    own, other = (" vertical stripes", " horizontal stripes")[:: 1 if across else -1]
    for orientation in ("", own):
        strongest = powers[band + orientation]
        assert all(powers[name + orientation] < 0.01 * strongest for name in BANDS if name != band)
    assert all(powers[name + other] < 1e-6 * powers[band + own] for name in BANDS)


def test_an_oblique_sine_is_on_no_axis() -> None:
    place = torch.arange(SIDE)
    wave = 0.5 + 0.3 * torch.sin(2 * math.pi * (place[:, None] + place) / 8)  # a period of 5.7 px
    powers = powers_of(wave[None, None])
    assert max(powers, key=lambda name: powers[name]) == "4-8"
    assert all(value < 0.01 * powers["4-8"] for name, value in powers.items() if "stripes" in name)


def test_checkers_of_single_pixels_are_in_the_first_band() -> None:
    place = torch.arange(SIDE)
    checkers = ((place[:, None] + place) % 2).float()[None, None]
    powers = powers_of(checkers)
    assert powers["2-4"] > 0.1
    assert all(value < 1e-9 for name, value in powers.items() if name != "2-4")


def test_white_noise_has_its_variance_in_every_band() -> None:
    powers = powers_of(noise(200, 32))
    assert all(value == pytest.approx(0.01, rel=0.08) for value in powers.values())


def test_the_same_images_have_exactly_one() -> None:
    texture = ratios(noise(), noise())
    assert set(texture.ratios.values()) == {1.0}
    assert all(texture.within.values())
    assert count_right([texture, texture]) == "18 of 18 numbers within 0.8 to 1.25"


def test_half_the_contrast_has_a_quarter_of_the_power() -> None:
    texture = ratios(0.5 + (noise() - 0.5) / 2, noise())
    assert list(texture.ratios.values()) == pytest.approx([0.25] * 9)
    assert not any(texture.within.values())


def test_blur_is_below_one_and_most_where_structure_is_finest() -> None:
    blurred = F.avg_pool2d(F.pad(noise(), (1, 1, 1, 1), mode="replicate"), 3, 1)
    values = ratios(blurred, noise()).ratios
    assert values["2-4"] < 0.2 < values["8-16"]
    assert values["2-4"] < values["4-8"] < values["8-16"] < 1
    assert texture_cells([ratios(blurred, noise())])[0].endswith("(blur)")


@pytest.mark.parametrize("across", [True, False])
def test_stripes_show_on_their_axis_where_a_blur_hides_them_from_the_sum(across: bool) -> None:
    real = noise()
    blurred = 0.5 + 0.9 * (real - 0.5)  # 0.81 of the power, and the stripes make up for it
    stripes = 0.04 * (2 * (torch.arange(SIDE) % 2) - 1)
    woven = blurred + (stripes if across else stripes[:, None])
    texture = ratios(woven, real)
    own, other = ("vertical", "horizontal")[:: 1 if across else -1]
    assert texture.within["2-4"]
    assert texture.ratios[f"2-4 {own} stripes"] > 3
    assert not texture.within[f"2-4 {own} stripes"]
    assert texture.ratios[f"2-4 {other} stripes"] == pytest.approx(0.81, abs=0.01)


def test_constant_images_divide_nothing_by_zero() -> None:
    flat = torch.full((3, 3, SIDE, SIDE), 0.37)
    assert set(ratios(flat, flat).ratios.values()) == {1.0}
    assert all(0 < value < 0.01 for value in ratios(flat, noise()).ratios.values())
    assert all(100 < value < math.inf for value in ratios(noise(), flat).ratios.values())
    weak = flat + 0.1 * math.sqrt(ROUNDING) * torch.randn(flat.shape, generator=torch.Generator())
    assert set(ratios(weak, flat).ratios.values()) == {1.0}  # what 8 bits cannot hold is no texture


def test_the_limits_are_those_that_tables_show() -> None:
    assert [is_right(value) for value in (0.794, 0.796, 0.8, 1, 1.25, 1.254, 1.256)] == [
        False,
        True,
        True,
        True,
        True,
        True,
        False,
    ]


def test_cells_of_several_directions_give_the_geometric_mean_and_the_extremes() -> None:
    textures = [Texture.of(dict.fromkeys(NAMES, value)) for value in (0.5, 2.0, 1.0)]
    assert texture_cells(textures) == ["1.00, 0.50 (blur) to 2.00 (texture)"] * 9
    assert texture_cells(textures[1:2]) == ["2.00 (texture)"] * 9


def test_other_real_images_are_within_chance_as_often_as_it_says() -> None:
    """Sets of the same kind: 60 images of random contrast, twenty sets against the same twenty."""
    generator = torch.Generator().manual_seed(0)
    contrasts = torch.rand(40, 60, generator=generator) * 0.5
    sets = [
        0.5 + contrast[:, None, None, None] * (noise(60, 16, seed) - 0.5)
        for seed, contrast in enumerate(contrasts)
    ]
    powers = [band_powers(images) for images in sets]
    textures = [compare_textures(a, b) for a, b in zip(powers[::2], powers[1::2], strict=True)]
    inside = [
        low <= texture.ratios[name] <= high
        for texture in textures
        for name, (low, high) in texture.chance.items()
    ]
    assert 0.88 < sum(inside) / len(inside) < 1
    few, many = (compare_textures(powers[0][:count], powers[1]).chance["2-4"] for count in (5, 60))
    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_a_ratio_that_real_images_could_have_is_told_from_one_that_they_could_not() -> None:
    chance = dict.fromkeys(NAMES, (0.7, 1.4))
    texture = Texture.of(dict.fromkeys(NAMES, 0.9) | {"2-4": 0.75, "4-8": 0.6, "8-16": 1.3}, chance)
    assert texture_cells([texture])[:4] == [
        "0.75 (blur or chance)",
        "0.60 (blur)",
        "1.30 (texture or chance)",
        "0.90",
    ]
    expected = "6 of 9 numbers within 0.8 to 1.25, 2 more within the range of chance"
    assert count_right([texture]) == expected
    assert not texture.within["2-4"]


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="16 or more"):
        band_powers(torch.zeros(1, 1, 15, 64))
    with pytest.raises(InputError, match="0 translations and 2 real"):
        compare_textures(torch.zeros(0, 9), torch.zeros(2, 9))
