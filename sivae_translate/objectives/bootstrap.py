r"""Bootstrap Soft-IntroVAE (arXiv 2012.13253, section 4): the decoder maximises the whole ELBO of fakes.

.. math::
    L_E &= -ELBO(x) + \tfrac14 \sum_f E[\exp(-2\,scale\,(\beta_{rec} L_{rec}(f) + \beta_{neg} KL(f)))] \\
    L_D &= -ELBO(x) + \tfrac{scale}{2} \sum_f (\beta_{kl\_fake} KL(f) + \gamma_r \beta_{rec} L_{rec}'(f))

L_rec' uses a target decoder: a copy of the decoder that is updated every ``target_steps`` steps. Its gradient
flows into the fake itself, through the frozen encoders and the frozen copy. gamma_r is 0.5 to 1 in the paper.
"""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn

from sivae_translate.config import ObjectiveConfig
from sivae_translate.models.codes import Codes
from sivae_translate.models.latent import LatentModel
from sivae_translate.objectives.fakes import FakePosterior, Fakes
from sivae_translate.objectives.soft_intro import SoftIntroVAE


class BootstrapSoftIntroVAE(SoftIntroVAE):
    """Soft-IntroVAE with a target decoder. See `Objective` for the arguments."""

    def __init__(self, config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> None:
        super().__init__(config, model, scale)
        self.target: nn.Module = deepcopy(model.decoder).requires_grad_(False)

    def rebuild_error(self, fakes: Fakes, reading: FakePosterior) -> Tensor:
        """L_rec(f) under the target decoder, (2B,), attached to the fakes on both sides."""
        return self.passes.fake_error(fakes.images, reading, self._target_logits, fakes.images)

    def companions(self) -> dict[str, nn.Module]:
        """The target decoder, and the modules of every introspective objective."""
        return {**super().companions(), "target_decoder": self.target}

    def networks(self) -> list[nn.Module]:
        """Networks including the target decoder."""
        return [*super().networks(), self.target]

    def after_step(self, step: int) -> None:
        """Update the target decoder every ``target_steps`` steps."""
        if step % self.config.target_steps == 0:
            self.target.load_state_dict(self.model.decoder.state_dict())

    def _target_logits(self, codes: Codes) -> Tensor:
        images: Tensor = self.target(codes.content, codes.style)
        return images
