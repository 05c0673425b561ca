"""What the encoders and the decoder minimise: one file per objective, and `make_objective` to choose one."""

from __future__ import annotations

from sivae_translate.config import ObjectiveConfig
from sivae_translate.models.latent import LatentModel
from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.bootstrap import BootstrapSoftIntroVAE
from sivae_translate.objectives.elbo import ELBO
from sivae_translate.objectives.intro import IntroVAE
from sivae_translate.objectives.soft_intro import SoftIntroVAE
from sivae_translate.utils.choices import ObjectiveName

OBJECTIVES: dict[ObjectiveName, type[Objective]] = {
    "elbo": ELBO,
    "introvae": IntroVAE,
    "soft_introvae": SoftIntroVAE,
    "bootstrap": BootstrapSoftIntroVAE,
}


def make_objective(config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> Objective:
    """The objective that ``config.name`` names; see `Objective` for the arguments."""
    return OBJECTIVES[config.name](config, model, scale)


__all__ = ["OBJECTIVES", "Objective", "make_objective"]
