r"""Metrics of 2D models: the published ones with their published definitions, and sound ones.

Published (arXiv 2012.13253, appendix; lower is better):

- gnELBO: minus the ELBO (squared error of the mean's reconstruction + KL, both with weight 1) of 100 batches
  of data, divided by the sum of the same over these batches and a 1024 x 1024 grid, then averaged.
- KL and JSD between histograms of 5,000 real and 5,000 generated points on 100 x 100 bins. Densities (not
  probabilities) enter, 1e-14 is added inside the logarithm, and the sum is divided by 100, the number of
  histogram rows. The arguments of the JSD's two divergences are swapped, :math:`\tfrac12 KL(m \| p) +
  \tfrac12 KL(m \| q)` with m the mean: it is not bounded by ln 2.

Sound:

- KL(model || data): an estimate of the entropy of generated points from their nearest neighbours (Kozachenko
  and Leonenko, 1987), and the exact log density of the data, clipped below at log 1e-30.
- Sliced Wasserstein-1 distance over fixed directions.
- Modes found (8 Gaussians), and fraction of generated points off the support.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sivae_translate.lab.planes import MODE_SIGMA, Plane, modes

POINTS = 5_000
BINS = 100
GRID = 1024
PART = 2**16
TINY = 1e-14
FLOOR = math.log(1e-30)
"""Log density in place of minus infinity: a point off the checkerboard costs 69 nats."""

Cost = Callable[[Tensor], Tensor]
"""Minus the ELBO of points: (N, 2) to (..., N), one row per model."""


def histogram(points: Tensor, reach: float) -> np.ndarray:
    """Density on 100 x 100 bins over [-reach, reach] squared; points outside are not counted."""
    limits = [[-reach, reach], [-reach, reach]]
    density, _, _ = np.histogram2d(
        points[:, 0].numpy(), points[:, 1].numpy(), bins=BINS, range=limits, density=True
    )
    cleaned: np.ndarray = np.nan_to_num(density)  # 0 / 0 if all points are outside
    return cleaned


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """The published KL(p || q) of two histograms: sum p (log p - log(q + 1e-14)) / number of rows."""
    logs = np.log(np.where(p > 0, p, 1.0)) - np.log(q + TINY)
    return float((p * logs).sum() / len(p))


def histogram_kl(real: Tensor, fake: Tensor, reach: float) -> float:
    """The published KL(real || fake) between histograms."""
    return _divergence(histogram(real, reach), histogram(fake, reach))


def histogram_jsd(real: Tensor, fake: Tensor, reach: float) -> float:
    """The published JSD, with the arguments of its divergences swapped."""
    p, q = histogram(real, reach), histogram(fake, reach)
    mean = 0.5 * (p + q)
    return 0.5 * (_divergence(mean, p) + _divergence(mean, q))


def gnelbo(cost: Cost, real: Tensor, reach: float) -> np.ndarray:
    """The published grid-normalised ELBO.

    Args:
        cost: minus the ELBO of points.
        real: points of the data, (N, 2); the paper uses 100 batches of 128.
        reach: half the side of the square that the grid covers.

    Returns:
        (...,) float64, one number per model.
    """
    axis = torch.linspace(-reach, reach, GRID)
    grid = torch.cartesian_prod(axis, axis)
    own = cost(real).double()
    total = own.sum(-1)
    for start in range(0, len(grid), PART):
        total = total + cost(grid[start : start + PART]).double().sum(-1)
    overlaps: np.ndarray = (own.mean(-1) / total).numpy()
    return overlaps


def entropy(points: Tensor, neighbour: int = 3) -> float:
    """Kozachenko-Leonenko estimate, in nats, of the entropy of the distribution of points (N, 2)."""
    from scipy.spatial import cKDTree

    x = points.double().numpy()
    distance = cKDTree(x).query(x, k=neighbour + 1)[0][:, -1]
    psi = torch.digamma(torch.tensor([float(len(x)), float(neighbour)], dtype=torch.float64))
    return float(psi[0] - psi[1] + math.log(math.pi) + 2 * np.log(np.maximum(distance, 1e-12)).mean())


def kl_to_data(fake: Tensor, plane: Plane) -> float | None:
    """KL(model || data) in nats, from generated points (N, 2); None if the data's density is unknown."""
    logs = plane.log_density(fake)
    if logs is None:
        return None
    return -entropy(fake) - float(logs.clamp(min=FLOOR).mean())


def sliced_wasserstein(real: Tensor, fake: Tensor, directions: int = 64) -> float:
    """Wasserstein-1 distance of projections, averaged over evenly spread directions.

    Args:
        real: points (N, 2).
        fake: the same number of points, (N, 2).
        directions: number of directions.
    """
    angle = torch.arange(directions) * (math.pi / directions)
    axes = torch.stack([angle.cos(), angle.sin()])
    a, b = ((x @ axes).sort(0).values for x in (real, fake))
    return float((a - b).abs().mean())


def modes_found(fake: Tensor, least: float = 0.2) -> int:
    """How many of the eight Gaussians have, within 5 sigma, at least ``least`` of their fair share of points.

    Args:
        fake: points (N, 2).
        least: minimum, as a fraction of N / 8.
    """
    near = torch.cdist(fake, modes()) < 5 * MODE_SIGMA
    return int((near.float().mean(0) >= least / 8).sum())


def measure(plane: Plane, real: Tensor, fake: Tensor) -> dict[str, float]:
    """All metrics that need only points.

    Args:
        plane: distribution of the data.
        real: points of the data, (N, 2).
        fake: the same number of generated points, or other real points for the noise floor.
    """
    metrics = {
        "kl": histogram_kl(real, fake, plane.reach),
        "jsd": histogram_jsd(real, fake, plane.reach),
        "sliced_wasserstein": sliced_wasserstein(real, fake),
        "off_support": float(plane.off_support(fake).float().mean()),
    }
    exact = kl_to_data(fake, plane)
    if exact is not None:
        metrics["kl_to_data"] = exact
    if plane.name == "8gaussians":
        metrics["modes"] = modes_found(fake)
    return metrics
