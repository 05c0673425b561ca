r"""The texture test: do translations have as much fine structure as real images of their domain?

.. math:: \frac{\sum_{k} \overline{|\mathcal F(w (x - \bar x))(k)|^2}}
    {\sum_{k} \overline{|\mathcal F(w (y - \bar y))(k)|^2}}

for translations x and real images y, a Hann window w, and the frequencies k of a band; the bars over the
spectra denote means over channels and images. 1 is right; below 1, translations are blurred; above 1, they
have a texture that their domain does not have. In the sum over all directions, stripes and blur can cancel,
so horizontal and vertical stripes are also measured separately.
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
"""Ranges of periods in pixels. Periods below 2 pixels (checkerboards, oblique stripes) belong to the first
band."""
ORIENTATIONS = ("", " vertical stripes", " horizontal stripes")
NAMES = tuple(f"{band}{orientation}" for orientation in ORIENTATIONS for band in BANDS)
"""Names of the nine numbers, in the order of `band_powers`."""
LOWEST, HIGHEST = 0.8, 1.25
"""Ratios in this range are right."""
SMALLEST_SIDE = 16
"""In pixels: the longest period has to fit into an image."""
ROUNDING = (1 / 255) ** 2 / 12
"""Power of the rounding error of 8 bits, a lower bound that avoids division by zero."""
BATCH = 16
"""Images transformed at a time; at 256 px they take 50 MB."""
RESAMPLES = 200
"""Number of resamples of real images, to find the range by chance."""


@dataclass(frozen=True)
class Texture:
    """Power of translations relative to real images.

    Attributes:
        ratios: the ratio for each of `NAMES`.
        within: whether it is within `LOWEST` to `HIGHEST`.
        chance: range of 95 % of the ratios that the same number of other real images would have; it is wide
            for few images, especially for stripes.
    """

    ratios: Mapping[str, float]
    within: Mapping[str, bool]
    chance: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, ratios: Mapping[str, float], chance: Mapping[str, Sequence[float]] | None = None) -> Texture:
        """Build it from ratios."""
        right = {name: is_right(ratio) for name, ratio in ratios.items()}
        return cls(dict(ratios), right, dict(chance or {}))

    def by_chance(self, name: str) -> bool:
        """Whether a ratio is not right but could be that of real images by chance."""
        low, high = self.chance.get(name, (1, 1))
        return not self.within[name] and low <= self.ratios[name] <= high

    def verdict(self, name: str) -> str:
        """A ratio as shown in tables."""
        return verdict(self.ratios[name], self.by_chance(name))


def band_powers(images: Tensor) -> Tensor:
    """Power of each image in each band: in all directions, and of vertical and horizontal stripes.

    Args:
        images: (N, C, H, W) in [0, 1], sides of `SMALLEST_SIDE` or more.

    Returns:
        (N, 9) float64 in the order of `NAMES`: the mean over a band's frequencies and over channels, scaled
        so that the power of white noise is its variance. Stripes are frequencies on an axis or next to it,
        since the window spreads them that far.

    Raises:
        InputError: a wrong shape, or images that are too small.
    """
    if images.ndim != 4 or min(images.shape[2:]) < SMALLEST_SIDE:
        raise InputError(
            f"cannot measure the texture of images of shape {tuple(images.shape)}",
            remedy=f"pass (N, C, H, W) with sides of {SMALLEST_SIDE} or more",
        )
    window, bins = _window(*images.shape[2:]), _bins(*images.shape[2:])
    return torch.cat([_powers(part, window, bins) for part in torch.split(images.cpu(), BATCH)])


def compare_textures(translations: Tensor, real: Tensor) -> Texture:
    """Ratios of the mean band powers of translations and of real images.

    Args:
        translations: `band_powers` of translations, (N, 9).
        real: `band_powers` of real images of the target domain, (M, 9).

    Raises:
        InputError: either is empty.
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
    """Ends of the 95 % range of ratios between ``count`` and all real images, by chance: (2, 9)."""
    generator = torch.Generator().manual_seed(0)
    means = [
        draw_counts(len(real), drawn, RESAMPLES, generator) @ real / drawn for drawn in (count, len(real))
    ]
    return _ratios(*means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64), 0)


def is_right(ratio: float) -> bool:
    """Whether a ratio, rounded as in tables, is within `LOWEST` to `HIGHEST`."""
    return LOWEST <= round(ratio, 2) <= HIGHEST


def verdict(ratio: float, by_chance: bool = False) -> str:
    """Format a ratio for tables.

    >>> verdict(1.0), verdict(0.5), verdict(2.0, by_chance=True)
    ('1.00', '0.50 (blur)', '2.00 (texture or chance)')
    """
    if is_right(ratio):
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({'blur' if ratio < LOWEST else 'texture'}{' or chance' if by_chance else ''})"


def count_right(textures: Sequence[Texture]) -> str:
    """How many numbers of several textures are right, as a phrase for reports.

    >>> count_right([Texture.of({"2-4": 1.0, "4-8": 0.5, "8-16": 1.1})])
    '2 of 3 numbers within 0.8 to 1.25'
    """
    verdicts = [right for texture in textures for right in texture.within.values()]
    chance = sum(texture.by_chance(name) for texture in textures for name in texture.within)
    more = f", {chance} more within the range of chance" if chance else ""
    return f"{sum(verdicts)} of {len(verdicts)} numbers within {LOWEST:g} to {HIGHEST:g}{more}"


def texture_cells(textures: Sequence[Texture]) -> list[str]:
    """Table cells for `NAMES`: each ratio with its verdict.

    For several textures, a cell has the geometric mean and the lowest and highest ratios with their verdicts,
    since blur and texture can average to 1.
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
    """Hann window, (H, W)."""
    lines = (torch.hann_window(size, dtype=torch.float64) for size in (height, width))
    return torch.outer(*lines)


@lru_cache(maxsize=4)
def _bins(height: int, width: int) -> Tensor:
    """Weight of each frequency in each of `NAMES`, (9, H, W)."""
    down = torch.fft.fftfreq(height, dtype=torch.float64)[:, None].abs().expand(-1, width)
    across = torch.fft.fftfreq(width, dtype=torch.float64)[None].abs().expand(height, -1)
    # With a tolerance, since frequencies are compared with a rounded fraction.
    vertical, horizontal = down < 1.5 / height, across < 1.5 / width
    places = [torch.ones(height, width, dtype=torch.bool), vertical, horizontal]
    frequencies = [torch.hypot(down, across), across, down]
    masks = [
        place & (frequency > 1 / longest) & ((frequency <= 1 / shortest) | (shortest == 2))
        for place, frequency in zip(places, frequencies, strict=True)
        for shortest, longest in BANDS.values()
    ]
    return torch.stack([mask.double() / mask.sum() for mask in masks])
