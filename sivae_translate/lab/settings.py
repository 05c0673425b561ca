"""Settings of the 2D study; configs/toy.yaml has the published values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from sivae_translate.config import (
    Count,
    NonNegative,
    ObjectiveConfig,
    Positive,
    Section,
    Share,
    read_yaml,
    validated,
)
from sivae_translate.utils.choices import ObjectiveName, PlaneName
from sivae_translate.utils.resources import config_path

SCALE = 0.5
"""1 / number of coordinates, the paper's s in two dimensions."""


class ElboWeights(Section):
    """Weights of the plain VAE."""

    beta_rec: Positive
    beta_kl: Positive


class IntrospectiveWeights(ElboWeights):
    """Weights of the introspective objectives."""

    beta_neg: Positive


class PlaneWeights(Section):
    """Weights of one data set."""

    elbo: ElboWeights
    introspective: IntrospectiveWeights


class ToyConfig(Section):
    """How models of the plane are trained; times are fractions of the iterations."""

    iterations: Count
    batch: Annotated[Count, Field(description="points per replica and step")]
    hidden: Annotated[Count, Field(description="width of the hidden layers")]
    learning_rate: Annotated[Positive, Field(description="initial learning rate of Adam")]
    falls: Annotated[
        tuple[Share, ...], Field(description="times at which the learning rate is divided by ten")
    ]
    warm_up: Annotated[Share, Field(description="fraction of the iterations that train a plain VAE")]
    margin: Annotated[Positive, Field(description="introvae: KL (nats) up to which fakes are pushed away")]
    gamma_r: Annotated[
        NonNegative, Field(description="bootstrap: weight of the reconstruction error of fakes")
    ]
    target_steps: Annotated[
        Count, Field(description="bootstrap: steps after which the target decoder is updated")
    ]
    automatic: Annotated[
        bool, Field(description="balance beta_neg automatically instead of using the values below")
    ] = False
    gamma: Annotated[
        Positive, Field(description="weight of a fake's KL in the decoder's half, as a multiple of beta_kl")
    ] = 1.0
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="precision of products between hidden layers; auto is bfloat16 where that is fast"),
    ] = "auto"
    planes: Annotated[dict[PlaneName, PlaneWeights], Field(description="weights of each data set")]

    def objective(self, plane: PlaneName, name: ObjectiveName) -> ObjectiveConfig:
        """The settings of one objective on one data set."""
        weights = self.planes[plane]
        if name == "elbo":
            return ObjectiveConfig(
                name="elbo",
                likelihood="points",
                beta_rec=weights.elbo.beta_rec,
                beta_kl=weights.elbo.beta_kl,
                content_open_at=0,
                style_swap=0,
            )
        beta = weights.introspective
        return ObjectiveConfig(
            name=name,
            likelihood="points",
            beta_rec=beta.beta_rec,
            beta_kl=beta.beta_kl,
            beta_kl_fake=self.gamma * beta.beta_kl,
            beta_neg=None if self.automatic else beta.beta_neg,
            margin=self.margin,
            gamma_r=self.gamma_r
            if name == "bootstrap"
            else 0.0,  # 1e-8 as published would cost two passes for no effect
            target_steps=self.target_steps,
            fake_reconstruction=name != "introvae",
            content_open_at=0,
            style_swap=0,
            introspection_from=self.warm_up,
        )

    def rate(self, share: float) -> float:
        """The learning rate after a fraction of the iterations."""
        return self.learning_rate * 0.1 ** sum(share >= fall for fall in self.falls)


def load_toy_config(name: str = "toy", **overrides: Any) -> ToyConfig:
    """Read the settings of a 2D study.

    Args:
        name: name of a configuration that comes with the library, or a path.
        **overrides: values that replace those of the file; None keeps them.

    Raises:
        ConfigError: the file does not exist or is not YAML, a name is unknown, or a value is missing or
            invalid.
    """
    path = config_path(name)
    given = {key: value for key, value in overrides.items() if value is not None}
    return validated(ToyConfig, {**read_yaml(path), **given}, str(path))
