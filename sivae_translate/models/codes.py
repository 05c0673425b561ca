"""Content and style codes and their diagonal Gaussians, as small dataclasses with documented shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sivae_translate.models.fused import drawn, kl_to_unit


@dataclass(frozen=True)
class Gaussian:
    """Diagonal Gaussian N(mean, exp(logvar)) over the trailing dimensions of its parameters.

    Attributes:
        mean: (B, ...) float.
        logvar: (B, ...) float, natural logarithm of the variance.

    >>> posterior = Gaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    >>> posterior.kl(prior_mean=1.0)
    tensor([1.5000, 1.5000])
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A reparametrised draw: mean + exp(logvar / 2) * N(0, I); same shape as the mean."""
        noise = torch.empty_like(self.mean).normal_(generator=generator)
        return drawn(self.mean, self.logvar, noise)

    def kl(self, prior_mean: Tensor | float = 0.0) -> Tensor:
        r"""KL divergence to N(prior_mean, I) in nats, summed over the code:

        .. math:: \tfrac12 \sum_i (\mu_i - m_i)^2 + \sigma_i^2 - \log \sigma_i^2 - 1

        Args:
            prior_mean: broadcasts against the mean.

        Returns:
            (B,) non-negative.
        """
        if isinstance(prior_mean, Tensor) and prior_mean.shape == self.mean.shape:
            return kl_to_unit(self.mean, self.logvar, prior_mean)
        shifted = self.mean if isinstance(prior_mean, float) and prior_mean == 0 else self.mean - prior_mean
        return kl_to_unit(shifted, self.logvar, None)

    def doubled_kl_terms(self, prior_mean: Tensor | float = 0.0) -> Tensor:
        """Twice the contribution of each number of the code to `kl`, in the mean's shape."""
        difference = self.mean - prior_mean
        return difference.square() + self.logvar.exp() - self.logvar - 1.0

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of codes shaped like the mean, in nats: (B,)."""
        terms = (value - self.mean).square() * torch.exp(-self.logvar) + self.logvar + _LOG_2PI
        return -0.5 * terms.flatten(1).sum(1)

    @classmethod
    def join(cls, parts: Sequence[Gaussian]) -> Gaussian:
        """Concatenate the Gaussians of several batches."""
        if len(parts) == 1:
            return parts[0]
        return cls(torch.cat([part.mean for part in parts]), torch.cat([part.logvar for part in parts]))

    def detach(self) -> Gaussian:
        """The same Gaussian without gradient."""
        return Gaussian(self.mean.detach(), self.logvar.detach())

    def __getitem__(self, index: Tensor | slice) -> Gaussian:
        return Gaussian(self.mean[index], self.logvar[index])


_LOG_2PI = 1.8378770664093453


@dataclass(frozen=True)
class Codes:
    """The codes of images.

    Attributes:
        content: (B, Cc, h, w) float; shared across domains.
        style: (B, S) float; the domain and, within it, the image.

    >>> codes = Codes(torch.zeros(5, 16, 4, 4), torch.zeros(5, 32))
    >>> len(codes[:2]), codes[:2].style.shape
    (2, torch.Size([2, 32]))
    """

    content: Tensor
    style: Tensor

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, index: Tensor | slice) -> Codes:
        return Codes(self.content[index], self.style[index])

    def map(self, function: Callable[[Tensor], Tensor]) -> Codes:
        """Apply a function to both codes."""
        return Codes(function(self.content), function(self.style))

    def detach(self) -> Codes:
        """The same codes without gradient."""
        return self.map(Tensor.detach)


@dataclass(frozen=True)
class Posterior:
    """q(c | x) and q(s | x) of a batch.

    Attributes:
        content: Gaussian with parameters (B, Cc, h, w).
        style: Gaussian with parameters (B, S).

    >>> narrow = [Gaussian(torch.ones(size), torch.zeros(size)) for size in ((1, 16, 4, 4), (1, 32))]
    >>> Posterior(*narrow).mean.style.sum()
    tensor(32.)
    """

    content: Gaussian
    style: Gaussian

    @classmethod
    def join(cls, parts: Sequence[Posterior]) -> Posterior:
        """Concatenate the posteriors of several batches."""
        content, style = ([getattr(part, name) for part in parts] for name in ("content", "style"))
        return cls(Gaussian.join(content), Gaussian.join(style))

    def sample(self, generator: torch.Generator | None = None) -> Codes:
        """One reparametrised draw of both codes."""
        return Codes(self.content.sample(generator), self.style.sample(generator))

    @property
    def mean(self) -> Codes:
        """The most likely codes."""
        return Codes(self.content.mean, self.style.mean)

    def detach(self) -> Posterior:
        """The same posteriors without gradient."""
        return Posterior(self.content.detach(), self.style.detach())

    def __getitem__(self, index: Tensor | slice) -> Posterior:
        return Posterior(self.content[index], self.style[index])
