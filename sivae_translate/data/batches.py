"""Training batches: what step n sees depends only on the seed and n.

A resumed run therefore sees exactly the batches that it would have seen, with any number of loader processes,
and checkpoints need not store the state of the loader.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import FrameType

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sivae_translate.config import DataConfig
from sivae_translate.data.augment import Augmentation
from sivae_translate.data.domains import DomainData
from sivae_translate.data.splits import Split
from sivae_translate.data.tensors import to_tensor
from sivae_translate.utils.cores import bounded_by_cores
from sivae_translate.utils.errors import DataError, SivaeError


@dataclass(frozen=True)
class Batch:
    """Images of several domains; images of one domain are adjacent.

    Attributes:
        images: (B, C, H, W) float in [0, 1].
        domain: (B,) long, domain index of each image; all 0 without labels.
        unreadable: path and reason of each image that was replaced by another of its domain.
    """

    images: Tensor
    domain: Tensor
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to a device, with images in channels_last memory format."""
        images = self.images.to(device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        return Batch(images, self.domain.to(device, non_blocking=True), self.unreadable)

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU can copy from without the host; loaders call this."""
        return replace(self, images=self.images.pin_memory(), domain=self.domain.pin_memory())

    def parts(self, count: int) -> list[Batch]:
        """Divide a multiple of 2 * ``count`` images into parts, which have every ``count``-th pair of images.

        A part has images of many domains, and as images of one domain are adjacent, they have others of their
        domain to swap styles with.

        >>> batch = Batch(torch.zeros(8, 1, 1, 1), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
        >>> [part.domain.tolist() for part in batch.parts(2)]
        [[0, 0, 1, 1], [0, 0, 1, 1]]
        """
        images, domain = (x.view(-1, count, 2, *x.shape[1:]) for x in (self.images, self.domain))
        layout = torch.channels_last
        return [
            Batch(images[:, part].flatten(0, 1).contiguous(memory_format=layout), domain[:, part].flatten())
            for part in range(count)
        ]


class TrainingBatches(Dataset[Batch]):
    """Training batches, indexed by step.

    A batch has the same number of images of each of its domains (to within one), whatever their sizes: a rare
    domain counts as much as a common one. With more than B / 4 domains, a batch draws B / 4 of them, so that
    each domain has images to swap styles with.

    Args:
        data: the domains.
        config: augmentation.
        batch: batch size B.
        seed: seed of the random draws.
        splits: the images of each domain to draw from; see `sivae_translate.data.splits.split_training`.
        rank: rank of this process in a distributed run; each rank draws its own batches.

    Attributes:
        in_process: whether the training process itself must make them.
        on_device: whether their images already lie on the device.
    """

    in_process = False
    on_device = False

    def __init__(
        self,
        data: DomainData,
        config: DataConfig,
        batch: int,
        seed: int,
        splits: Sequence[Split],
        rank: int = 0,
    ) -> None:
        self.sources = data.train
        self.train = [split.train for split in splits]
        self.batch = batch
        self.seed, self.rank = seed, rank
        self.augmentation = Augmentation(config.augment)

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng((self.seed, step, self.rank) if self.rank else (self.seed, step))
        domains = np.arange(len(self.sources))
        if len(domains) > max(2, self.batch // 4):
            domains = rng.choice(domains, max(2, self.batch // 4), replace=False)
        order = np.sort(np.resize(rng.permutation(domains), self.batch))
        problems: list[str] = []
        images = self.draw(order, rng, problems)
        return Batch(images, torch.from_numpy(order.astype(np.int64)), tuple(problems))

    def draw(self, order: np.ndarray, rng: np.random.Generator, problems: list[str]) -> Tensor:
        """Random images of these domains, (B, C, H, W)."""
        return to_tensor(np.stack([self.draw_one(int(domain), rng, problems) for domain in order]))

    def draw_one(self, domain: int, rng: np.random.Generator, problems: list[str]) -> np.ndarray:
        """A random image of a domain; an unreadable one is recorded and another is drawn."""
        for _ in range(100):
            try:
                return self.load(domain, int(rng.choice(self.train[domain])), rng)
            except DataError as error:
                problems.append(error.what)
        raise DataError(
            f"100 images in a row could not be read; the first: {problems[0]}",
            remedy="check that the data folder still exists",
        )

    def load(self, domain: int, position: int, rng: np.random.Generator) -> np.ndarray:
        """An image of a domain, augmented, (H, W, C)."""
        image = self.sources[domain][position]
        return self.augmentation(image, int(rng.integers(2**31)))


def iterate(batches: TrainingBatches, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """Batches ``start`` to ``stop``, prefetched by worker processes, at most one a core, if they can."""
    workers = 0 if batches.in_process else bounded_by_cores(workers, "data.workers")
    loader = DataLoader(
        _WithErrors(batches),
        batch_size=None,
        sampler=range(start, stop),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available() and not batches.on_device,
        worker_init_fn=_leave_signals_to_training,
    )
    for batch in loader:
        if isinstance(batch, SivaeError):
            raise batch
        yield batch


def _leave_signals_to_training(_: int) -> None:
    """Ignore signals in a loader process: the main process handles them, such as Ctrl-C, for all.

    A second SIGTERM ends the process, so that it can still be terminated.
    """
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + signum)
        received.append(signum)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, note)


class _WithErrors(Dataset[Batch | SivaeError]):
    """Batches, or errors in their place: raised in a loader process, an error would print a traceback.

    Args:
        batches: the batches to load.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Batch | SivaeError:
        try:
            return self.batches[step]
        except SivaeError as error:
            return error
