r"""Soft-IntroVAE (arXiv 2012.13253, eqs. 5 and 6, alpha = 2): fakes are pushed by their expELBO.

.. math::
    L_E &= -ELBO(x) + \tfrac14 \sum_f E[\exp(-2\,scale\,(\beta_{rec} L_{rec}(f) + \beta_{neg} KL(f)))] \\
    L_D &= -ELBO(x) + \tfrac{scale}{2} \sum_f (\beta_{kl\_fake} KL(f) + \gamma_r \beta_{rec} L_{rec}(f))
"""

from __future__ import annotations

from torch import Tensor

from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.fakes import GameState
from sivae_translate.objectives.schedule import Weights
from sivae_translate.objectives.terms import exp_elbo


class SoftIntroVAE(Introspective):
    """Soft-IntroVAE, which needs no margin. See `Objective` for the arguments."""

    def push(self, state: GameState, weights: Weights) -> Tensor:
        """A quarter of the mean expELBO, of both kinds of fakes; scalar."""
        # Both kinds have the same number of fakes.
        return 0.5 * exp_elbo(self.fake_cost(state, weights), self.scale)
