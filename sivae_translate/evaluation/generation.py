"""Metrics of samples (FID, KID, precision, recall) and of reconstructions (LPIPS, L1, PSNR, SSIM)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from sivae_translate.data.domains import DomainData, ImageSource
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation import fidelity
from sivae_translate.evaluation.fidelity import BATCH, Fidelity, Inception
from sivae_translate.evaluation.intervals import Interval, bootstrap
from sivae_translate.evaluation.metrics import l1, psnr, ssim
from sivae_translate.evaluation.texture import (
    NAMES,
    Texture,
    band_powers,
    compare_textures,
    count_right,
    texture_cells,
)
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import SMALLEST_SIDE, Lpips
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.progress import track
from sivae_translate.utils.seeds import check_seed
from sivae_translate.utils.tables import markdown_table, number
from sivae_translate.utils.text import markdown_text


@dataclass(frozen=True)
class GenerationResult:
    """The quality of a model's samples and reconstructions.

    Attributes:
        samples: samples against real test images.
        floor: the same number of training images against the same test images: what a perfect model would
            reach.
        reconstruction: lpips, l1, psnr (dB) and ssim between test images and their reconstructions, with 95 %
            intervals.
        texture: power of samples relative to test images, in bands of periods.
    """

    samples: Fidelity
    floor: Fidelity
    reconstruction: dict[str, Interval]
    texture: Texture

    def as_json(self) -> dict[str, object]:
        """Nested dicts of numbers."""
        return asdict(self)

    def markdown(self, title: str) -> str:
        """Three tables."""
        rows = {"samples": self.samples, "training images (floor)": self.floor}
        lines = [
            f"## {markdown_text(title)}",
            "",
            *markdown_table(
                ["", "FID", "KID x 1000", "precision", "recall"],
                (
                    [
                        name,
                        number(one.fid, 1),
                        f"{1000 * one.kid:.2f} ({1000 * one.kid_std:.2f})",
                        number(one.precision, 3),
                        number(one.recall, 3),
                    ]
                    for name, one in rows.items()
                ),
            ),
            "",
            f"Power of samples relative to test images, by period in pixels; {count_right([self.texture])}:",
            "",
            *markdown_table(list(NAMES), [texture_cells([self.texture])]),
            "",
            f"{self.samples.images} images of each kind. Reconstruction of the test images (95 % intervals):",
            "",
            *markdown_table(
                ["", "mean", "from", "to"],
                (
                    [name, number(one.mean), number(one.low), number(one.high)]
                    for name, one in self.reconstruction.items()
                ),
            ),
        ]
        return "\n".join(lines) + "\n"


class GenerationSuite:
    """Measures samples and reconstructions of models of one data set.

    What depends only on the data is computed once. Real images, samples and training images cycle through the
    domains, so that all domains have the same weight.

    Args:
        data: a data set with test images.
        images: number of images of each kind; FID is biased unless there are thousands, KID is not.
        seed: seed of samples, choice of images, and the bootstrap.
        device: where Inception and LPIPS run.

    Raises:
        DataError: there are no test images, or fewer than ``images``.
        ConfigError: the extra ``fid`` is not installed.
    """

    def __init__(
        self, data: DomainData, *, images: int = 1000, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        data.require_tests()
        self.seed = check_seed(seed)
        self.inception, self.lpips = Inception(device), Lpips.load(device=str(device))
        self.test, training = _pick(data.test, images, seed), _pick(data.train, images, seed + 1)
        self.real = fidelity.features_of(track(list(_batches(self.test)), "test images"), self.inception)
        floor = fidelity.features_of(track(list(_batches(training)), "training images"), self.inception)
        self.floor = fidelity.compare(self.real, floor, seed=seed)

    def measure(self, translator: Translator) -> GenerationResult:
        """Measure a plain model or a translation model of the data."""
        powers: list[Tensor] = []
        samples = _measured(_samples(translator, len(self.test), self.seed), powers)
        made = fidelity.features_of(samples, self.inception)
        real = torch.cat([band_powers(batch) for batch in _batches(self.test)])
        values: dict[str, list[Tensor]] = {"lpips": [], "l1": [], "psnr": [], "ssim": []}
        for batch in track(list(_batches(self.test)), "reconstructions"):
            rebuilt = translator.engine.reconstruct(batch.to(translator.device)).float().cpu()
            values["lpips"].append(self.lpips.distances(_large_enough(rebuilt), _large_enough(batch)))
            for name, metric in (("l1", l1), ("psnr", psnr), ("ssim", ssim)):
                values[name].append(metric(rebuilt, batch))
        return GenerationResult(
            samples=fidelity.compare(self.real, made, seed=self.seed),
            floor=self.floor,
            reconstruction={
                name: bootstrap(torch.cat(parts), seed=self.seed) for name, parts in values.items()
            },
            texture=compare_textures(torch.cat(powers), real),
        )


def _measured(batches: Iterator[Tensor], powers: list[Tensor]) -> Iterator[Tensor]:
    """Pass batches on and collect their `band_powers`."""
    for batch in batches:
        powers.append(band_powers(batch))
        yield batch


def _large_enough(images: Tensor) -> Tensor:
    """Pad images to the 32 px that LPIPS needs, by repeating their border."""
    missing = max(0, SMALLEST_SIDE - images.shape[-1])
    edges = [missing // 2, missing - missing // 2] * 2
    return torch.nn.functional.pad(images, edges, mode="replicate") if missing else images


def _pick(sources: tuple[ImageSource, ...], count: int, seed: int) -> np.ndarray:
    """Random images, cycling through the domains: uint8 (count, H, W, C)."""
    each = -(-count // len(sources))
    short = min(map(len, sources))
    if short < each:
        raise DataError(
            f"{count} images are too many: a domain has only {short}",
            remedy=f"use {short * len(sources)} or fewer",
        )
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(len(source))[:each] for source in sources]
    return np.stack(
        [sources[i % len(sources)][int(chosen[i % len(sources)][i // len(sources)])] for i in range(count)]
    )


def _batches(images: np.ndarray) -> Iterator[Tensor]:
    for start in range(0, len(images), BATCH):
        yield to_tensor(images[start : start + BATCH])


def _samples(translator: Translator, count: int, seed: int) -> Iterator[Tensor]:
    """Samples in batches, cycling through the domains."""
    model, device = translator.model, translator.device
    generator = torch.Generator(device).manual_seed(seed)
    for start in track(range(0, count, BATCH), "samples"):
        size = min(BATCH, count - start)
        domain = torch.arange(start, start + size, device=device) % max(1, model.domains)
        yield translator.decode(model.draw(size, domain, generator))
