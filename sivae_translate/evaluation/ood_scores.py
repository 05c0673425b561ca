r"""Scores of how unlike a model's training data an image is.

Every score is larger for images that are less like the training data:

- ``likelihood``: minus the importance-weighted bound of log p(x), nats (arXiv 2012.13253)
- ``elbo``: minus the ELBO, nats (arXiv 1312.6114)
- ``kl``: KL of the codes' posteriors to their priors, nats
- ``reconstruction``: squared error of the most likely codes' reconstruction, summed over pixels
- ``complexity``: bits of the likelihood minus bits of the image as a PNG (arXiv 1909.11480)
- ``typicality``: distance of the log likelihood from its mean on typical images, nats (arXiv 1906.02994)
- ``regret``: gain in ELBO when the posterior is fitted to this one image, nats (arXiv 2003.02977)

The KL of the style is taken to the prior of the domain that fits best, since the domain of an image is not
known.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.tensors import to_tensor
from sivae_translate.inference.translator import Translator
from sivae_translate.models.code_typicality import closest_domain
from sivae_translate.models.codes import Gaussian, Posterior
from sivae_translate.models.latent import LatentModel
from sivae_translate.utils import pictures
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.progress import track

BATCH = 100
REGRET_RATE = 0.05


def surprise(
    translator: Translator,
    images: np.ndarray,
    *,
    samples: int = 16,
    regret_steps: int = 0,
    seed: int = 0,
    name: str = "images",
) -> dict[str, np.ndarray]:
    """All scores except typicality, which needs a reference (see `compare`).

    Args:
        translator: a model whose pixel variance is fitted, as training does.
        images: uint8 (N, H, W, C) of the model's size.
        samples: number of samples of the importance-weighted bound.
        regret_steps: steps of fitting each posterior; 0 omits the regret.
        seed: seed of the random draws.
        name: label of the progress bar and name of the images in errors.

    Returns:
        Score name to (N,) float64.

    Raises:
        InputError: there are no images, or the model's pixel variance is not fitted.
    """
    if not len(images):
        raise InputError(f"{name}: there are no images to score", remedy="name a folder with images")
    model = translator.model
    torch.manual_seed(seed)
    parts: list[dict[str, Tensor]] = []
    for start in track(range(0, len(images), BATCH), name):
        batch = to_tensor(images[start : start + BATCH]).to(translator.device)
        parts.append(_scores(model, batch, samples, regret_steps))
    scores = {key: torch.cat([part[key] for part in parts]).cpu().double().numpy() for key in parts[0]}
    # Both the images and PNG files have 8 bits, so nothing is lost here.
    scores["complexity"] = scores["likelihood"] / math.log(2) + _eight_bits(model) - pictures.png_bits(images)
    return scores


def _eight_bits(model: LatentModel) -> float:
    """Bits per image that convert a density over [0, 1] to one over 256 grey levels."""
    return 8.0 * math.prod(model.image_shape)


def _scores(model: LatentModel, images: Tensor, samples: int, regret_steps: int) -> dict[str, Tensor]:
    # In float32: bfloat16 would add noise to sums over thousands of pixels.
    with torch.no_grad():
        posterior = model.encode(images)
        scores = {
            "likelihood": -model.log_likelihood(images, samples),
            "elbo": _negative_elbo(model, images, posterior, draws=4),
            "kl": model.content_prior.kl(posterior.content) + closest_domain(model, posterior.style)[0],
            "reconstruction": (model.decode(posterior.mean).float() - images).square().flatten(1).sum(1),
        }
    if regret_steps:
        scores["regret"] = _regret(model, images, posterior, regret_steps)
    return scores


def _negative_elbo(model: LatentModel, images: Tensor, posterior: Posterior, draws: int) -> Tensor:
    """Minus the ELBO, estimated with ``draws`` samples: (B,) nats."""
    total = -sum(model.log_weight(images, posterior) for _ in range(draws)) / draws
    assert isinstance(total, Tensor)
    return total


def _regret(model: LatentModel, images: Tensor, posterior: Posterior, steps: int) -> Tensor:
    """Gain in ELBO when Adam fits the posterior of each image, starting from the encoders': (B,) nats."""
    start = (posterior.content.mean, posterior.content.logvar, posterior.style.mean, posterior.style.logvar)
    moved = [part.detach().clone().requires_grad_(True) for part in start]
    own = Posterior(Gaussian(moved[0], moved[1]), Gaussian(moved[2], moved[3]))
    optimizer = torch.optim.Adam(moved, lr=REGRET_RATE)
    for _ in range(steps):
        gradients = torch.autograd.grad(
            _negative_elbo(model, images, own, draws=1).sum(), moved, allow_unused=True
        )
        for part, gradient in zip(moved, gradients, strict=True):
            part.grad = gradient
        optimizer.step()
    with torch.no_grad():
        return _negative_elbo(model, images, posterior, draws=8) - _negative_elbo(model, images, own, draws=8)
