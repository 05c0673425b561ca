r"""How good a model's images are, without any truth: a score for choosing among checkpoints.

.. math:: \frac{\mathrm{KID}(\text{fakes}, \text{real})}{\mathrm{KID}(\text{trivial}, \text{real})}
    + \mathrm{LPIPS}(x, \text{there and back})

The error of a pixel would be lowest for a model that blurs. KID (arXiv 1801.01401, here in the features of
the shipped AlexNet) compares how images look: translations into a domain with real images of that domain. It
is measured in units of the better of two trivial answers, the domain's mean image and the untranslated
sources, so a blurred model and one that changes nothing have 1 there or more. LPIPS sees to it that an image
still comes back with its own content. The images and the draws are the same at each checkpoint, so that
scores can be compared.
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
"""Domains that images are translated to; of more domains, some spread evenly."""
SOURCES = 128
"""Images that are translated, over all targets; each twice, by the target's prior mean and by a draw."""
REAL = 64
"""Real images of a target; training images make up for validation images that are missing."""
BATCH = 32
LEAST_UNIT = 0.01
"""The unit of KID is at least this share of the mean image's: domains that look alike differ by chance."""
SEED = 0


@dataclass(frozen=True)
class Score:
    """How good a model's images are; less is better.

    Attributes:
        kid: of its fakes, in units of the better trivial answer's; 0 is real.
        lpips: of images that are translated there and back, or reconstructed.
    """

    kid: float
    lpips: float

    @property
    def total(self) -> float:
        """What checkpoints are compared by."""
        return self.kid + self.lpips

    def facts(self) -> dict[str, float]:
        """For a model file."""
        return {"score": self.total, **asdict(self)}


class Quality:
    """Scores a model on validation images.

    Args:
        model: in evaluation mode.
        splits: one a domain.
        images: those of a domain at some positions that can be read, (B, C, H, W) on the model's device.
        autocast: around the model's passes.
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
        """The score; None without validation images, or where the model gives numbers that are not finite.

        No global random stream is used.
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
        """What a target's fakes are made of and compared with; None where no source can be read."""
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
        """Fakes that should look like the target domain, and what the images come back as, (B, C, H, W)."""
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
    """What a target's fakes are made of and compared with.

    Attributes:
        sources: batches of images of other domains.
        domains: of each.
        real: `appearance` of real images of the target, scaled.
        scale: of each of its numbers, (1, F).
        unit: KID of the better trivial answer.
    """

    sources: tuple[Tensor, ...]
    domains: tuple[Tensor, ...]
    real: FeatureSet
    scale: Tensor
    unit: float


@lru_cache(maxsize=2)
def _lpips(device: str) -> Lpips:
    """LPIPS, loaded when it is first needed: it takes a second."""
    return Lpips.load(device=device)
