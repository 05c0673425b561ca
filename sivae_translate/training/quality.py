r"""A score of a model's images without truths, for choosing among checkpoints.

.. math:: \frac{\mathrm{KID}(\text{fakes}, \text{real})}{\mathrm{KID}(\text{trivial}, \text{real})}
    + \mathrm{LPIPS}(x, \text{there and back})

Pixel errors would favour models that blur. KID (arXiv 1801.01401, here in the features of the shipped
AlexNet) compares translations into a domain with real images of that domain. Its unit is that of the better
of two trivial solutions, the domain's mean image and the untranslated sources, so a model that blurs or
changes nothing has 1 or more. LPIPS ensures that an image keeps its content when it is translated there and
back. The images and draws are the same at each checkpoint, so that scores can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.splits import Split
from sivae_translate.models.appearance import (
    FeatureSet,
    appearance,
    appearance_scale,
    kernel_distance,
    large_enough,
)
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.selection import spread

TARGETS = 8
"""Most target domains; of more domains, an evenly spread choice."""
SOURCES = 128
"""Number of images to translate over all targets, each with the target's prior mean and with a draw."""
REAL = 64
"""Number of real images of a target; missing validation images are replaced by training images."""
BATCH = 32
LEAST_UNIT = 0.01
"""Lower bound of the unit of KID, as a fraction of that of the mean image, for domains that look alike."""
SEED = 0


@dataclass(frozen=True)
class Score:
    """The score of a model's images; lower is better.

    Attributes:
        kid: KID of its fakes, in units of that of the better trivial solution.
        lpips: LPIPS of images translated there and back, or reconstructed.
    """

    kid: float
    lpips: float

    @property
    def total(self) -> float:
        """The score that checkpoints are compared by."""
        return self.kid + self.lpips

    def facts(self) -> dict[str, float]:
        """Facts for a model file."""
        return {"score": self.total, **asdict(self)}


class Quality:
    """Scores a model on validation images.

    Args:
        model: a model in evaluation mode.
        splits: the split of each domain.
        images: returns the readable images of a domain at given positions, (B, C, H, W) on the model's
            device.
        autocast: context of the model's passes.
    """

    def __init__(
        self,
        model: LatentModel,
        splits: Sequence[Split],
        images: Callable[[int, np.ndarray], Tensor],
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.model, self.splits, self.images, self.autocast = model, splits, images, autocast
        self.targets = spread(len(splits), TARGETS)
        self.references: dict[int, _Reference | None] = {}

    @torch.no_grad()
    def score(self) -> Score | None:
        """The score; None without validation images, or if the model's outputs are not finite.

        No global random generator is used.
        """
        device = self.model.style_prior.means.device
        generator = torch.Generator(device).manual_seed(SEED)
        lpips, parts = _lpips(str(device)), []
        for target in self.targets:
            if target not in self.references:
                self.references[target] = self._reference(target, lpips)
            reference = self.references[target]
            if reference is None:
                continue
            fakes, back = [], []
            for sources, domains in zip(reference.sources, reference.domains, strict=True):
                with self.autocast():
                    made, returned = self._translated(sources, domains, target, generator)
                if not (made.isfinite().all() and returned.isfinite().all()):
                    return None
                fakes.append(appearance(made, lpips))
                back.append(lpips(large_enough(sources), large_enough(returned.float().clamp(0, 1))))
            kid = kernel_distance(FeatureSet(torch.cat(fakes) / reference.scale), reference.real)
            parts.append((kid / reference.unit, float(torch.cat(back).mean())))
        if not parts:
            return None
        kid, distance = np.mean(parts, axis=0)
        return Score(round(float(kid), 6), round(float(distance), 6))

    def _reference(self, target: int, lpips: Lpips) -> _Reference | None:
        """The sources and real images of a target; None if none can be read."""
        translates = self.model.domains > 1
        origins = [index for index in range(len(self.splits)) if index != target or not translates]
        pool = [(index, position) for index in origins for position in self.splits[index].validation]
        chosen = [pool[i] for i in spread(len(pool), max(2, SOURCES // len(self.targets)))]
        loaded = [(index, self.images(index, np.array([position]))) for index, position in chosen]
        readable = [(index, image) for index, image in loaded if len(image)]
        split = self.splits[target]
        real = self.images(target, np.concatenate([split.validation, split.train])[:REAL])
        if not readable or not len(real):
            return None
        images = torch.cat([image for _, image in readable])
        domains = torch.tensor([index for index, _ in readable], device=images.device)
        looks = appearance(real, lpips)
        scale = appearance_scale(looks)
        mean = appearance(real.mean(0, keepdim=True), lpips).expand(2, -1) / scale
        compared = FeatureSet(looks / scale)
        unit = kernel_distance(FeatureSet(mean), compared)
        if translates:
            copied = kernel_distance(FeatureSet(appearance(images, lpips) / scale), compared)
            unit = max(LEAST_UNIT * unit, min(unit, copied))
        return _Reference(
            torch.split(images, BATCH), torch.split(domains, BATCH), compared, scale, max(unit, 1e-6)
        )

    def _translated(
        self, images: Tensor, domains: Tensor, target: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Fakes in the target domain, and images translated there and back, (B, C, H, W)."""
        model, count = self.model, len(images)
        own = model.encode(images)
        if not model.translates:
            return model.sample(count, None, generator), model.decode(own.mean)
        if model.domains < 2:
            style = own.style.mean.roll(1, 0)
            there = model.translate(images, style)
            return there, model.translate(there.float(), own.style.mean)
        mean = model.prior_style(torch.full_like(domains, target), count)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        there, drawn = model.translate(images, mean), model.translate(images, mean + noise)
        return torch.cat([there, drawn]), model.translate(there.float(), own.style.mean)


@dataclass(frozen=True)
class _Reference:
    """The sources of a target's fakes, and what they are compared with.

    Attributes:
        sources: batches of images of other domains.
        domains: domain of each source.
        real: scaled `appearance` of real images of the target.
        scale: scale of each feature, (1, F).
        unit: KID of the better trivial solution.
    """

    sources: tuple[Tensor, ...]
    domains: tuple[Tensor, ...]
    real: FeatureSet
    scale: Tensor
    unit: float


@lru_cache(maxsize=2)
def _lpips(device: str) -> Lpips:
    """LPIPS, loaded on first use, which takes a second."""
    return Lpips.load(device=device)
