r"""Masks channels of the content code that carry nothing: their posterior becomes the prior for every image.

The content encoder's last layer gives the mean and the log variance of each channel. With their weights and
biases set to 0, both are 0, which is the standard normal prior. Nothing else changes: not the model's shape,
nor its file, nor how it is used, and the mask holds for pictures of any size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sivae_translate.models.latent import LatentModel
from sivae_translate.models.priors import StandardPrior

ACTIVE = 0.1
"""Mean KL in nats above which a number of the content code is active."""


def collapsed_channels(kl: Tensor) -> Tensor:
    """Channels of which no number is active, (Cc,) bool.

    Args:
        kl: mean KL in nats of each number of the content code, (Cc, ...).

    >>> collapsed_channels(torch.tensor([[0.01, 0.02], [0.01, 3.0]]))
    tensor([ True, False])
    """
    return (kl <= ACTIVE).flatten(1).all(1) if kl.ndim > 1 else kl <= ACTIVE


@torch.no_grad()
def mask_channels(model: LatentModel, channels: Tensor) -> bool:
    """Set the posteriors of channels (Cc,) of the content code to the prior, in place.

    Returns:
        whether this was possible: the prior is N(0, I), and the content encoder ends in one layer.
    """
    head = getattr(model.content_encoder, "head", None)
    if not isinstance(head, nn.Conv2d | nn.Linear) or not isinstance(model.content_prior, StandardPrior):
        return False
    rows = torch.cat([channels, channels]).to(head.weight.device)
    for weights in (head.weight, head.bias):
        if weights is not None:
            weights[rows] = 0
    return True
