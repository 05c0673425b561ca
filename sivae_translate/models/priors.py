r"""Priors of the content code or a plain model's latent: standard normal, or a learned Gaussian mixture.

.. math:: p(c) = \frac1K \sum_k \mathcal N(c; m_k, \mathrm{diag}(e^{v_k}))

A learned prior can take the shape of the data's codes (Prior Learning in Introspective VAEs, arXiv
2408.13805). Its KL has no closed form, so the KL of a posterior is estimated with one draw from it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sivae_translate.models.codes import Gaussian

LEAST_LOGVAR = -4.0
"""Lower bound of the components' log variances: a spike on a few codes would have unbounded density."""


class StandardPrior(nn.Module):
    """N(0, I).

    Args:
        shape: of a code.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def kl(self, posterior: Gaussian) -> Tensor:
        """KL(q || p) in nats, exact: (B,)."""
        return posterior.kl()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of codes (B, *shape) in nats: (B,)."""
        return -0.5 * (value.square() + math.log(2 * math.pi)).flatten(1).sum(1)

    def sample(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draws, (count, *shape)."""
        return torch.randn(count, *self.shape, device=device, generator=generator)


class MixturePrior(nn.Module):
    """K Gaussians of equal weight with learned means and variances.

    Args:
        shape: of a code.
        components: K.
    """

    def __init__(self, shape: tuple[int, ...], components: int) -> None:
        super().__init__()
        self.shape = shape
        size = math.prod(shape)
        self.means = nn.Parameter(torch.randn(components, size))
        self.logvars = nn.Parameter(torch.zeros(components, size))

    def kl(self, posterior: Gaussian) -> Tensor:
        """KL(q || p) in nats, (B,), an unbiased estimate from one draw; it can be negative."""
        draw = posterior.sample()
        return posterior.log_prob(draw) - self.log_prob(draw)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of codes (B, *shape) in nats: (B,)."""
        flat, logvars = value.flatten(1), self._logvars()
        scaled = (flat[:, None] - self.means).square() * torch.exp(-logvars) + logvars + math.log(2 * math.pi)
        return torch.logsumexp(-0.5 * scaled.sum(-1), 1) - math.log(len(self.means))

    def sample(self, count: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Draws, (count, *shape)."""
        chosen = torch.randint(len(self.means), (count,), device=device, generator=generator)
        noise = torch.randn(count, self.means.shape[1], device=device, generator=generator)
        drawn = self.means[chosen] + torch.exp(0.5 * self._logvars()[chosen]) * noise
        return drawn.reshape(count, *self.shape)

    def _logvars(self) -> Tensor:
        return self.logvars.clamp(min=LEAST_LOGVAR)


def make_prior(shape: tuple[int, ...], components: int) -> StandardPrior | MixturePrior:
    """N(0, I) for 0 components, else a learned mixture."""
    return MixturePrior(shape, components) if components else StandardPrior(shape)
