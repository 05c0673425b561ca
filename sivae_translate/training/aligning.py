r"""Fits the maps of `models.alignment` to mutual nearest neighbours between domains; no pairs are needed.

Numbers of the content code are measured in standard deviations of their posteriors. Images x of domain s and
y of domain t are neighbours if, of all images of the two domains, neither has a content closer to the other's
(for s, after its own map). With the neighbours (a, b) of all such images,

.. math:: \min_{A, b} \sum \|y - x - A x - b\|^2 + \lambda N \|A\|^2

and neighbours are searched again with the new map, a few times. A map is kept if translations come closer to
their neighbours among images that it was not fitted to, which two domains without common contents hardly do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.config import DataConfig
from sivae_translate.data.loading import load_data
from sivae_translate.data.tensors import read_batch
from sivae_translate.models.alignment import MOST_DOMAINS, MOST_NUMBERS, Alignment
from sivae_translate.models.codes import Codes, Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.masking import ACTIVE
from sivae_translate.models.weights import SavedModel
from sivae_translate.training.masking import require_domains
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.selection import spread

MOST_IMAGES = 2000
"""Most images of a domain, evenly spread."""
RIDGE = 3.0
"""The weight lambda of the maps' size."""
ROUNDS = 4
"""How often neighbours are searched."""
LEAST_PAIRS = 40
"""Fewest mutual neighbours that a map is fitted to."""
EVERY = 4
"""One in so many images is set aside to decide whether a map is kept."""
LEAST_ASIDE = 10
"""Fewest mutual neighbours among them; with fewer, no map is kept."""
COMPARED = 64
"""Most pairs of neighbours that this is decided by."""
LEAST_GAIN = 0.01
"""Share by which the LPIPS between translations and neighbours has to fall."""
PENALTY = 1e-3
"""Weight of the squared weights of the classifier of domains."""
BATCH = 64

Images = Callable[[int, np.ndarray], Tensor]


@dataclass(frozen=True)
class Contents:
    """Contents of the images of a domain.

    Attributes:
        positions: positions of the images, (N,).
        means: the active numbers of their codes' means, in standard deviations of the posterior, (N, n).
        styles: the means of their styles, (N, S).
    """

    positions: np.ndarray
    means: Tensor
    styles: Tensor


@dataclass(frozen=True)
class LinearMap:
    """A change of contents: x becomes x + x A + b.

    Attributes:
        matrix: A, (n, n).
        offset: b, (n,).
    """

    matrix: Tensor
    offset: Tensor

    def __call__(self, means: Tensor) -> Tensor:
        """Move contents (N, n)."""
        return means + means @ self.matrix + self.offset


@torch.no_grad()
def fit_alignment(
    model: LatentModel,
    positions: Sequence[np.ndarray],
    images: Images,
    lpips: Lpips,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Alignment | None:
    """The alignment of a trained model.

    Args:
        model: a model in evaluation mode.
        positions: positions of training images of each domain.
        images: returns the readable images of a domain at given positions, (B, C, H, W) on the model's
            device.
        lpips: measures whether translations come closer to neighbours.
        autocast: context of the model's passes.

    Returns:
        None if the model has no labelled domains or too many, or if no map helps.
    """
    if not 2 <= model.domains <= MOST_DOMAINS:
        return None
    fitter = _Fitter(model, positions, images, lpips, autocast)
    count = len(fitter.places)
    alignment = Alignment(model.domains, count, model.style_dim)
    alignment.places.copy_(fitter.places)
    for source, target in permutations(range(model.domains), 2):
        if count and (fitted := fitter.fit(source, target)):
            ratio = fitter.deviations[None] / fitter.deviations[:, None]
            alignment.maps[source, target] = fitted.matrix * ratio
            alignment.offsets[source, target] = fitted.offset * fitter.deviations
    if not alignment.kept:
        return None
    weights, bias = fitter.classifier()
    alignment.weights.copy_(weights)
    alignment.bias.copy_(bias)
    return alignment.to(fitter.device)


class _Fitter:
    """Contents of all domains, and the map between two of them.

    Args: see `fit_alignment`.

    Attributes:
        places: positions of the active numbers in the flattened code, (n,).
        deviations: mean standard deviation of the posterior of each, (n,).
    """

    def __init__(
        self,
        model: LatentModel,
        positions: Sequence[np.ndarray],
        images: Images,
        lpips: Lpips,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.model, self.images, self.lpips, self.autocast = model, images, lpips, autocast
        self.device = model.style_prior.means.device
        read = [self._read(domain, chosen) for domain, chosen in enumerate(positions)]
        means, logvars = (torch.cat([part[at] for _, part in read]) for at in (0, 1))
        kl = 0.5 * Gaussian(means, logvars).doubled_kl_terms().mean(0)
        active = kl.topk(min(MOST_NUMBERS, len(kl))).indices
        self.places = active[kl[active] > ACTIVE].sort().values
        self.deviations = logvars.exp().mean(0).sqrt()[self.places]
        self.contents = [
            Contents(readable, part[0][:, self.places] / self.deviations, part[2]) for readable, part in read
        ]

    def fit(self, source: int, target: int) -> LinearMap | None:
        """The map from one domain to another; None if there are too few neighbours or it does not help."""
        x, y = self.contents[source].means, self.contents[target].means
        if len(mutual_neighbours(x, y)[0]) < LEAST_PAIRS:
            return None
        trial = fit_map(*(means[torch.arange(len(means)) % EVERY != 0] for means in (x, y)))
        before, after = (self._distance(source, target, change) for change in (None, trial))
        helps = before is not None and after is not None and after < (1 - LEAST_GAIN) * before
        return fit_map(x, y) if helps else None

    def classifier(self) -> tuple[Tensor, Tensor]:
        """Weights (D, n + S) and bias (D,) of a classifier of domains by contents and styles.

        It is a logistic regression with a quadratic penalty, over numbers scaled to unit variance.
        """
        codes = torch.cat([torch.cat([one.means * self.deviations, one.styles], 1) for one in self.contents])
        counts = torch.tensor([len(one.means) for one in self.contents])
        labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
        middle, deviation = codes.mean(0), codes.std(0).clamp(min=1e-6)
        return _unscaled(
            *logistic_regression((codes - middle) / deviation, labels, len(counts)), middle, deviation
        )

    def _read(self, domain: int, chosen: np.ndarray) -> tuple[np.ndarray, tuple[Tensor, ...]]:
        """Positions of readable images; means and log variances of contents, means of styles, (N, ...)."""
        positions = np.asarray(chosen)[spread(len(chosen), MOST_IMAGES)]
        found: list[np.ndarray] = []
        size = math.prod(self.model.content_shape)
        codes = [(torch.empty(0, size), torch.empty(0, size), torch.empty(0, self.model.style_dim))]
        for start in range(0, len(positions), BATCH):
            part = positions[start : start + BATCH]
            batch = self.images(domain, part)
            if len(batch) < len(part):
                part = np.array([one for one in part if len(self.images(domain, np.array([one])))], int)
            if not len(part):
                continue
            with self.autocast():
                posterior = self.model.encode(batch)
            content, style = posterior.content, posterior.style
            found.append(part)
            parts = content.mean.flatten(1), content.logvar.flatten(1), style.mean
            codes.append(tuple(one.float().cpu() for one in parts))  # type: ignore[arg-type]  # three of them
        return np.concatenate([np.empty(0, int), *found]), tuple(map(torch.cat, zip(*codes, strict=True)))

    def _distance(self, source: int, target: int, change: LinearMap | None) -> float | None:
        """Mean LPIPS between translations of images set aside and their mutual neighbours; None if too few.

        Args:
            source: domain of the images.
            target: domain of the neighbours, which are also among the images set aside.
            change: how contents are moved, before neighbours are searched and images are translated.
        """
        contents, others = self.contents[source], self.contents[target]
        x, y = contents.means[::EVERY], others.means[::EVERY]
        moved = x if change is None else change(x)
        first, second = mutual_neighbours(moved, y)
        if len(first) < LEAST_ASIDE:
            return None
        chosen = spread(len(first), COMPARED)
        first, second = first[chosen], second[chosen]
        originals = self.images(source, contents.positions[::EVERY][first.numpy()])
        neighbours = self.images(target, others.positions[::EVERY][second.numpy()])
        style = self.model.prior_style(torch.full((len(first),), target, device=self.device), len(first))
        shift = ((moved - x)[first] * self.deviations).to(self.device)
        with self.autocast():
            content = self.model.content(originals).float()
            flat = content.flatten(1).index_add(1, self.places.to(self.device), shift)
            translations = self.model.decode(Codes(flat.view_as(content), style))
        return float(self.lpips.distances(translations.float(), neighbours).mean())


def mutual_neighbours(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of pairs that are each other's nearest in (N, n) and (M, n): (K,) and (K,).

    >>> first, second = torch.tensor([[0.0], [5.0], [6.0]]), torch.tensor([[5.2], [0.1]])
    >>> mutual_neighbours(first, second)
    (tensor([0, 1]), tensor([1, 0]))
    """
    if not len(first) or not len(second):
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    distances = torch.cdist(first, second)
    nearest, back = distances.argmin(1), distances.argmin(0)
    mutual = (back[nearest] == torch.arange(len(first))).nonzero().flatten()
    return mutual, nearest[mutual]


def fit_map(first: Tensor, second: Tensor) -> LinearMap:
    """The map from contents (N, n) to contents (M, n), fitted to mutual neighbours in `ROUNDS` rounds."""
    fitted = LinearMap(torch.zeros(2 * first.shape[1:]), torch.zeros(first.shape[1:]))
    for _ in range(ROUNDS):
        at, to = mutual_neighbours(fitted(first), second)
        fitted = ridge_regression(first[at], second[to])
    return fitted


def ridge_regression(first: Tensor, second: Tensor) -> LinearMap:
    """The map that moves contents (N, n) closest to others (N, n); its offset is not penalised."""
    count, numbers = first.shape
    middle, change = first.mean(0), second - first
    centred = first - middle
    penalty = RIDGE * count * torch.eye(numbers)
    matrix = torch.linalg.solve(centred.T @ centred + penalty, centred.T @ (change - change.mean(0)))
    return LinearMap(matrix, change.mean(0) - middle @ matrix)


def logistic_regression(codes: Tensor, labels: Tensor, domains: int) -> tuple[Tensor, Tensor]:
    """Weights (D, n) and bias (D,) that tell labels 0 to D - 1, (N,), from codes (N, n)."""
    weights = torch.zeros(domains, codes.shape[1], requires_grad=True)
    bias = torch.zeros(domains, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(codes @ weights.T + bias, labels) + PENALTY * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[arg-type, no-untyped-call]  # torch asks for a float
    return weights.detach(), bias.detach()


def _unscaled(weights: Tensor, bias: Tensor, middle: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and bias for codes that are not standardised."""
    return weights / deviation, bias - (weights / deviation) @ middle


def align(
    saved: SavedModel, config: DataConfig, note: Callable[[list[str]], object], device: str = "auto"
) -> Alignment | None:
    """The alignment of a model file, fitted to all training images of its data; see `fit_alignment`.

    Args:
        saved: the content of the model file; its alignment is not used.
        config: its data.
        note: called with the problem of each unreadable image, which is left out.
        device: where to compute.

    Returns:
        on the CPU.

    Raises:
        DataError: the images cannot be used.
        InputError: the data has other domains.
    """
    data, place = load_data(config), pick_device(device)
    require_domains(saved, data.domains)
    model = saved.model.to(place)

    def images(domain: int, positions: np.ndarray) -> Tensor:
        return read_batch(data.train[domain], positions, model.image_shape, note).to(place)

    positions = [np.arange(len(source)) for source in data.train]
    fitted = fit_alignment(model, positions, images, Lpips.load(device=place), nullcontext)
    saved.model.cpu()
    return fitted.cpu() if fitted else None
