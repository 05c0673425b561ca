r"""How much the content code of an image can tell about its domain, in nats: a certificate without a probe.

With c a draw from q(c | x), d the domain of x and y its content, both functions of x,

.. math::
    KL(q(c|x) \| p(c)) = I(c; x) + KL(q(c) \| p(c)) \ge I(c; d, y) = I(c; y) + I(c; d | y)

on average over x, and I(c; d) <= I(c; d | y) + I(d; y). So

.. math:: I(c; d) \le KL(q(c|x) \| p(c)) - I(c; y) + I(d; y)

where I(d; y) is 0 if every domain shows the same contents. Of all densities with the mean m and the
covariance S of q(c), the Gaussian has the largest entropy, so KL(q(c) || p(c)) >= KL(N(m, S) || N(0, I)),
which is subtracted as well. docs/evaluation.md derives this step by step.

The images that are measured are the population. Their posteriors are known, so I(c; y) and, to see how tight
the bound is, I(c; d) itself are means of log ratios of mixtures of Gaussians over draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sivae_translate.models.codes import Gaussian
from sivae_translate.models.priors import MixturePrior, StandardPrior

DRAWS = 4
"""Draws from the posterior of each image."""


@dataclass(frozen=True)
class Leak:
    """Information of the content code, in nats; see the module.

    Attributes:
        kl: mean KL of the posteriors under the prior.
        mismatch: KL of a Gaussian with the moments of all codes under the prior; 0 if the prior is learned.
        content: I(c; y); None if it is not known what the images show.
        shared: I(d; y); 0 if every domain shows the same contents, or they are not known.
        entropy: H(d), which no code can exceed.
        measured: I(c; d) among these images.
    """

    kl: float
    mismatch: float
    content: float | None
    shared: float
    entropy: float
    measured: float

    @property
    def certificate(self) -> float:
        """Upper bound of I(c; d)."""
        return max(0.0, self.kl - self.mismatch - (self.content or 0.0) + self.shared)

    def __str__(self) -> str:
        parts = [f"KL {self.kl:.2f}", f"less {self.mismatch:.2f} of mismatch with the prior"]
        if self.content is not None:
            parts.append(f"less {self.content:.2f} about the content")
        if self.shared > 0.005:
            parts.append(f"and {self.shared:.2f} that content and domain share")
        says = "" if self.certificate < self.entropy else ", which excludes nothing"
        return (
            f"a draw of the content tells at most {self.certificate:.2f} nats about the domain "
            f"({', '.join(parts)}), whose entropy is {self.entropy:.2f}{says}; among these images it tells "
            f"{self.measured:.2f}"
        )


@torch.no_grad()
def measure_leak(
    codes: Gaussian,
    domains: Tensor,
    contents: Tensor | None,
    prior: StandardPrior | MixturePrior,
    seed: int = 0,
) -> Leak:
    """The leak of the domain into the content of some images.

    Args:
        codes: q(c | x) of N images, with parameters (N, ...).
        domains: the domain of each, (N,) integers.
        contents: what each shows, (N,) integers; None if that is not known.
        prior: p(c).
        seed: seed of the draws.
    """
    torch_seed = torch.Generator(codes.mean.device).manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the KL under a learned prior is estimated from a draw
        kl = float(prior.kl(codes).double().mean())
    groups = {"domain": torch.unique(domains, return_inverse=True)[1]}
    if contents is not None:
        groups["content"] = torch.unique(contents, return_inverse=True)[1]
    ratios: dict[str, list[Tensor]] = {name: [] for name in groups}
    for _ in range(DRAWS):
        densities = log_densities(codes.sample(torch_seed), codes)
        whole = torch.logsumexp(densities, 1)
        for name, group in groups.items():
            same = group[:, None] == group
            own = torch.logsumexp(densities.masked_fill(~same, -torch.inf), 1)
            log_share = torch.log(same.double().mean(1))
            ratios[name].append(own - whole - log_share)
    informations = {name: max(0.0, float(torch.stack(found).mean())) for name, found in ratios.items()}
    content = informations.get("content")
    shared = 0.0 if content is None else _information(groups["domain"], groups["content"])
    mismatch = moment_kl(codes) if isinstance(prior, StandardPrior) else 0.0
    return Leak(kl, mismatch, content, shared, _entropy(groups["domain"]), informations["domain"])


def log_densities(draws: Tensor, codes: Gaussian) -> Tensor:
    """Log densities of draws (K, ...) under each of N Gaussians, up to a common constant: (K, N), float64."""
    flat = draws.flatten(1).double()
    mean, logvar = codes.mean.flatten(1).double(), codes.logvar.flatten(1).double()
    precision = torch.exp(-logvar)
    offset = (mean.square() * precision + logvar).sum(1)
    return flat @ (mean * precision).T - 0.5 * (flat.square() @ precision.T + offset)


def moment_kl(codes: Gaussian) -> float:
    """KL under N(0, I) of the Gaussian with the mean and the covariance of draws from all codes, in nats."""
    means = codes.mean.flatten(1).double()
    middle = means.mean(0)
    centred = means - middle
    noise = codes.logvar.flatten(1).double().exp().mean(0)
    covariance = centred.T @ centred / len(means) + torch.diag(noise)
    return float(0.5 * (middle @ middle + covariance.trace() - torch.logdet(covariance) - len(middle)))


def _entropy(labels: Tensor) -> float:
    """Entropy in nats of integers from 0, (N,)."""
    shares = labels.bincount().double() / len(labels)
    return float(-torch.xlogy(shares, shares).sum())


def _information(first: Tensor, second: Tensor) -> float:
    """Mutual information in nats of two labels, (N,) integers from 0 each."""
    joint = first * (int(second.max()) + 1) + second
    return max(0.0, _entropy(first) + _entropy(second) - _entropy(joint))
