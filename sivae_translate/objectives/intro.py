r"""IntroVAE (arXiv 1807.06358, eqs. 11 and 12): fakes are pushed to a KL of at least ``margin`` by a hinge.

.. math::
    L_E &= -ELBO(x) + \tfrac{scale\,\beta_{neg}}{2} \sum_f \max(0, margin - KL(f)) \\
    L_D &= -ELBO(x) + \tfrac{scale}{2} \sum_f (\beta_{kl\_fake} KL(f) + \gamma_r \beta_{rec} L_{rec}(f))
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.objectives.schedule import MARGIN, Number, Weights


class IntroVAE(Introspective):
    """The hinge objective, without the reconstruction error of fakes. See `Objective` for the arguments."""

    @property
    def margin(self) -> float:
        """In nats: as configured, or `MARGIN` times the KL of real images before fakes took part."""
        return MARGIN * self.undisturbed_kl() if self.config.margin is None else self.config.margin

    def push(self, state: GameState, weights: Weights) -> Tensor:
        """Scale * beta_neg/2 * mean of max(0, margin - KL(f)), of both kinds of fakes; scalar."""
        strength = self.scale * 0.5 * self.beta_neg(weights)
        margin = self.margin if weights.margin is None else weights.margin
        first, second = (state.fake_posterior.kl[kind] for kind in state.fakes.kinds)
        return strength * torch.relu(margin - first).mean() + strength * torch.relu(margin - second).mean()

    def settled(self, weights: Weights) -> Weights:
        """Weights with the margin, and beta_neg."""
        return replace(super().settled(weights), margin=self.margin)

    def beta_neg(self, weights: Weights) -> Number:
        """As configured; 1 by default, since the margin determines the reach of the hinge."""
        return 1.0 if weights.beta_neg is None else weights.beta_neg
