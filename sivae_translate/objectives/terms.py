r"""The terms of all objectives, one number per image.

.. math::
    L_{rec}(x) &= \sum_{pixels} e(x, \hat x) \\
    KL(x) &= \beta_c KL(q(c|x) \| N(0, I)) + \beta_s KL(q(s|x) \| N(m_d, I)) \\
    expELBO(f) &= \exp(-2\,scale\,(\beta_{rec} L_{rec}(f) + \beta_{neg} KL(f)))
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models.fused import squared_error

Likelihood = Literal["bernoulli", "gaussian", "laplace", "points"]


def reconstruction_error(logits: Tensor, target: Tensor, likelihood: Likelihood) -> Tensor:
    r"""Reconstruction error, summed over an image's pixels and channels; 0 if decoded and target are equal.

    - ``bernoulli``: binary cross-entropy minus the target's entropy, i.e. KL(target || decoded) of each
      pixel. Sharp for ink on paper, and its gradient with respect to the logits does not vanish where the
      sigmoid saturates.
    - ``gaussian``: squared error of the sigmoid (the paper's).
    - ``laplace``: absolute error of the sigmoid.
    - ``points``: squared error of the raw output, for points of the plane instead of pixels.

    Args:
        logits: (B, C, H, W), before the sigmoid.
        target: (B, C, H, W) in [0, 1].
        likelihood: one of the four.

    Returns:
        (B,) non-negative.
    """
    if likelihood == "bernoulli":
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        error = cross_entropy + torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target)
    elif likelihood == "points":
        error = (logits - target).square()
    elif likelihood == "gaussian":
        return squared_error(logits, target)
    else:
        error = (torch.sigmoid(logits) - target).abs()
    return error.sum(tuple(range(1, error.ndim)))


def exp_elbo(cost: Tensor, scale: float) -> Tensor:
    """Mean expELBO of fakes (Soft-IntroVAE, eq. 5, with alpha = 2), in (0, 1].

    Args:
        cost: beta_rec * L_rec + beta_neg * KL of fakes, (B,).
        scale: 1 / (C * H * W).

    Returns:
        scalar.
    """
    return torch.exp(-2 * scale * cost).mean()


STEEP = 9.0
"""Additional cost of a nat beyond the capacity, relative to one below it."""


def steeper_above(kl: Tensor, capacity: float | None) -> Tensor:
    """Count nats of a KL beyond a capacity `STEEP` + 1 times; without a capacity, the KL is unchanged.

    Up to the capacity, the style can be the cheaper place for information; beyond it, the content is. So the
    style takes the few nats that explain most (colours) and leaves the rest. The capacity is that of beta-VAE
    (arXiv 1804.03599, eq. 8), but one-sided: a style that needs less is not forced to use it.

    Args:
        kl: (B,).
        capacity: nats.

    Returns:
        (B,).
    """
    return kl if capacity is None else kl + STEEP * torch.relu(kl - capacity)
