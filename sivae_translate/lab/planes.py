"""The four published 2D data sets (arXiv 2012.13253, appendix), with exact densities if known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from sivae_translate.utils.choices import PlaneName

NAMES: tuple[PlaneName, ...] = get_args(PlaneName)

MODE_RADIUS = 2 / 1.414
MODE_SIGMA = 0.02 / 1.414
RING_RADII = (3.0, 2.25, 1.5, 0.75)
RING_SIGMA = 0.08
SPIRAL_TURN = 3 * math.pi
"""Largest angle of a spiral's arm; the radius is (angle / 3)."""


@dataclass(frozen=True)
class Plane:
    """A distribution on the plane.

    Attributes:
        name: name of the data set.
        reach: metrics cover [-reach, reach] squared, as published.
    """

    name: PlaneName

    @property
    def reach(self) -> float:
        """Half the side of the square that metrics cover: 2 for 8 Gaussians, else 4."""
        return 2.0 if self.name == "8gaussians" else 4.0

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw points, (count, 2) float32."""
        if self.name == "8gaussians":
            mode = torch.randint(8, (count,), generator=generator)
            return modes()[mode] + MODE_SIGMA * torch.randn(count, 2, generator=generator)
        if self.name == "spiral":
            return _spiral(count, generator)
        if self.name == "checkerboard":
            return _checkerboard(count, generator)
        radius = torch.tensor(RING_RADII)[torch.randint(4, (count,), generator=generator)]
        angle = 2 * math.pi * torch.rand(count, generator=generator)
        ring = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
        return ring + RING_SIGMA * torch.randn(count, 2, generator=generator)

    def log_density(self, points: Tensor) -> Tensor | None:
        """Exact log density in nats, (...,) for points (..., 2).

        It is None for the spiral, which has no closed form, and minus infinity off the checkerboard's
        squares.
        """
        x = points.double()
        if self.name == "8gaussians":
            squared = (x[..., None, :] - modes().double()).square().sum(-1)
            logs = -0.5 * squared / MODE_SIGMA**2 - math.log(2 * math.pi * MODE_SIGMA**2)
            return torch.logsumexp(logs, -1) - math.log(8)
        if self.name == "checkerboard":
            column, row = (x / 2).floor().unbind(-1)
            inside = (x.abs() < 4).all(-1) & ((column + row) % 2 == 0)
            return torch.where(inside, -math.log(32.0), -math.inf)
        if self.name == "rings":
            return _log_rings(x)
        return None

    def off_support(self, points: Tensor) -> Tensor:
        """Which points are where data hardly ever is, (...,) bool for points (..., 2).

        That is more than 5 sigma from every mode or arm, 3 sigma from every ring (rings are close), or 0.1
        off the checkerboard's squares.
        """
        if self.name == "8gaussians":
            return _distance(points, modes()) > 5 * MODE_SIGMA
        if self.name == "rings":
            radius: Tensor = points.norm(dim=-1)
            gap: Tensor = (radius[..., None] - torch.tensor(RING_RADII)).abs().amin(-1)
            return gap > 3 * RING_SIGMA
        if self.name == "checkerboard":
            shifts = torch.tensor([[0.0, 0.0], [0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]])
            logs = self.log_density(points[..., None, :] + shifts)
            assert logs is not None
            return torch.isinf(logs).all(-1)
        arm = _arm(torch.linspace(0, SPIRAL_TURN, 2000), torch.full((2, 2000), 0.25))
        return (
            _distance(points, torch.cat([arm, -arm])) > 0.5 + 0.12
        )  # 5 sigma of its noise, and half the diagonal of the uniform part


def modes() -> Tensor:
    """Centres of the eight Gaussians, (8, 2)."""
    angle = torch.arange(8) * (math.pi / 4)
    return MODE_RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


def _distance(points: Tensor, places: Tensor) -> Tensor:
    """Distance of points (..., 2) to the nearest of several places (K, 2): (...,)."""
    return torch.cdist(points.reshape(-1, 2), places).amin(1).reshape(points.shape[:-1])


def _arm(angle: Tensor, jitter: Tensor) -> Tensor:
    return torch.stack([-angle.cos() * angle + jitter[0], angle.sin() * angle + jitter[1]], 1) / 3


def _spiral(count: int, generator: torch.Generator) -> Tensor:
    """Two arms; the second one is the first rotated by half a turn."""
    angle = torch.rand(count, generator=generator).sqrt() * SPIRAL_TURN
    arm = _arm(angle, 0.5 * torch.rand(2, count, generator=generator))
    side = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    return side[:, None] * arm + 0.1 * torch.randn(count, 2, generator=generator)


def _checkerboard(count: int, generator: torch.Generator) -> Tensor:
    """Uniform on the eight squares of side 2 of a 4 x 4 board whose column and row have an even sum."""
    x = 4 * torch.rand(count, generator=generator) - 2
    row = torch.rand(count, generator=generator) - 2.0 * torch.randint(0, 2, (count,), generator=generator)
    return 2 * torch.stack([x, row + x.floor() % 2], 1)


def _log_rings(x: Tensor) -> Tensor:
    """Log density of the rings: a uniform angle plus Gaussian noise gives a Rice density of the radius."""
    radius = x.norm(dim=-1)[..., None]
    centre = torch.tensor(RING_RADII, dtype=torch.float64)
    variance = RING_SIGMA**2
    scaled_bessel = torch.special.i0e(radius * centre / variance)
    logs = -((radius - centre) ** 2) / (2 * variance) + scaled_bessel.log() - math.log(2 * math.pi * variance)
    return torch.logsumexp(logs, -1) - math.log(len(RING_RADII))
