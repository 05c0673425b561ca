"""Reconstruction of test images: what a model loses before any translation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sivae_translate.evaluation.intervals import bootstrap
from sivae_translate.evaluation.metrics import l1
from sivae_translate.evaluation.posteriors import BATCH
from sivae_translate.evaluation.results import DomainResult
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.utils.selection import spread

REBUILT = 200
"""Most images of each domain, evenly spread."""


def measure_reconstructions(
    translator: Translator | None, domains: Sequence[str], images: Sequence[Tensor], lpips: Lpips, seed: int
) -> tuple[DomainResult, ...]:
    """LPIPS and L1 between each domain's test images and their reconstructions; empty without a model.

    Args:
        translator: the model, or None for a baseline.
        domains: names of the domains.
        images: images of each domain, (N, C, H, W) in [0, 1].
        lpips: the distance.
        seed: seed of the bootstrap.
    """
    if translator is None:
        return ()
    return tuple(
        _measure(translator, name, some, lpips, seed) for name, some in zip(domains, images, strict=True)
    )


def _measure(translator: Translator, domain: str, images: Tensor, lpips: Lpips, seed: int) -> DomainResult:
    own, engine = images[spread(len(images), REBUILT)], translator.engine
    rebuilt = torch.cat([engine.reconstruct(part).float().cpu() for part in torch.split(own, BATCH)])
    values = {"reconstruction_lpips": lpips.distances(rebuilt, own), "reconstruction_l1": l1(rebuilt, own)}
    if translator.model.flat:  # no model on these latents can do better
        alone = torch.cat([engine.through_space(part).float().cpu() for part in torch.split(own, BATCH)])
        values |= {"autoencoder_lpips": lpips.distances(alone, own), "autoencoder_l1": l1(alone, own)}
    return DomainResult(
        domain, len(own), {name: bootstrap(value, seed=seed) for name, value in values.items()}
    )
