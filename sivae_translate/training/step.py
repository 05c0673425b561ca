"""A training step: both halves of an objective, each updating its own parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sivae_translate.config import TrainingConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.blocks import Block
from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.content_rate import GAIN
from sivae_translate.objectives.fakes import RealState
from sivae_translate.objectives.schedule import Weights
from sivae_translate.training.graph import ReplayedStep, Update, make_recorder
from sivae_translate.training.halves import DecoderHalf, EncoderHalf, average_gradients
from sivae_translate.training.leaves import Leaves
from sivae_translate.training.loss_scale import LossScale
from sivae_translate.training.parts import EarlierEncoders, detached, draw_seeds
from sivae_translate.training.step_result import StepResult
from sivae_translate.utils.devices import is_recording
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.memory import keep_freed_memory
from sivae_translate.utils.progress import console
from sivae_translate.utils.recording import Recorder

Autocast = Callable[[], AbstractContextManager[object]]
FACTOR = "rate_factor"
"""Key of an optimizer's group: a factor on the learning rate."""


class Stepper:
    """Updates the encoders, then the decoder with the updated encoders.

    Each half is a module whose output is its loss, so that DistributedDataParallel can wrap it and average
    its gradients in a run with several processes.

    Args:
        objective: the objective; only this class calls its weights and hooks.
        clip_norm: largest gradient norm of each half; None turns clipping off.
        betas: betas of Adam.
        replicas: number of independent models in one, whose losses are means over all samples; their
            gradients are rescaled.
        processes: number of processes that share each batch.
        means_rate: factor on the learning rate of the domains' prior means.
        parts: number of parts that a batch is computed in, one after the other; a batch has a multiple of
            2 * ``parts`` images. Gradients and metrics are means over the parts; images swap styles with
            others of their part.
        recorder: records steps to replay them; None runs every operator anew. See
            `sivae_translate.training.graph`.
        dtype: precision of the passes; the loss is scaled in float16.

    Attributes:
        replayed: the recorded steps, if there is a recorder.
    """

    def __init__(
        self,
        objective: Objective,
        clip_norm: float | None,
        betas: tuple[float, float] = (0.9, 0.99),
        replicas: int = 1,
        processes: int = 1,
        means_rate: float = 1.0,
        parts: int = 1,
        recorder: Recorder | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.objective, self.clip_norm, self.replicas = objective, clip_norm, replicas
        self.processes, self.parts = processes, parts
        if objective.content_rate is not None:
            objective.content_rate.gain = GAIN / parts
        self.leaves: Leaves | None = None
        keep_freed_memory()
        self.encoders = objective.encoder_parameters()
        self.decoders = objective.model.decoder_parameters()
        encoder_half, decoder_half = EncoderHalf(objective), DecoderHalf(objective)
        rests = objective.rests
        self.encoder_half = average_gradients(encoder_half, rests) if processes > 1 else encoder_half
        self.decoder_half = average_gradients(decoder_half) if processes > 1 else decoder_half
        self.optimizers = {
            "encoders": torch.optim.Adam(self.encoders, betas=betas, fused=True),
            "decoder": torch.optim.Adam(self._decoder_groups(means_rate), betas=betas, fused=True),
        }
        say = partial(console.print, highlight=False)
        self.loss_scale = LossScale(self.decoders[0].device) if dtype == torch.float16 else None
        self.replayed = None if recorder is None else ReplayedStep(recorder, say)
        if self.replayed is not None:
            self._keep_in_place(self.replayed)

    def step(
        self,
        batch: Batch,
        progress: float,
        rate: float,
        number: int,
        autocast: Autocast = nullcontext,
    ) -> StepResult:
        """Update both halves once.

        Args:
            batch: real images.
            progress: completed fraction of the training, 0 to 1.
            rate: learning rate of Adam.
            number: number of this step, counted from 1.
            autocast: context of the passes.
        """
        weights = self.objective.weights(progress)
        self._set_rates(rate)
        update = partial(self._scaled_update, autocast=autocast)
        if self.replayed is None:
            done = update(batch, weights)
        else:
            done, again = self.replayed(batch, weights, update)
            if again:
                self.objective.after_replay(weights)
        self.objective.after_step(number)
        return StepResult(self.objective, done.states, weights, done.loss, done.norms, rate)

    def _scaled_update(self, batch: Batch, weights: Weights, autocast: Autocast) -> Update:
        """Update both halves, then the scale of the loss, if there is one."""
        update = self._update_in_parts if self.parts > 1 else self._update
        done = update(batch, weights, autocast)
        if self.loss_scale is not None:
            self.loss_scale.update()
        return done

    def _update(self, batch: Batch, weights: Weights, autocast: Autocast) -> Update:
        """Update both halves."""
        with self._passes(autocast):
            state, encoder_loss = self.encoder_half(batch, weights)
        if weights.introspection:
            self._differentiate(encoder_loss, self.encoders, retain=True)
            norms = {"encoders": self._move("encoders")}
            with self._passes(autocast, moved=self.encoders):
                loss = self.decoder_half(state, weights)
            self._differentiate(loss, self.decoders)
            norms["decoder"] = self._move("decoder")
        else:
            # Both halves minimise the same ELBO: one backward pass gives the gradients of both.
            with self._passes(autocast, moved=()):
                loss = self.decoder_half(state, weights)
            self._differentiate(loss, [*self.encoders, *self.decoders])
            norms = {"encoders": self._move("encoders"), "decoder": self._move("decoder")}
        return Update([state], loss, norms)

    def _update_in_parts(self, batch: Batch, weights: Weights, autocast: Autocast) -> Update:
        """Update both halves with the gradients of one part of the batch after the other."""
        parts, seeds = batch.parts(self.parts), draw_seeds(self.parts)
        earlier = EarlierEncoders(self.objective, self.encoders) if weights.introspection else None
        states: list[RealState] = []
        losses: list[Tensor] = []
        for number, part in enumerate(parts):
            torch.manual_seed(seeds[0][number])
            with self._exchanging(number):
                state, loss = self._first_half(part, weights, autocast, add=number > 0)
            states.append(state)
            losses.append(loss)
        norms = {"encoders": self._move("encoders")}
        if earlier is not None:
            losses.clear()
            for number, part in enumerate(parts):
                torch.manual_seed(seeds[0][number])
                with earlier():
                    passes = self._repeated(part, weights, autocast)
                torch.manual_seed(seeds[1][number])
                with self._exchanging(number):
                    losses.append(self._second_half(passes, weights, autocast, add=number > 0))
        norms["decoder"] = self._move("decoder")
        return Update(states, torch.stack(losses).mean(), norms)

    def _first_half(
        self, part: Batch, weights: Weights, autocast: Autocast, *, add: bool
    ) -> tuple[RealState, Tensor]:
        """Gradients of the encoders, and without fakes of the decoder; the passes and the loss of a part."""
        with self._passes(autocast):
            state, loss = self.encoder_half(part, weights)
        parameters = self.encoders
        if not weights.introspection:
            with self._passes(autocast, moved=()):
                loss = self.decoder_half(state, weights)
            parameters = [*self.encoders, *self.decoders]
        self._differentiate(loss / self.parts, parameters, add=add)
        return detached(state), loss.detach()

    def _repeated(self, part: Batch, weights: Weights, autocast: Autocast) -> RealState:
        """The shared passes again, with gradients of the decoder alone."""
        with self._passes(autocast):
            if self.leaves is not None:
                self.leaves.renew(self.encoders)  # constant in these passes
            return self.objective.forward(part, weights)

    def _second_half(self, state: RealState, weights: Weights, autocast: Autocast, *, add: bool) -> Tensor:
        """Gradients of the decoder; the loss of a part."""
        with self._passes(autocast, moved=self.encoders):
            loss: Tensor = self.decoder_half(state, weights)
        self._differentiate(loss / self.parts, self.decoders, add=add)
        return loss.detach()

    @contextmanager
    def _exchanging(self, number: int) -> Iterator[None]:
        """Passes of part ``number``: processes exchange the gradients' sums after the last part."""
        with ExitStack() as stack:
            if number + 1 < self.parts:
                for half in (self.encoder_half, self.decoder_half):
                    if isinstance(half, DistributedDataParallel):
                        stack.enter_context(half.no_sync())
            yield

    @contextmanager
    def _passes(
        self,
        autocast: Autocast,
        moved: Sequence[nn.Parameter] | None = None,
    ) -> Iterator[None]:
        """The context of a half's passes.

        Args:
            autocast: context with their precision.
            moved: parameters updated since the first half; None in the first half.
        """
        with autocast():
            if self.processes > 1:  # DistributedDataParallel waits for gradients of the parameters themselves
                yield
                return
            device = self.decoders[0].device.type
            dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
            if self.leaves is None or self.leaves.dtype != dtype:
                self.leaves = Leaves(self.objective.networks(), dtype)
            self.leaves.renew(moved)
            with self.leaves():
                yield

    def _decoder_groups(self, means_rate: float) -> list[dict[str, Any]]:
        """Adam's groups of the decoder's half: one, or two if the prior means have their own rate."""
        if (
            means_rate == 1
        ):  # a single group keeps the order of parameters, which numbers Adam's moments in checkpoints
            return [{"params": self.decoders}]
        means = self.objective.model.style_prior.means
        others = [parameter for parameter in self.decoders if parameter is not means]
        return [{"params": others}, {"params": [means], FACTOR: means_rate}]

    def _differentiate(
        self, loss: Tensor, parameters: Sequence[nn.Parameter], *, retain: bool = False, add: bool = False
    ) -> None:
        """Compute gradients of the given parameters only, into their ``grad``, or add to what is there."""
        total = loss * self.replicas if self.replicas > 1 else loss
        if self.loss_scale is not None:
            total = total * self.loss_scale.scale
        if self.leaves is None:
            total.backward(inputs=list(parameters), retain_graph=retain)  # type: ignore[no-untyped-call]
        else:
            self.leaves.differentiate(total, parameters, retain=retain, add=add)

    def _keep_in_place(self, replayed: ReplayedStep) -> None:
        """Keep learning rates on the device; loaded moments are in other memory, so steps are forgotten."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = torch.zeros((), device=self.decoders[0].device)
            optimizer.register_load_state_dict_post_hook(lambda _: replayed.forget())

    def _set_rates(self, rate: float) -> None:
        """Set the learning rate of Adam, in place if it is on the device."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                value = rate * group.get(FACTOR, 1.0)
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(value)
                else:
                    group["lr"] = value

    def _move(self, half: Literal["encoders", "decoder"]) -> Tensor:
        """Clip the gradient, then update with Adam; returns the norm before clipping, 0 if it overflowed."""
        parameters = self.encoders if half == "encoders" else self.decoders
        optimizer: Any = self.optimizers[half]
        if self.loss_scale is not None:  # fused Adam does nothing where found_inf is 1
            optimizer.found_inf = self.loss_scale.unscaled([p.grad for p in parameters if p.grad is not None])
        if self.clip_norm is None:
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        else:
            norm = nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        if self.loss_scale is not None:
            norm = norm.masked_fill(optimizer.found_inf > 0, 0.0)
        for group in optimizer.param_groups:
            group["capturable"] = is_recording()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return norm


def make_stepper(
    objective: Objective, training: TrainingConfig, processes: int = 1, dtype: torch.dtype = torch.float32
) -> Stepper:
    """The stepper of a run with these settings, shared by so many processes, with passes of a precision.

    Raises:
        ConfigError: activations should be checkpointed, but the networks have no blocks.
    """
    if training.checkpoint_activations:
        blocks = [part for one in objective.networks() for part in one.modules() if isinstance(part, Block)]
        if not blocks:
            raise ConfigError(
                "training.checkpoint_activations computes blocks again, but these networks have none",
                remedy="leave it out, or set model.kind to plain; training.accumulate saves memory, too",
            )
        for block in blocks:
            block.recomputed = True
    return Stepper(
        objective,
        training.clip_norm,
        processes=processes,
        means_rate=training.means_rate,
        parts=training.accumulate,
        recorder=make_recorder(training, objective, processes),
        dtype=dtype,
    )
