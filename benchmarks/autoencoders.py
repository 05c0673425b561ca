"""Autoencoders alone: the best that a model on their latents could do.

    python -m benchmarks.autoencoders --name facades --data FOLDER --steps 300
    python -m benchmarks.autoencoders --name doom --steps 300 --pretrained FOLDER

For each downsampling, our own autoencoder is measured before and after training; a pretrained one can be
measured for comparison. The images are those that ``--data.validation-size`` sets aside from training, if the
data set supports it, so that a choice made here is not made on test data. Prints Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import read_options_and_settings
from sivae_translate.config import Config, load_config
from sivae_translate.data.batches import TrainingBatches
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import split_training
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.texture import band_powers, compare_textures
from sivae_translate.models.autoencoder import CHANNELS, WIDTHS, Autoencoder, small_autoencoder
from sivae_translate.models.autoencoder_files import load_autoencoder
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.latents import BATCH, train_autoencoder
from sivae_translate.utils.devices import autocast, pick_device, pick_dtype
from sivae_translate.utils.selection import spread
from sivae_translate.utils.tables import markdown_table, number

IMAGES = 48
"""Number of images of each domain that are reconstructed, evenly spaced."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    name: str = "facades"
    """Name of the data set."""
    data: Path | None = None
    """Folder of the data set."""
    size: int = 128
    """Image side in pixels."""
    steps: int = 300
    """Training steps of each autoencoder."""
    downsampling: tuple[int, ...] = (4, 8)
    """Image side divided by latent side."""
    pretrained: Path | None = None
    """A tiny pretrained autoencoder to compare with."""


class Measure:
    """LPIPS, L1 and texture of reconstructed test images, a row for each autoencoder and domain.

    Args:
        data: the domains.
        device: the device of the autoencoders.
    """

    def __init__(self, data: DomainData, device: torch.device) -> None:
        self.lpips, self.device = Lpips.load(device=device), device
        self.images = [
            to_tensor([source[index] for index in spread(len(source), IMAGES)]) for source in data.test
        ]
        self.rows: list[list[str]] = []
        self.domains = data.test_domains

    @torch.no_grad()
    def __call__(self, title: str, autoencoder: Autoencoder, seconds: float) -> None:
        """Measure one autoencoder."""
        for domain, images in zip(self.domains, self.images, strict=True):
            rebuilt = torch.cat([self._rebuilt(autoencoder, part) for part in torch.split(images, BATCH)])
            texture = compare_textures(band_powers(rebuilt), band_powers(images)).ratios
            values = [self.lpips.distances(rebuilt, images).mean(), (rebuilt - images).abs().mean()]
            cells = [number(float(value)) for value in values]
            self.rows.append([title, domain, f"{seconds:.0f}", *cells, number(texture["2-4"], 2)])

    def _rebuilt(self, autoencoder: Autoencoder, images: Tensor) -> Tensor:
        return autoencoder.rebuilt(autoencoder.latents(images.to(self.device))).float().clamp(0, 1).cpu()

    def table(self) -> str:
        """All rows as Markdown."""
        header = ["autoencoder", "domain", "seconds", "LPIPS", "L1", "power at 2-4 px"]
        return "\n".join(markdown_table(header, self.rows))


def measure(options: Options, config: Config) -> str:
    """Train and measure the autoencoders, and return a Markdown table."""
    device = pick_device(config.training.device)
    dtype = pick_dtype(config.training.precision, device)
    data = load_data(config.data)
    measure_one = Measure(data, device)
    batches = TrainingBatches(data, config.data, BATCH, 0, split_training(data.train, 0.0))

    def images(step: int) -> Tensor:
        return batches[step].to(device).images

    def precision() -> AbstractContextManager[object]:
        return autocast(device, dtype)

    for factor in options.downsampling:
        torch.manual_seed(config.training.seed)
        own = small_autoencoder(config.data.channels, CHANNELS[factor], WIDTHS[factor])
        own = own.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        measure_one(f"own, {factor}, at the start", own, 0)
        began = time.monotonic()
        train_autoencoder(own, images, options.steps, precision, config.training.seed)
        measure_one(f"own, {factor}, {options.steps} steps", own, time.monotonic() - began)
    if options.pretrained is not None:
        measure_one("pretrained", load_autoencoder(options.pretrained).to(device), 0)
    return measure_one.table()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options, settings = read_options_and_settings(Options, __doc__, arguments)
    base = {"data.name": options.name, "data.image_size": options.size}
    print(measure(options, load_config(None, base | settings)))


if __name__ == "__main__":
    main()
