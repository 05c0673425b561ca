r"""Minus the ELBO for both halves, with weights (Kingma and Welling, arXiv 1312.6114, eq. 3); no fakes.

.. math::
    L_E = L_D = scale\,(\beta_{rec} L_{rec}(x) + \beta_{kl} KL_c(x) + \beta_{style} KL_s(x)
                        + \gamma_{back} \beta_{rec} L_{back}(x))
"""

from __future__ import annotations

from torch import Tensor

from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.fakes import RealState
from sivae_translate.objectives.schedule import Weights


class ELBO(Objective):
    """A VAE to the end of its training; see `Objective` for the arguments."""

    def encoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """Minus the ELBO of real images."""
        return self.negative_elbo(state, weights)

    def decoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """The same."""
        return self.negative_elbo(state, weights)
