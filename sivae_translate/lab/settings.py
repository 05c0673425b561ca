"""Settings of the 2D study; configs/toy.yaml holds the published ones."""

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
"""1 / number of coordinates: the paper's s in two dimensions."""


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
    """How the models of the plane are trained; times are shares of the iterations."""

    iterations: Count
    batch: Annotated[Count, Field(description="points a replica and step")]
    hidden: Annotated[Count, Field(description="width of the hidden layers")]
    learning_rate: Annotated[Positive, Field(description="Adam's at the start")]
    falls: Annotated[
        tuple[Share, ...], Field(description="times at which the learning rate falls to a tenth")
    ]
    warm_up: Annotated[Share, Field(description="share of the iterations that is a plain VAE")]
    margin: Annotated[Positive, Field(description="introvae: KL (nats) up to which fakes are pushed")]
    gamma_r: Annotated[NonNegative, Field(description="bootstrap: weight of a fake's reconstruction error")]
    target_steps: Annotated[
        Count, Field(description="bootstrap: steps after which the lagging decoder is renewed")
    ]
    automatic: Annotated[
        bool, Field(description="let beta_neg be balanced instead of taking the ones below")
    ] = False
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="of the products between hidden layers; auto is bfloat16 where it is fast"),
    ] = "auto"
    planes: Annotated[dict[PlaneName, PlaneWeights], Field(description="weights for each data set")]

    def objective(self, plane: PlaneName, name: ObjectiveName) -> ObjectiveConfig:
        """The settings of one of the family on one data set."""
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
            beta_kl_fake=beta.beta_kl,
            beta_neg=None if self.automatic else beta.beta_neg,
            margin=self.margin,
            gamma_r=self.gamma_r
            if name == "bootstrap"
            else 0.0,  # published 1e-8 elsewhere: two passes for nothing
            target_steps=self.target_steps,
            fake_reconstruction=name != "introvae",
            content_open_at=0,
            style_swap=0,
            introspection_from=self.warm_up,
        )

    def rate(self, share: float) -> float:
        """The learning rate at a share of the iterations."""
        return self.learning_rate * 0.1 ** sum(share >= fall for fall in self.falls)


def load_toy_config(name: str = "toy", **overrides: Any) -> ToyConfig:
    """Read the settings of a 2D study.

    Args:
        name: of a configuration that comes with the library, or a path.
        **overrides: values that take the place of the file's; None leaves the file's.

    Raises:
        ConfigError: no such file, not YAML, an unknown name, a missing or wrong value.
    """
    path = config_path(name)
    given = {key: value for key, value in overrides.items() if value is not None}
    return validated(ToyConfig, {**read_yaml(path), **given}, str(path))
