"""The two halves of an objective as modules, which DistributedDataParallel can wrap."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sivae_translate.data.batches import Batch
from sivae_translate.objectives.base import Objective
from sivae_translate.objectives.fakes import RealState
from sivae_translate.objectives.schedule import Weights


class EncoderHalf(nn.Module):
    """Computes the shared passes and the encoders' loss of a batch.

    Args:
        objective: the objective; the parameters are those of its encoders.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.parts = nn.ParameterList(objective.encoder_parameters())
        self.objective = objective

    def forward(self, batch: Batch, weights: Weights) -> tuple[RealState, Tensor]:
        """The shared passes and the loss, a scalar."""
        state = self.objective.forward(batch, weights)
        return state, self.objective.encoder_loss(state, weights)


class DecoderHalf(nn.Module):
    """Computes the decoder's loss from the shared passes.

    Args:
        objective: the objective; the parameters are those of its decoder and priors.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        model = objective.model
        self.parts = nn.ModuleList([model.decoder, model.style_prior, model.content_prior])
        self.objective = objective

    def forward(self, state: RealState, weights: Weights) -> Tensor:
        """The loss, a scalar."""
        return self.objective.decoder_loss(state, weights)


def average_gradients(half: nn.Module, rests: bool = False) -> DistributedDataParallel:
    """Wrap a half so that its gradients are means over processes; BatchNorms keep separate statistics.

    Args:
        half: the half to wrap.
        rests: some parameters are unused in a phase; searching for them at every step costs time.
    """
    return DistributedDataParallel(
        half, broadcast_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=rests
    )
