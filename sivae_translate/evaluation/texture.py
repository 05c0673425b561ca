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
from dataclasses import dataclass
from functools import lru_cache
from statistics import geometric_mean

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class Texture:
    """Power of translations over that of real images.

    Attributes:
        ratios: to each of `NAMES` a ratio.
        within: whether it is within `LOWEST` to `HIGHEST`.
    """

    ratios: Mapping[str, float]
    within: Mapping[str, bool]

    @classmethod
    def of(cls, ratios: Mapping[str, float]) -> Texture:
        """Ratios with the verdict on each."""
        return cls(dict(ratios), {name: is_right(ratio) for name, ratio in ratios.items()})


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
    ours, theirs = (powers.mean(0).clamp_min(ROUNDING) for powers in (translations, real))
    return Texture.of(dict(zip(NAMES, (ours / theirs).tolist(), strict=True)))


def is_right(ratio: float) -> bool:
    """Whether a ratio, rounded as tables show it, is within `LOWEST` to `HIGHEST`."""
    return LOWEST <= round(ratio, 2) <= HIGHEST


def verdict(ratio: float) -> str:
    """A ratio as tables show it.

    >>> verdict(1.0), verdict(0.5), verdict(2.0)
    ('1.00', '0.50 (blur)', '2.00 (texture)')
    """
    name = "" if is_right(ratio) else " (blur)" if ratio < LOWEST else " (texture)"
    return f"{ratio:.2f}{name}"


def count_right(textures: Sequence[Texture]) -> str:
    """How many of the numbers of some textures are right, as reports say it.

    >>> count_right([Texture.of({"2-4": 1.0, "4-8": 0.5, "8-16": 1.1})])
    '2 of 3 numbers within 0.8 to 1.25'
    """
    verdicts = [right for texture in textures for right in texture.within.values()]
    return f"{sum(verdicts)} of {len(verdicts)} numbers within {LOWEST:g} to {HIGHEST:g}"


def texture_cells(textures: Sequence[Texture]) -> list[str]:
    """Cells of a table under `NAMES`: the ratio and what it means; of several textures the geometric mean,
    with the lowest and the highest and what these mean: a blur and a texture can have a mean of 1.
    """
    cells = []
    for name in NAMES:
        ratios = [texture.ratios[name] for texture in textures]
        reach = f"{verdict(min(ratios))} to {verdict(max(ratios))}"
        cells.append(f"{geometric_mean(ratios):.2f}, {reach}" if len(ratios) > 1 else verdict(ratios[0]))
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
