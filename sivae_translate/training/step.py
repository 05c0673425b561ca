"""One step: both halves of an objective, each moving its own parameters. The images' trainer and the 2D laboratory use it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sivae_translate.data.batches import Batch
from sivae_translate.objectives.family import VAE
from sivae_translate.objectives.passes import Forward
from sivae_translate.objectives.schedule import Weights


@dataclass(frozen=True)
class Step:
    """What a step did.

    Attributes:
        shared: its passes.
        loss: of the decoder's half, or of both when there are no fakes; scalar.
        norms: gradient norm of each half before clipping.
    """

    shared: Forward
    loss: Tensor
    norms: dict[str, Tensor]


class Stepper:
    """Moves the encoders, then the decoder with the encoders as they are then.

    Args:
        objective: what both halves minimise.
        clip_norm: largest gradient norm of each half; None is no clipping.
        betas: Adam's.
        replicas: independent models in one, whose losses are means over all their samples; their gradients are scaled back.
    """

    def __init__(
        self, objective: VAE, clip_norm: float | None, betas: tuple[float, float] = (0.9, 0.99), replicas: int = 1
    ) -> None:
        self.objective, self.clip_norm, self.replicas = objective, clip_norm, replicas
        self.encoders, self.decoders = objective.model.encoder_parameters(), objective.model.decoder_parameters()
        self.optimizers = {
            "encoders": torch.optim.Adam(self.encoders, betas=betas, fused=True),
            "decoder": torch.optim.Adam(self.decoders, betas=betas, fused=True),
        }

    def step(
        self, batch: Batch, weights: Weights, rate: float, autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> Step:
        """Move both halves once.

        Args:
            batch: real data.
            weights: in force now.
            rate: Adam's learning rate.
            autocast: around the passes.
        """
        objective = self.objective
        with autocast():
            shared = objective.forward(batch, weights)
            loss = objective.encoder_loss(batch, shared, weights)
        if not weights.introspection:
            # Both halves minimise the same ELBO: one backward pass gives the gradients of both.
            gradients = self._gradients(loss, [*self.encoders, *self.decoders])
            split = len(self.encoders)
            norms = {
                "encoders": self._apply("encoders", self.encoders, gradients[:split], rate),
                "decoder": self._apply("decoder", self.decoders, gradients[split:], rate),
            }
            return Step(shared, loss, norms)
        gradients = self._gradients(loss, self.encoders, retain=True)
        norms = {"encoders": self._apply("encoders", self.encoders, gradients, rate)}
        with autocast():
            loss = objective.decoder_loss(batch, shared, weights)
        norms["decoder"] = self._apply("decoder", self.decoders, self._gradients(loss, self.decoders), rate)
        return Step(shared, loss, norms)

    def _gradients(self, loss: Tensor, parameters: list[nn.Parameter], *, retain: bool = False) -> tuple[Tensor | None, ...]:
        total = loss * self.replicas if self.replicas > 1 else loss
        return torch.autograd.grad(total, parameters, retain_graph=retain, allow_unused=True)

    def _apply(self, half: str, parameters: list[nn.Parameter], gradients: tuple[Tensor | None, ...], rate: float) -> Tensor:
        """Clip, then Adam; returns the gradient's norm before clipping."""
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip_norm is None:
            norm = torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
        else:
            norm = nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        optimizer = self.optimizers[half]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm
