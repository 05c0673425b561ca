r"""IntroVAE (arXiv 1807.06358, eqs. 11 and 12): fakes are pushed to a KL of at least ``margin`` by a hinge.

.. math::
    L_E &= -ELBO(x) + \tfrac{scale\,\beta_{neg}}{2} \sum_f \max(0, margin - KL(f)) \\
    L_D &= -ELBO(x) + \tfrac{scale}{2} \sum_f (\beta_{kl\_fake} KL(f) + \gamma_r \beta_{rec} L_{rec}(f))
"""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.objectives.schedule import MARGIN, Weights


class IntroVAE(Introspective):
    """The hinge; the reconstruction error of fakes takes no part in it. See `Objective` for the arguments."""

    @property
    def margin(self) -> float:
        """Nats: as configured, or a little more than real images had while no fakes took part (`MARGIN`)."""
        return MARGIN * self.undisturbed_kl() if self.config.margin is None else self.config.margin

    def push(self, state: GameState, weights: Weights) -> Tensor:
        """Scale * beta_neg/2 * mean of max(0, margin - KL(f)), of both kinds of fakes; scalar."""
        strength, margin = self.scale * 0.5 * self.beta_neg(weights), self.margin
        first, second = (state.fake_posterior.kl[kind] for kind in state.fakes.kinds)
        return strength * torch.relu(margin - first).mean() + strength * torch.relu(margin - second).mean()

    def beta_neg(self, weights: Weights) -> float:
        """As configured; 1 when left out, since the hinge's reach is set by its margin."""
        return 1.0 if weights.beta_neg is None else weights.beta_neg
