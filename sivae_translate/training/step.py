"""One step: both halves of an objective, each moving its own parameters. The images' trainer and the 2D
laboratory use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sivae_translate.data.batches import Batch
from sivae_translate.objectives.base import VAE
from sivae_translate.objectives.fakes import Forward
from sivae_translate.objectives.schedule import Weights

FACTOR = "rate_factor"
"""Key of an optimizer's group for a factor on the learning rate."""


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


class EncoderHalf(nn.Module):
    """A batch to the passes that both halves share and the encoders' loss.

    Args:
        objective: whose half it is; the parameters are its encoders'.
    """

    def __init__(self, objective: VAE) -> None:
        super().__init__()
        self.parts = nn.ModuleList([objective.model.content_encoder, objective.model.style_encoder])
        self.objective = objective

    def forward(self, batch: Batch, weights: Weights) -> tuple[Forward, Tensor]:
        """The passes, and a scalar."""
        shared = self.objective.forward(batch, weights)
        return shared, self.objective.encoder_loss(batch, shared, weights)


class DecoderHalf(nn.Module):
    """The shared passes to the decoder's loss.

    Args:
        objective: whose half it is; the parameters are its decoder's and its priors'.
    """

    def __init__(self, objective: VAE) -> None:
        super().__init__()
        model = objective.model
        self.parts = nn.ModuleList([model.decoder, model.style_prior, model.content_prior])
        self.objective = objective

    def forward(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """A scalar."""
        return self.objective.decoder_loss(batch, shared, weights)


class Stepper:
    """Moves the encoders, then the decoder with the encoders as they are then.

    Each half is a module that ends in its loss, so that in a run of several processes DistributedDataParallel
    wraps it and averages its gradients.

    Args:
        objective: what both halves minimise.
        clip_norm: largest gradient norm of each half; None is no clipping.
        betas: Adam's.
        replicas: independent models in one, whose losses are means over all their samples; their gradients
            are scaled back.
        processes: how many have a share of each batch.
        means_rate: factor on the learning rate of the domains' prior means.
    """

    def __init__(
        self,
        objective: VAE,
        clip_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.99),
        replicas: int = 1,
        processes: int = 1,
        means_rate: float = 1.0,
    ) -> None:
        self.objective, self.clip_norm, self.replicas = objective, clip_norm, replicas
        self.encoders, self.decoders = (
            objective.model.encoder_parameters(),
            objective.model.decoder_parameters(),
        )
        self.encoder_half, self.decoder_half = EncoderHalf(objective), DecoderHalf(objective)
        self.run_encoders = _averaged(self.encoder_half) if processes > 1 else self.encoder_half
        self.run_decoder = _averaged(self.decoder_half) if processes > 1 else self.decoder_half
        self.optimizers = {
            "encoders": torch.optim.Adam(self.encoders, betas=betas, fused=True),
            "decoder": torch.optim.Adam(self._decoder_groups(means_rate), betas=betas, fused=True),
        }

    def step(
        self,
        batch: Batch,
        weights: Weights,
        rate: float,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Step:
        """Move both halves once.

        Args:
            batch: real data.
            weights: in force now.
            rate: Adam's learning rate.
            autocast: around the passes.
        """
        with autocast():
            shared, loss = self.run_encoders(batch, weights)
        if not weights.introspection:
            # Both halves minimise the same ELBO: one backward pass gives the gradients of both.
            with autocast():
                loss = self.run_decoder(batch, shared, weights)
            self._differentiate(loss, [*self.encoders, *self.decoders])
            norms = {name: self._move(name, rate) for name in ("encoders", "decoder")}
            return Step(shared, loss, norms)
        self._differentiate(loss, self.encoders, retain=True)
        norms = {"encoders": self._move("encoders", rate)}
        with autocast():
            loss = self.run_decoder(batch, shared, weights)
        self._differentiate(loss, self.decoders)
        norms["decoder"] = self._move("decoder", rate)
        return Step(shared, loss, norms)

    def _decoder_groups(self, means_rate: float) -> list[dict[str, Any]]:
        """Adam's groups of the decoder's half: one, or the prior means apart at a rate of their own."""
        if (
            means_rate == 1
        ):  # one group keeps the parameters' order, by which checkpoints number Adam's moments
            return [{"params": self.decoders}]
        means = self.objective.model.style_prior.means
        others = [parameter for parameter in self.decoders if parameter is not means]
        return [{"params": others}, {"params": [means], FACTOR: means_rate}]

    def _differentiate(
        self, loss: Tensor, parameters: Sequence[nn.Parameter], *, retain: bool = False
    ) -> None:
        """Gradients of some parameters alone, into their ``grad``."""
        total = loss * self.replicas if self.replicas > 1 else loss
        total.backward(inputs=list(parameters), retain_graph=retain)  # type: ignore[no-untyped-call]

    def _move(self, half: str, rate: float) -> Tensor:
        """Clip, then Adam; returns the gradient's norm before clipping."""
        parameters = self.encoders if half == "encoders" else self.decoders
        if self.clip_norm is None:
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            norm = nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        optimizer = self.optimizers[half]
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(FACTOR, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm


def _averaged(half: nn.Module) -> DistributedDataParallel:
    """A half whose gradients are means over processes. BatchNorms keep statistics of their own; the writing
    process's count.
    """
    return DistributedDataParallel(half, broadcast_buffers=False, gradient_as_bucket_view=True)
