"""The autoencoder of a run on latents: trained or loaded, then applied once to every image.

It learns from crops of all domains together, without labels. In training, noise is added to the latents, so
that codes that are only roughly right still decode to crisp images. Its loss includes edges at three scales,
but none of the networks that evaluation uses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sivae_translate.config import Config, DataConfig
from sivae_translate.data.batches import TrainingBatches
from sivae_translate.data.domains import DomainData
from sivae_translate.data.resident import ResidentBatches, fits
from sivae_translate.data.splits import Split
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.autoencoder import CHANNELS, WIDTHS, Autoencoder, small_autoencoder
from sivae_translate.models.autoencoder_files import (
    FILE,
    OWN,
    has_statistics,
    load_autoencoder,
    save_autoencoder,
)
from sivae_translate.models.latent import LatentModel
from sivae_translate.training.averaging import is_finite
from sivae_translate.training.distributed import World
from sivae_translate.training.signals import Interrupted
from sivae_translate.utils.devices import not_in_float16
from sivae_translate.utils.errors import CheckpointError, TrainingError
from sivae_translate.utils.progress import console, track

Autocast = Callable[[], AbstractContextManager[object]]
BATCH, CROP = 16, 64
"""Images in a training step of the autoencoder, and the side of the crop of each."""
RATE = 1e-3
NOISE = 0.2
"""Largest standard deviation of the noise, in units of the latents' own; drawn anew for every image."""
EDGES = 1.0
"""Weight of the differences between neighbouring pixels, at full, half and quarter size."""
STATISTICS_BATCHES = 16
VARIANTS, ENOUGH = 4, 6000
"""Augmented copies encoded of each image; fewer if that would make more than `ENOUGH` in all."""
BYTES_PER_MEGABYTE = 1_000_000


def open_autoencoder(config: Config, out: Path, *, resumed: bool) -> Autoencoder | None:
    """The autoencoder of a run; None if it computes on pixels.

    Args:
        config: settings.
        out: the run folder, from which a resumed run reads its autoencoder.
        resumed: whether the run is resumed.

    Raises:
        CheckpointError: there is no such autoencoder, or it cannot be read.
    """
    name = config.model.autoencoder
    if name is None:
        return None
    if resumed:
        if not (out / FILE).exists():
            raise CheckpointError(
                f"the autoencoder of the run in {out} is missing: {FILE}",
                remedy="copy it back, or train a new run in another --out",
            )
        return load_autoencoder(out / FILE)
    if name != OWN:
        return load_autoencoder(name)
    factor = config.model.downsampling
    own = small_autoencoder(config.data.channels, CHANNELS[factor], WIDTHS[factor])
    return own.eval().requires_grad_(False)


def make_batches(
    model: LatentModel,
    data: DomainData,
    config: Config,
    splits: Sequence[Split],
    world: World,
    autocast: Autocast,
) -> TrainingBatches:
    """A process's share of every batch, in the form that the networks take: images, or views of them."""
    count = world.share(config.training.batch, config.training.accumulate)
    sizes = (data, config.data, count, config.training.seed, splits, world.rank)
    if isinstance(model.space, Autoencoder):
        return LatentBatches(model.space, autocast, *sizes)
    device = model.style_prior.means.device
    if fits(device, config.data.gpu_share, data, splits):
        return ResidentBatches(device, *sizes)
    return TrainingBatches(*sizes)


def prepare(
    model: LatentModel,
    batches: TrainingBatches,
    out: Path,
    config: Config,
    world: World,
    received: Sequence[int] = (),
) -> None:
    """Train the run's own autoencoder, or fit the statistics of a pretrained one, and save it in the run.

    Args:
        model: its space is changed in place; nothing is done with pixels.
        batches: batches of views.
        out: the run folder.
        config: settings.
        world: its writing process prepares the autoencoder for all.
        received: signals; after one, training stops, and no file is written.

    Raises:
        Interrupted: a signal has arrived.
        TrainingError: the autoencoder diverged.
        OutputError: the file cannot be written.
        DataError: too many images cannot be read.
    """
    if not isinstance(batches, LatentBatches):
        return
    autoencoder = batches.autoencoder
    if world.writes:
        _prepare(autoencoder, batches.images(BATCH), config, batches.autocast, received)
        if not received:
            save_autoencoder(out / FILE, autoencoder)
    (signum,) = world.greatest([max(received, default=0)], autoencoder.mean.device)
    if signum:
        raise Interrupted(int(signum), saved=False)
    if not world.writes:
        autoencoder.load_state_dict(load_autoencoder(out / FILE).state_dict())


def _prepare(
    autoencoder: Autoencoder,
    batches: TrainingBatches,
    config: Config,
    autocast: Autocast,
    received: Sequence[int],
) -> None:
    """Train the autoencoder if it is the run's own; fit its statistics if it has none."""
    device, steps = autoencoder.mean.device, config.training.autoencoder_steps
    if config.model.autoencoder == OWN:
        console.print(f"training the autoencoder: {steps:,} steps", highlight=False)
        began = time.monotonic()
        error = train_autoencoder(
            autoencoder,
            lambda step: batches[step].to(device).images,
            steps,
            autocast,
            config.training.seed,
            received,
        )
        if received:
            return
        seconds = timedelta(seconds=round(time.monotonic() - began))
        console.print(f"its mean pixel error is {error:.4f} (of 1), after {seconds}", highlight=False)
    if config.model.autoencoder == OWN or not has_statistics(autoencoder):
        with torch.no_grad(), autocast():
            images = (batches[step].to(device).images for step in range(STATISTICS_BATCHES))
            autoencoder.fit_statistics(torch.cat([autoencoder.latents(part).float() for part in images]))


def train_autoencoder(
    autoencoder: Autoencoder,
    images: Callable[[int], Tensor],
    steps: int,
    autocast: Autocast,
    seed: int = 0,
    received: Sequence[int] = (),
) -> float:
    """Train an autoencoder to reconstruct images from latents with a little noise.

    Args:
        autoencoder: changed in place; frozen and in evaluation mode afterwards.
        images: the images of a step, (B, C, H, W) in [0, 1].
        steps: number of steps.
        autocast: context of the passes.
        seed: of crops and noise.
        received: signals; after one, no further step is taken.

    Returns:
        the mean absolute pixel error in the last step, from noisy latents.

    Raises:
        TrainingError: it diverged.
    """
    generator = torch.Generator().manual_seed(seed)
    autoencoder.requires_grad_(True)
    parameters = list(autoencoder.parameters())
    optimizer = torch.optim.Adam(parameters, lr=RATE, betas=(0.9, 0.99), fused=True)
    error = torch.tensor(float("nan"))
    for step in track(range(steps), "training the autoencoder"):
        if received:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 100) * _cosine(step / steps)
        crops = _crops(images(step), generator)
        with autocast(), not_in_float16(crops.device):
            rebuilt, error = _with_noise(autoencoder, crops, generator)
        loss = error + EDGES * edge_error(rebuilt, crops)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    autoencoder.requires_grad_(False)
    if not is_finite(autoencoder):
        raise TrainingError(
            "the autoencoder diverged: its weights are not finite",
            remedy="set training.precision to float32 or another training.seed, or share the autoencoder of "
            "another run (model.autoencoder)",
        )
    return float(error.detach())


def _cosine(progress: float) -> float:
    """Factor on the learning rate, falling from 1 to a fiftieth."""
    return 0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2


def _crops(images: Tensor, generator: torch.Generator) -> Tensor:
    """The same random square of all images, or all of them if they are no larger."""
    side = min(CROP, images.shape[-1])
    top, left = (int(torch.randint(images.shape[-1] - side + 1, (1,), generator=generator)) for _ in "yx")
    return images[..., top : top + side, left : left + side]


def _with_noise(autoencoder: Autoencoder, crops: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images decoded from noisy latents, (B, C, H, W), and their mean absolute error."""
    latents = autoencoder.latents(crops).float()
    deviation = latents.detach().std((0, 2, 3), keepdim=True)
    draws = (
        torch.rand(len(crops), 1, 1, 1, generator=generator),
        torch.randn(latents.shape, generator=generator),
    )
    share, noise = (draw.to(latents.device) for draw in draws)
    rebuilt = autoencoder.rebuilt(latents + NOISE * share * deviation * noise).float()
    return rebuilt, (rebuilt - crops).abs().mean()


def edge_error(rebuilt: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbouring pixels, at full, half and quarter size.

    Args:
        rebuilt: (B, C, H, W).
        images: the same shape.

    Returns:
        scalar.
    """
    gap, total = rebuilt - images, rebuilt.new_zeros(())
    for _ in range(3):
        total = total + gap.diff(dim=2).abs().mean() + gap.diff(dim=3).abs().mean()
        gap = F.avg_pool2d(gap, 2)
    return total


class LatentBatches(TrainingBatches):
    """Training batches of views: an image is encoded once, or up to `VARIANTS` times with augmentation.

    Args:
        autoencoder: encodes them.
        autocast: context of its passes.
        data: the domains.
        config: augmentation, and the memory for views.
        batch: images in a batch.
        seed: seed of the draws.
        splits: which images of each domain are drawn.
        rank: number of this process among those that share the run.
    """

    in_process = True  # the autoencoder is on this process's device, and views are kept

    def __init__(
        self,
        autoencoder: Autoencoder,
        autocast: Autocast,
        data: DomainData,
        config: DataConfig,
        batch: int,
        seed: int,
        splits: Sequence[Split],
        rank: int = 0,
    ) -> None:
        super().__init__(data, config, batch, seed, splits, rank)
        self.data, self.config, self.splits = data, config, splits
        self.autoencoder, self.autocast = autoencoder, autocast
        copies = ENOUGH // sum(len(train) for train in self.train)
        self.variants = max(1, min(VARIANTS, copies)) if self.augmentation.active else 1
        self.room = config.cache_megabytes * BYTES_PER_MEGABYTE
        self.views: dict[tuple[int, int, int], np.ndarray] = {}

    def images(self, batch: int) -> TrainingBatches:
        """Batches of the images themselves."""
        return TrainingBatches(self.data, self.config, batch, self.seed, self.splits, self.rank)

    def draw(self, order: np.ndarray, rng: np.random.Generator, problems: list[str]) -> Tensor:
        """Views of random images of these domains, (B, K, h, w)."""
        views = [self.draw_one(int(domain), rng, problems) for domain in order]
        return torch.from_numpy(np.stack(views)).float()

    def load(self, domain: int, position: int, rng: np.random.Generator) -> np.ndarray:
        """The view of an image, in half precision, (K, h, w)."""
        key = (domain, position, int(rng.integers(self.variants)))
        view = self.views.get(key)
        if view is None:
            view = self._encoded(key)
            if (len(self.views) + 1) * view.nbytes <= self.room:
                self.views[key] = view
        return view

    @torch.no_grad()
    def _encoded(self, key: tuple[int, int, int]) -> np.ndarray:
        """Encode a single image: in another batch its numbers would differ in their last digits."""
        domain, position, _ = key
        image = self.sources[domain][position]
        augmented = self.augmentation(image, int(np.random.default_rng((self.seed, *key)).integers(2**31)))
        pixels = to_tensor(augmented[None]).to(self.autoencoder.mean.device)
        with self.autocast():
            view = self.autoencoder.encode(pixels)[0]
        return np.asarray(view.half().cpu().numpy())
