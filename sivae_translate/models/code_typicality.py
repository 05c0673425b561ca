"""The typicality of files of earlier versions, by what the model makes of an image.

Four numbers are computed for an image: the squared error of its reconstruction, the KL of its content, the KL
of its style to the prior of the domain that fits best, and its complexity: the bits that the model needs
(from those three, with a Gaussian density for the error) minus the bits of the image as a PNG (arXiv
1909.11480). Each is expressed as the distance from its median over training images of that domain (or of all
domains, if the domain has few images), in deviations of the upper tail. The largest of the four is the
image's score and gives the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.tensors import to_uint8
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import PNG_LEVEL, Calibration, Verdict
from sivae_translate.utils.pictures import png_bits

REASONS = ("reconstruction", "content", "style", "complexity")


@dataclass(frozen=True)
class CodeCalibration(Calibration):
    """Statistics of typical images.

    Attributes:
        medians: (D, 4), by domain and reason; one domain without labels. (D, 3) in the oldest files, which
            have no complexity.
        deviations: deviations of the upper tail, in the same shape.
        levels: (N,) sorted scores of the validation images.
    """

    medians: np.ndarray
    deviations: np.ndarray
    levels: np.ndarray

    def scores(self, numbers: Tensor, domains: Tensor) -> np.ndarray:
        """Distances from the median in deviations, (N, 4), or (N, 3) for the oldest files."""
        values, index = numbers.cpu().double().numpy()[:, : self.medians.shape[1]], domains.cpu().numpy()
        return np.asarray((values - self.medians[index]) / self.deviations[index])

    def verdicts(self, numbers: Tensor, domains: Tensor) -> list[Verdict]:
        """A verdict for each image, from the result of `measure`."""
        scores = self.scores(numbers, domains)
        return self.ranked(scores.max(1), [REASONS[index] for index in scores.argmax(1)])

    def examine(self, model: LatentModel, images: Tensor) -> list[Verdict]:
        """See `Calibration`."""
        return self.verdicts(*measure(model, images))

    def as_json(self) -> dict[str, Any]:
        """See `Calibration`."""
        return {
            name: np.round(getattr(self, name), 6).tolist() for name in ("medians", "deviations", "levels")
        }

    def tensors(self) -> dict[str, Tensor]:
        """See `Calibration`: all is in `as_json`."""
        return {}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CodeCalibration:
        """The inverse of `as_json`."""
        return cls(
            *(np.asarray(values[name], dtype=np.float64) for name in ("medians", "deviations", "levels"))
        )


@torch.no_grad()
def measure(model: LatentModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the four numbers of each image, (B, 4), and the domain that fits its style best, (B,).

    Args:
        model: a model in evaluation mode with fitted pixel variance.
        images: (B, C, H, W) in [0, 1].
    """
    posterior = model.encode(images)
    error = (model.decode(posterior.mean).float() - images).square().flatten(1).sum(1)
    content = posterior.content.kl()
    style, domain = closest_domain(model, posterior.style)
    code_length = (
        error / (2 * model.variance.clamp(min=1e-12)) + content + style
    )  # less what is the same for all images
    bits = torch.from_numpy(png_bits(to_uint8(images), PNG_LEVEL)).to(code_length)
    return torch.stack([error, content, style, code_length / math.log(2) - bits], 1), domain


def closest_domain(model: LatentModel, style: Gaussian) -> tuple[Tensor, Tensor]:
    """The domain whose prior fits each style best.

    Args:
        model: a model with or without domains.
        style: style posteriors with parameters (B, S).

    Returns:
        KL to that domain's prior in nats, (B,), and its index, (B,); without domains, KL to N(0, I) and 0.
    """
    if not model.domains:
        kl = style.kl()
        return kl, torch.zeros(len(kl), dtype=torch.long, device=kl.device)
    kl, domain = torch.stack([style.kl(mean) for mean in model.style_prior.means]).min(0)
    return kl, domain
