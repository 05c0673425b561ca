r"""Linear concept erasure: the smallest change of codes after which no linear classifier reads a label.

With Sigma the covariance of codes x, W its pseudo-inverse square root, Z the label as one-hot vectors, and P
the orthogonal projection onto the columns of W Cov(x, Z),

.. math:: r(x) = x - W^+ P W (x - E x)

(LEACE, arXiv 2306.03819, theorem 4.3). Afterwards Cov(r(x), Z) = 0, so all classes have the same mean and no
linear classifier beats the best constant one, whatever its loss; of all affine maps of which this is true, r
has the least mean squared change, in every norm. Classifiers that are not linear may read the label still.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.models.codes import Gaussian
from sivae_translate.utils.errors import InputError


@dataclass(frozen=True)
class Eraser:
    """Erases a label from codes.

    Attributes:
        mean: of the codes that it was fitted to, (F,) float64.
        projection: W^+ P W, (F, F) float64.

    >>> codes = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])
    >>> eraser = Eraser.fit(Gaussian(codes, torch.zeros_like(codes)), torch.tensor([0, 0, 1, 1]))
    >>> eraser(codes).tolist()  # the first number told the label
    [[2.0, 0.0], [2.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    """

    mean: Tensor
    projection: Tensor

    @classmethod
    def fit(cls, codes: Gaussian, labels: Tensor) -> Eraser:
        """The eraser of a label from draws of codes, and so from their means.

        Args:
            codes: posteriors with parameters (N, ...).
            labels: (N,) integers of any value.

        Raises:
            InputError: there is not one label for each code, or there are no codes.
        """
        if labels.shape != codes.mean.shape[:1] or not len(labels):
            raise InputError(
                f"{len(codes.mean)} codes came with labels of shape {tuple(labels.shape)}",
                remedy="pass one integer label for each code",
            )
        means = codes.mean.detach().flatten(1).double()
        middle = means.mean(0)
        centred = means - middle
        # Of draws: the means' covariance, and on its diagonal the noise.
        noise = codes.logvar.detach().flatten(1).double().exp().mean(0)
        covariance = centred.T @ centred / len(means) + torch.diag(noise)
        found = torch.unique(labels, return_inverse=True)[1]
        classes = F.one_hot(found).to(means)
        cross = centred.T @ (classes - classes.mean(0)) / len(means)
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
        roots = torch.where(kept, values.clamp(min=0).sqrt(), torch.zeros_like(values))
        inverse = torch.where(kept, 1 / roots.clamp(min=1e-300), torch.zeros_like(values))
        whiten, colour = ((vectors * scale) @ vectors.T for scale in (inverse, roots))
        left, strengths, _ = torch.linalg.svd(whiten @ cross, full_matrices=False)
        # Correlations, so at most 1: smaller ones are rounding.
        basis = left[:, strengths > 1e-9]
        return cls(middle, colour @ basis @ basis.T @ whiten)

    def __call__(self, codes: Tensor) -> Tensor:
        """Erase the label from codes (..., F), or (N, ...) with F numbers: the same shape and dtype."""
        flat = codes.reshape(-1, len(self.mean)).to(self.mean)
        return (flat - (flat - self.mean) @ self.projection.T).view_as(codes).to(codes.dtype)
