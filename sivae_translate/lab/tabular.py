r"""The idealised game of Soft-IntroVAE on finite sets (arXiv 2012.13253, section 4).

Sums are exact, in float64. x takes n values and z takes m; p_data(x) and p(z) are given, the decoder is a
table p_d(x | z), the encoder a table q(z | x). With

.. math::
    W(x) &= E_{q(z|x)}[\log p_d(x|z)] - KL(q(z|x) \| p(z)) = \log p_d(x) - KL(q(z|x) \| p_d(z|x)) \\
    L_E &= E_{p_{data}}[W(x)] - \tfrac1\alpha E_{p_d}[e^{\alpha W(x)}] \\
    L_D &= E_{p_{data}}[W(x)] + \gamma E_{p_d}[W(x)]

the encoder maximises L_E and the decoder L_D. The paper's theorem: if p_d*(x)^(alpha + 1) <= p_data(x)
wherever p_data(x) > 0, there is an equilibrium at which p_d* minimises KL(p_data || p_d) + gamma H(p_d) and
q* is the posterior p_d*(z | x).

IntroVAE's game, for comparison, replaces L_E by E_{p_data}[W(x)] - E_{p_d}[max(0, m - KL(q(z|x) || p(z)))]
and the decoder's second term by - gamma E_{p_d}[KL(q(z|x) || p(z))].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sivae_translate.utils.errors import TrainingError

Rule = Literal["soft_introvae", "introvae"]


@dataclass(frozen=True)
class Instance:
    """N random problems.

    Attributes:
        data: p_data, (N, n), float64.
        prior: p(z), (N, m).
    """

    data: Tensor
    prior: Tensor

    @classmethod
    def random(cls, count: int, values: int, latents: int, seed: int, concentration: float = 1.0) -> Instance:
        """Draw p_data from a Dirichlet distribution and p(z) from a flatter one."""
        rng = np.random.default_rng(seed)
        data = torch.from_numpy(rng.dirichlet(np.full(values, concentration), count))
        return cls(0.98 * data + 0.02 / values, torch.from_numpy(rng.dirichlet(np.full(latents, 5.0), count)))


@dataclass(frozen=True)
class Outcome:
    """The final state of a game.

    Attributes:
        decoder: p_d(x | z), (N, m, n).
        encoder: q(z | x), (N, n, m).
        marginal: p_d(x), (N, n).
        posterior_gap: largest KL(q(z|x) || p_d(z|x)) over x, (N,), nats.
        drift: largest change of p_d(x) over the last tenth of the iterations, (N,); near 0 if the game has
            converged.
    """

    decoder: Tensor
    encoder: Tensor
    marginal: Tensor
    posterior_gap: Tensor
    drift: Tensor


def elbo(log_decoder: Tensor, log_encoder: Tensor, log_prior: Tensor) -> tuple[Tensor, Tensor]:
    """W(x) and KL(q(z|x) || p(z)), (N, n) each.

    Args:
        log_decoder: log p_d(x | z), (N, m, n).
        log_encoder: log q(z | x), (N, n, m).
        log_prior: log p(z), (N, m).
    """
    q = log_encoder.exp()
    kl = (q * (log_encoder - log_prior[:, None])).sum(-1)
    return (q * log_decoder.mT).sum(-1) - kl, kl


def encoder_value(
    w: Tensor, kl: Tensor, data: Tensor, marginal: Tensor, rule: Rule, alpha: float, margin: float
) -> Tensor:
    """L_E, (N,); see the module's docstring."""
    real = (data * w).sum(-1)
    if rule == "introvae":
        return real - (marginal * torch.relu(margin - kl)).sum(-1)
    return real - (marginal * torch.exp(alpha * w)).sum(-1) / alpha


def decoder_value(w: Tensor, kl: Tensor, data: Tensor, marginal: Tensor, rule: Rule, gamma: float) -> Tensor:
    """L_D, (N,); see the module's docstring."""
    fake = -kl if rule == "introvae" else w
    return (data * w).sum(-1) + gamma * (marginal * fake).sum(-1)


def play(
    instance: Instance,
    *,
    gamma: float = 1.0,
    alpha: float = 2.0,
    rule: Rule = "soft_introvae",
    margin: float = 2.0,
    iterations: int = 6000,
    rate: float = 0.05,
    seed: int = 0,
) -> Outcome:
    """Play the game: both players follow their own gradient, from random tables, with a decaying step.

    Args:
        instance: N problems.
        gamma: weight of fakes for the decoder.
        alpha: alpha of the expELBO.
        rule: which game.
        margin: margin of IntroVAE in nats.
        iterations: steps of each player.
        rate: initial learning rate of Adam; it falls linearly to a thousandth.
        seed: seed of the initial tables.
    """
    generator = torch.Generator().manual_seed(seed)
    count, values = instance.data.shape
    latents = instance.prior.shape[1]
    decoder = torch.randn(count, latents, values, generator=generator, dtype=torch.float64).requires_grad_()
    encoder = torch.randn(count, values, latents, generator=generator, dtype=torch.float64).mul_(0.1)
    encoder.requires_grad_()
    # The encoder learns faster: the theorem assumes its best response.
    players = torch.optim.Adam(
        [{"params": [decoder], "lr": rate}, {"params": [encoder], "lr": 4 * rate}], betas=(0.9, 0.99)
    )
    log_prior, rates = instance.prior.log(), [group["lr"] for group in players.param_groups]
    history = []
    for iteration in range(iterations):
        for group, height in zip(players.param_groups, rates, strict=True):
            group["lr"] = height * max(1e-3, 1 - iteration / iterations)
        log_decoder, log_encoder = decoder.log_softmax(-1), encoder.log_softmax(-1)
        marginal = (log_decoder.exp() * instance.prior[..., None]).sum(1)
        w, kl = elbo(log_decoder, log_encoder, log_prior)
        gain = encoder_value(w, kl, instance.data, marginal, rule, alpha, margin).sum()
        encoder.grad = -torch.autograd.grad(gain, encoder, retain_graph=True)[0]
        gain = decoder_value(w, kl, instance.data, marginal, rule, gamma).sum()
        decoder.grad = -torch.autograd.grad(gain, decoder)[0]
        players.step()
        if iteration >= 0.9 * iterations:
            history.append(marginal.detach())
    log_decoder, log_encoder = decoder.detach().log_softmax(-1), encoder.detach().log_softmax(-1)
    return _outcome(instance, log_decoder, log_encoder, torch.stack(history))


def _outcome(instance: Instance, log_decoder: Tensor, log_encoder: Tensor, history: Tensor) -> Outcome:
    joint = log_decoder.exp() * instance.prior[..., None]
    marginal = joint.sum(1)
    log_posterior = (joint / marginal[:, None]).mT.log()
    gap = (log_encoder.exp() * (log_encoder - log_posterior)).sum(-1).amax(-1)
    drift = (history - history[-1]).abs().amax((0, 2))
    return Outcome(log_decoder.exp(), log_encoder.exp(), marginal, gap, drift)


def target_value(marginal: Tensor, data: Tensor, gamma: float) -> Tensor:
    """KL(p_data || p_d) + gamma H(p_d) in nats, (N,), for p_d and p_data of shape (N, n)."""
    return (data * (data.log() - marginal.log())).sum(-1) - gamma * (marginal * marginal.log()).sum(-1)


def minimise_target(data: Tensor, gamma: float, starts: int | Tensor = 20, seed: int = 0) -> Tensor:
    """Minimise `target_value` over all distributions by constrained optimisation (SLSQP), without the game.

    The problem is not convex for large gamma, so the best of several starts is taken.

    Args:
        data: p_data, (n,).
        gamma: weight of the entropy.
        starts: number of random starts besides p_data itself, or the starts, (K, n).
        seed: seed of the starts.

    Returns:
        (n,) float64.
    """
    from scipy.optimize import minimize

    rng, p = np.random.default_rng(seed), data.numpy()
    tiny = 1e-9

    def value(x: np.ndarray) -> float:
        return float(-(p * np.log(x)).sum() - gamma * (x * np.log(x)).sum())

    def slope(x: np.ndarray) -> np.ndarray:
        return np.asarray(-p / x - gamma * (np.log(x) + 1))

    best: tuple[float, np.ndarray] | None = None
    tried = starts.numpy() if isinstance(starts, Tensor) else [p, *rng.dirichlet(np.ones(len(p)), starts)]
    for start in tried:
        solution = minimize(
            value,
            np.clip(start, 1e-6, None),
            jac=slope,
            bounds=[(tiny, 1.0)] * len(p),
            constraints={"type": "eq", "fun": lambda x: x.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"maxiter": 500, "ftol": 1e-14},
        )
        if abs(solution.x.sum() - 1) < 1e-8 and (best is None or solution.fun < best[0]):
            best = (float(solution.fun), solution.x)
    if best is None:
        raise TrainingError("the constrained optimisation found no distribution", remedy="give other starts")
    return torch.from_numpy(best[1])


def assumption_holds(marginal: Tensor, data: Tensor, alpha: float) -> Tensor:
    """Whether p_d(x)^(alpha + 1) <= p_data(x) for every x (the theorem's assumption), (N,) bool."""
    return (marginal ** (alpha + 1) <= data).all(-1)
