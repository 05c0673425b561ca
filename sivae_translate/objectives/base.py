r"""The base of all objectives: the ELBO of real images, and the part of fakes in both halves.

With ``scale`` = 1 / (C H W), of what the networks compute on, and f running over the two kinds of fakes,
reconstructions and translations or prior samples,

.. math::
    encoders &: scale\,(\beta_{rec} L_{rec}(x) + KL(x) + \gamma_{back} \beta_{rec} L_{back}(x)) + push(f) \\
    decoder &: scale\,(\beta_{rec} L_{rec}(x) + KL_s(x) + \gamma_{back} \beta_{rec} L_{back}(x)) + pull(f)

The objectives, one file each, define push and pull. KL(f) is taken under the prior of the domain that f
claims to be in. In the encoders' half fakes are detached; in the decoder's half the encoders are frozen.

L_back is the back-translation error: a translation f of x is treated as an ordinary image, translated back
and compared with x. Since f is detached, the model cannot hide x in it, as it can with a cycle loss whose
gradient passes through f.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.codes import Codes
from sivae_translate.models.latent import LatentModel
from sivae_translate.objectives.content_rate import ContentRate
from sivae_translate.objectives.fakes import FakePosterior, Fakes, GameState, Passes, PlaceKL, RealState
from sivae_translate.objectives.places import PlaceCritic
from sivae_translate.objectives.schedule import (
    Number,
    RealKL,
    Weights,
    balanced_beta_neg,
    takes_part,
    weights_at,
)
from sivae_translate.objectives.terms import exp_elbo, steeper_above


class Objective(ABC):
    """What the encoders and the decoder minimise.

    A step calls `forward`, then `encoder_loss` and, after the encoders are updated, `decoder_loss`.

    Args:
        config: weights and times.
        model: the model in training.
        scale: 1 / (C H W) by default; the 2D laboratory uses the paper's 1/2.
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> None:
        self.config, self.model = config, model
        self.passes = Passes(config, model)
        device = model.style_prior.means.device
        self.content_rate = (
            None if config.content_nats is None else ContentRate(config.beta_kl_start).to(device)
        )
        self.scale = 1.0 / math.prod(model.view_shape) if scale is None else scale

    @abstractmethod
    def encoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """The loss of the encoders; scalar."""

    @abstractmethod
    def decoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """The loss of the decoder and the priors, with the updated encoders; scalar."""

    def weights(self, progress: float) -> Weights:
        """Weights in force at a share ``progress`` of the training."""
        return weights_at(self.config, progress, introspective=False)

    def forward(self, batch: Batch, weights: Weights) -> RealState:
        """The passes that both halves share."""
        state = self.passes.forward(batch, weights)
        if self.content_rate is not None and weights.content_nats is not None:
            self.content_rate.update(state.kl_content, weights.content_nats, fakes=weights.introspection)
        return state

    def companions(self) -> dict[str, nn.Module]:
        """Modules that checkpoints store besides the model."""
        return {} if self.content_rate is None else {"content_rate": self.content_rate}

    def beta_kl(self, weights: Weights) -> Number:
        """The weight of the content KL in this step."""
        return weights.beta_kl if self.content_rate is None else self.content_rate.weight

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that the encoders' half updates."""
        return self.model.encoder_parameters()

    def networks(self) -> list[nn.Module]:
        """Networks that the passes call."""
        model, lpips = self.model, self.passes.lpips
        frozen = [] if lpips is None else [lpips]
        return [model.content_encoder, model.style_encoder, model.decoder, *frozen]

    @property
    def rests(self) -> bool:
        """Whether some parameters of the encoders' half are unused in a phase."""
        return False

    def after_step(self, step: int) -> None:  # noqa: B027 - a hook that most objectives leave empty
        """Called after step ``step``, counted from 1."""

    def after_replay(self, weights: Weights) -> None:
        """Called after a recorded step was replayed, which changes numbers on the device alone."""
        if self.content_rate is not None and not weights.introspection:
            self.content_rate.forget()

    @torch.no_grad()
    def metrics(self, state: RealState, weights: Weights) -> dict[str, Number]:
        """Metrics of training: means over the batch of errors summed over pixels and KLs in nats.

        They stay on the device; `as_numbers` fetches them.
        """
        kl = {"kl_content": state.kl_content, "kl_style": state.kl_style}
        order = {"reconstruction": state.errors["reconstruction"], **kl, **state.errors}
        return {**{name: value.mean() for name, value in order.items()}, "beta_kl": self.beta_kl(weights)}

    def negative_elbo(self, state: RealState, weights: Weights) -> Tensor:
        """Scale * (beta_rec * (L_rec + gamma_back * L_back) + KL) of the real images; scalar."""
        style = steeper_above(state.kl_style, self.config.style_capacity)
        kl = self.beta_kl(weights) * state.kl_content + weights.beta_style * style
        loss = (weights.beta_rec * state.errors["reconstruction"] + kl).mean()
        if "back_translation" in state.errors:
            error = state.errors["back_translation"].mean()
            loss = loss + weights.back_translation * weights.beta_rec * error
        return self.scale * loss


def as_numbers(metrics: Mapping[str, Number]) -> dict[str, float]:
    """Convert metrics to Python numbers, with a single transfer from the device.

    >>> as_numbers({"loss": torch.tensor(1.5), "rate": 0.25})
    {'loss': 1.5, 'rate': 0.25}
    """
    on_device = {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
    if not on_device:
        return dict(metrics)  # type: ignore[arg-type]  # all are floats
    values = torch.stack([value.float() for value in on_device.values()]).tolist()
    return {**metrics, **dict(zip(on_device, values, strict=True))}


class Introspective(Objective):
    r"""An objective with fakes: only the ELBO until ``introspection_from``, then also push and pull.

    .. math::
        pull(f) = \tfrac{scale}{2} \sum_f (\beta_{kl\_fake} KL(f) + \gamma_r \beta_{rec} L_{rec}(f))
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> None:
        super().__init__(config, model, scale)
        means = model.style_prior.means
        self.real_kl = RealKL().to(means.device)
        self.critic = PlaceCritic(config, model).to(means) if config.places else None

    @abstractmethod
    def push(self, state: GameState, weights: Weights) -> Tensor:
        """The term that pushes the encoders' KL of fakes up; scalar."""

    def encoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """Minus the ELBO of real images, and the push on fakes."""
        loss = self.negative_elbo(state, weights)
        if not isinstance(state, GameState):
            return loss
        if self.critic is not None and state.places is not None:
            loss = loss + self.critic.encoder_loss(state.places.real, state.places.fake)
        return loss + self.push(state, weights)

    def decoder_loss(self, state: RealState, weights: Weights) -> Tensor:
        """Minus the ELBO of real images, the pull on fakes, and the consistency of their codes."""
        loss = self.negative_elbo(state, weights)
        if not isinstance(state, GameState):
            return loss
        fakes = state.fakes
        reading = self.passes.encode_fakes(fakes.images, fakes.claimed_prior)
        loss = loss + self.pull(fakes, reading, weights)
        if self.critic is not None:
            views = self.passes.augment(fakes.images)
            loss = loss + self.critic.decoder_loss(self.critic.kl(views, fakes.claimed_domain))
        return loss + self._consistency(fakes, reading)

    def pull(self, fakes: Fakes, reading: FakePosterior, weights: Weights) -> Tensor:
        """The term that pulls the decoder's fakes towards likely codes; scalar.

        Args:
            fakes: fakes attached to the decoder.
            reading: their posteriors under the updated encoders.
            weights: current loss weights.
        """
        cost = weights.beta_kl_fake * reading.kl
        if takes_part(weights.gamma_r):
            cost = cost + weights.gamma_r * weights.beta_rec * self.rebuild_error(fakes, reading)
        return self.scale * cost.mean()  # there are as many fakes of either kind

    def rebuild_error(self, fakes: Fakes, reading: FakePosterior) -> Tensor:
        """L_rec(f) in the decoder's half, (2B,), with the fakes and their codes detached; see ``gamma_r``."""
        return self.passes.fake_error(
            fakes.images, reading, lambda codes: self.model.logits(codes.detach()), fakes.images.detach()
        )

    def weights(self, progress: float) -> Weights:
        """Weights in force at a share ``progress`` of the training; with fakes, `settled` if possible."""
        weights = weights_at(self.config, progress, introspective=True)
        known = weights.introspection and self.real_kl.read()[0]
        return self.settled(weights) if known else weights

    def settled(self, weights: Weights) -> Weights:
        """Weights with those that depend on the KL of real images before fakes took part."""
        return replace(weights, beta_neg=self.beta_neg(weights))

    def forward(self, batch: Batch, weights: Weights) -> RealState:
        """The passes that both halves share; also tracks the KL of real images without fakes."""
        state = super().forward(batch, weights)
        # Without a phase before fakes, as after training.fine_tune, it is the KL of the first batch.
        if not weights.introspection or not self.real_kl.read()[0]:
            self.real_kl.update(state.kl_content, state.kl_style)
        if self.critic is None or not isinstance(state, GameState):
            return state
        fakes, augment = state.fakes, self.passes.augment
        real = self.critic.kl(augment(batch.images), batch.domain)
        fake = self.critic.kl(augment(fakes.images.detach()), fakes.claimed_domain)
        return replace(state, places=PlaceKL(real, fake))

    def companions(self) -> dict[str, nn.Module]:
        """The KL of real images without fakes, by its name in checkpoints."""
        critic = {} if self.critic is None else {"critic": self.critic}
        return {**super().companions(), "usual": self.real_kl, **critic}

    def encoder_parameters(self) -> list[nn.Parameter]:
        """The model's encoders and the critic of places."""
        critic = [] if self.critic is None else list(self.critic.parameters())
        return [*super().encoder_parameters(), *critic]

    def networks(self) -> list[nn.Module]:
        """Networks of the model and the critic of places."""
        return [*super().networks(), *([] if self.critic is None else [self.critic.encoder])]

    @property
    def rests(self) -> bool:
        """The critic of places is unused until there are fakes."""
        return self.critic is not None

    def after_replay(self, weights: Weights) -> None:
        """See `Objective.after_replay`; without fakes the KL of real images has changed."""
        super().after_replay(weights)
        if not weights.introspection:
            self.real_kl.forget()

    def beta_neg(self, weights: Weights) -> Number:
        """The weight of a fake's KL in the push: as configured, or balanced with the KL of real images."""
        if weights.beta_neg is not None:
            return weights.beta_neg
        content = self.passes.fake_content_kl
        _, kl_content, kl_style = self.real_kl.read()
        # If fakes are not scored by their content, the content is not pulled against the push either.
        rate = self.content_rate
        beta_kl = float(weights.beta_kl) if rate is None or not content else rate.before_fakes()
        pull = beta_kl * content * kl_content + float(weights.beta_style) * kl_style
        dimensions = self.model.style_dim + (math.prod(self.model.content_shape) if content else 0)
        return balanced_beta_neg(self.undisturbed_kl(), pull, self.scale, dimensions)

    def undisturbed_kl(self) -> float:
        """KL of real images before fakes took part, weighted like that of fakes; nats."""
        _, content, style = self.real_kl.read()
        return self.passes.fake_content_kl * content + style

    @torch.no_grad()
    def metrics(self, state: RealState, weights: Weights) -> dict[str, Number]:
        """See `Objective.metrics`; with fakes also the KLs of both sides and the expELBO of fakes."""
        metrics = super().metrics(state, weights)
        if not isinstance(state, GameState):
            return metrics
        second, reading = state.fakes.kinds[1], state.fake_posterior
        kl = reading.kl[second]
        metrics["kl_real"] = self.passes.fake_content_kl * metrics["kl_content"] + metrics["kl_style"]
        metrics["kl_fake"] = kl.mean()
        metrics["kl_fake_style"] = reading.style.kl(state.fakes.claimed_prior)[second].mean()
        metrics["kl_difference"] = metrics["kl_fake"] - metrics["kl_real"]
        metrics["beta_neg"] = self.beta_neg(weights)
        if state.places is not None:
            metrics["kl_places_real"] = state.places.real.mean()
            metrics["kl_places_fake"] = state.places.fake.mean()
        metrics["exp_elbo"] = exp_elbo(self.fake_cost(state, weights)[second], self.scale)
        return metrics

    def fake_cost(self, state: GameState, weights: Weights) -> Tensor:
        """beta_rec * L_rec(f) + beta_neg * KL(f) of the detached fakes, (2B,), for the expELBO.

        Without ``fake_reconstruction``, L_rec and its pass are left out.
        """
        cost = self.beta_neg(weights) * state.fake_posterior.kl
        if not self.config.fake_reconstruction:
            return cost
        images = state.fakes.images.detach()
        error = self.passes.fake_error(images, state.fake_posterior, self.model.logits, images)
        return weights.beta_rec * error + cost

    def _consistency(self, fakes: Fakes, reading: FakePosterior) -> Tensor:
        """Scale * weighted squared distance between the codes of fakes and those of the encoders."""
        config, total = self.config, fakes.images.new_zeros((), dtype=torch.float32)
        codes: Codes = fakes.codes
        if config.content_consistency:
            content = reading.content or self.passes.content(fakes.images)
            gap = (content.mean - codes.content).square().flatten(1).sum(1).mean()
            total = total + self.scale * config.content_consistency * gap
        if config.style_consistency:
            gap = (reading.style.mean - codes.style).square().sum(1).mean()
            total = total + self.scale * config.style_consistency * gap
        return total
