r"""The texture test: do translations have as much fine structure as real images of their domain?

.. math:: \frac{\sum_{k} \overline{|\mathcal F(w (x - \bar x))(k)|^2}}
    {\sum_{k} \overline{|\mathcal F(w (y - \bar y))(k)|^2}}

for translations x and real images y, a Hann window w, and the frequencies k of a band; the bars over the
spectra are means over channels and images. 1 is right; below, translations are blurred; above, they bear a
texture that is not their domain's. Stripes hide in a sum over all directions, which a blur beside them can
bring back to 1; on the axis across them they cannot hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import geometric_mean

import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import draw_counts
from sivae_translate.utils.errors import InputError

BANDS = {"2-4": (2, 4), "4-8": (4, 8), "8-16": (8, 16)}
"""Periods in pixels, from the first number up to the second. What is shorter than 2 pixels, checkers and
oblique stripes, is in the first band."""
ORIENTATIONS = ("", " vertical stripes", " horizontal stripes")
NAMES = tuple(f"{band}{orientation}" for orientation in ORIENTATIONS for band in BANDS)
"""Of the nine numbers, in the order of `band_powers`."""
LOWEST, HIGHEST = 0.8, 1.25
"""Ratios between these are right."""
SMALLEST_SIDE = 16
"""The longest period has to fit into an image."""
ROUNDING = (1 / 255) ** 2 / 12
"""Power of the error of rounding to 8 bits. Weaker structure is none, so nothing is divided by zero."""
BATCH = 16
"""Images transformed at a time: those of 256 px take 50 MB."""
RESAMPLES = 200
"""Of real images, to tell what chance does."""


@dataclass(frozen=True)
class Texture:
    """Power of translations over that of real images.

    Attributes:
        ratios: to each of `NAMES` a ratio.
        within: whether it is within `LOWEST` to `HIGHEST`.
        chance: 95 % of the ratios that as many other real images would have: few images, above all along
            the axes, have no such ratio to the hundredth.
    """

    ratios: Mapping[str, float]
    within: Mapping[str, bool]
    chance: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, ratios: Mapping[str, float], chance: Mapping[str, Sequence[float]] | None = None) -> Texture:
        """Ratios with the verdict on each."""
        right = {name: is_right(ratio) for name, ratio in ratios.items()}
        return cls(dict(ratios), right, dict(chance or {}))

    def by_chance(self, name: str) -> bool:
        """Whether one of the numbers is not right, but could be that of real images."""
        low, high = self.chance.get(name, (1, 1))
        return not self.within[name] and low <= self.ratios[name] <= high

    def verdict(self, name: str) -> str:
        """One of the numbers as tables show it."""
        return verdict(self.ratios[name], self.by_chance(name))


def band_powers(images: Tensor) -> Tensor:
    """Power of each image in each band: along all directions, of vertical and of horizontal stripes.

    Args:
        images: (N, C, H, W) in [0, 1], sides of `SMALLEST_SIDE` or more.

    Returns:
        (N, 9) float64 in the order of `NAMES`: the mean over a band's frequencies and over channels, in units
        in which white noise has its variance. Stripes are frequencies on an axis and its two neighbours,
        which is as far as the window spreads them.

    Raises:
        InputError: another shape, or images that are too small.
    """
    if images.ndim != 4 or min(images.shape[2:]) < SMALLEST_SIDE:
        raise InputError(
            f"cannot measure the texture of images of shape {tuple(images.shape)}",
            remedy=f"pass (N, C, H, W) with sides of {SMALLEST_SIDE} or more",
        )
    window, bins = _window(*images.shape[2:]), _bins(*images.shape[2:])
    return torch.cat([_powers(part, window, bins) for part in torch.split(images.cpu(), BATCH)])


def compare_textures(translations: Tensor, real: Tensor) -> Texture:
    """Mean band powers of translations over those of real images.

    Args:
        translations: their `band_powers`, (N, 9).
        real: those of real images of the target domain, (M, 9).

    Raises:
        InputError: there are none of either.
    """
    if not len(translations) or not len(real):
        raise InputError(
            f"cannot compare the textures of {len(translations)} translations and {len(real)} real images",
            remedy="pass one or more of each",
        )
    ratios = _ratios(translations.mean(0), real.mean(0)).tolist()
    chance = _chance(real, len(translations)).T.tolist()
    return Texture.of(dict(zip(NAMES, ratios, strict=True)), dict(zip(NAMES, chance, strict=True)))


def _ratios(ours: Tensor, theirs: Tensor) -> Tensor:
    return ours.clamp_min(ROUNDING) / theirs.clamp_min(ROUNDING)


def _chance(real: Tensor, count: int) -> Tensor:
    """Within which 95 % of the ratios are of ``count`` real images to as many as there are, (2, 9)."""
    generator = torch.Generator().manual_seed(0)
    means = [
        draw_counts(len(real), drawn, RESAMPLES, generator) @ real / drawn for drawn in (count, len(real))
    ]
    return _ratios(*means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)


def is_right(ratio: float) -> bool:
    """Whether a ratio, rounded as tables show it, is within `LOWEST` to `HIGHEST`."""
    return LOWEST <= round(ratio, 2) <= HIGHEST


def verdict(ratio: float, by_chance: bool = False) -> str:
    """A ratio as tables show it.

    >>> verdict(1.0), verdict(0.5), verdict(2.0, by_chance=True)
    ('1.00', '0.50 (blur)', '2.00 (texture or chance)')
    """
    if is_right(ratio):
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({'blur' if ratio < LOWEST else 'texture'}{' or chance' if by_chance else ''})"


def count_right(textures: Sequence[Texture]) -> str:
    """How many of the numbers of some textures are right, as reports say it.

    >>> count_right([Texture.of({"2-4": 1.0, "4-8": 0.5, "8-16": 1.1})])
    '2 of 3 numbers within 0.8 to 1.25'
    """
    verdicts = [right for texture in textures for right in texture.within.values()]
    chance = sum(texture.by_chance(name) for texture in textures for name in texture.within)
    more = f", {chance} more as real images could have by chance" if chance else ""
    return f"{sum(verdicts)} of {len(verdicts)} numbers within {LOWEST:g} to {HIGHEST:g}{more}"


def texture_cells(textures: Sequence[Texture]) -> list[str]:
    """Cells of a table under `NAMES`: the ratio and what it means; of several textures the geometric mean,
    with the lowest and the highest and what these mean: a blur and a texture can have a mean of 1.
    """
    cells = []
    for name in NAMES:
        ranked = sorted(textures, key=lambda texture: texture.ratios[name])
        ratios = [texture.ratios[name] for texture in ranked]
        reach = f"{ranked[0].verdict(name)} to {ranked[-1].verdict(name)}"
        mean = f"{geometric_mean(ratios):.2f}, {reach}"
        cells.append(mean if len(ratios) > 1 else ranked[0].verdict(name))
    return cells


def _powers(images: Tensor, window: Tensor, bins: Tensor) -> Tensor:
    """(N, C, H, W) to (N, 9)."""
    centred = images.double() - images.double().mean((2, 3), keepdim=True)
    spectrum = torch.fft.fft2(centred * window).abs().square().mean(1) / window.square().sum()
    return torch.matmul(spectrum.flatten(1), bins.flatten(1).T)


@lru_cache(maxsize=4)
def _window(height: int, width: int) -> Tensor:
    """Hann's, (H, W)."""
    lines = (torch.hann_window(size, dtype=torch.float64) for size in (height, width))
    return torch.outer(*lines)


@lru_cache(maxsize=4)
def _bins(height: int, width: int) -> Tensor:
    """The share that each frequency has in each of `NAMES`, (9, H, W)."""
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None].abs().expand(-1, width)
    across = torch.fft.fftfreq(width, dtype=torch.float64)[None].abs().expand(height, -1)
    # A tolerance, since the axis and its neighbours are compared with a rounded fraction.
    vertical, horizontal = down < 1.5 / height, across < 1.5 / width
    places = [torch.ones(height, width, dtype=torch.bool), vertical, horizontal]
    frequencies = [torch.hypot(down, across), across, down]
    masks = [
        place & (frequency > 1 / longest) & ((frequency <= 1 / shortest) | (shortest == 2))
        for place, frequency in zip(places, frequencies, strict=True)
        for shortest, longest in BANDS.values()
    ]
    return torch.stack([mask.double() / mask.sum() for mask in masks])
