"""Engine: tensors in, tensors and typicality verdicts out, on one device in one precision."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor, nn

from sivae_translate.inference.arguments import PERCENTILE, CoarseCheckWarning
from sivae_translate.inference.replays import Replays
from sivae_translate.models.codes import Codes, Posterior
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import Calibration, Verdict
from sivae_translate.models.windows import Windows
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.devices import CAST, autocast, pick_device, pick_dtype
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.recording import CudaRecorder
from sivae_translate.utils.seeds import check_seed

CPU_PIXELS = 2**20
"""Pixels that a CPU translates at a time: 16 images of 256 px, whose features still fit into its caches."""

FEWEST_CELLS, MOST_CELLS = 16, 128
"""Widths of the strips that show how far networks see."""


class Engine:
    """Runs a trained model on tensors.

    Input images are (B, C, H, W) in [0, 1], prepared as in training, on any device; results are on the
    engine's device. In bfloat16 it computes with a copy of the weights that is cast once: call `to` after
    changing the weights of the model.

    Args:
        model: a trained model; it is moved to the device and set to evaluation mode without gradients.
        device: where to compute; ``auto`` is a GPU if there is one.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        calibration: scores of typical images, for `typicality`; None if training had no validation images.

    Raises:
        ConfigError: the device is not available, or the precision is unknown.

    >>> from sivae_translate import Translator
    >>> engine = Translator.from_pretrained("glyphs", device="cpu").engine
    >>> images = engine.place(torch.ones(2, 1, 32, 32))
    >>> engine.translate(images, engine.prior_mean(3).expand(2, -1)).shape
    torch.Size([2, 1, 32, 32])
    """

    def __init__(
        self,
        model: LatentModel,
        *,
        device: str = "auto",
        dtype: Precision = "auto",
        calibration: Calibration | None = None,
    ) -> None:
        self.calibration, self.precision = calibration, dtype
        self.model = model.eval().requires_grad_(False)
        self.to(device)

    def to(self, device: str) -> Engine:
        """Move to another device; returns the engine itself.

        Raises:
            ConfigError: the device is not available.
        """
        self.device = pick_device(device)
        self.dtype = pick_dtype(self.precision, self.device)
        self.model = self.model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = self.model if self.dtype == torch.float32 else _lowered(self.model, self.dtype)
        on_gpu = self.device.type == "cuda"
        self._replays = Replays(self._translate, CudaRecorder(self.device)) if on_gpu else None
        return self

    def place(self, images: Tensor) -> Tensor:
        """Move images to the device, in channels_last memory format."""
        return images.to(self.device).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Posterior:
        """Posteriors of content (B, Cc, h, w) and style (B, S), float32."""
        with self._autocast():
            return self._network.encode(self.place(images))

    @torch.inference_mode()
    def decode(self, codes: Codes) -> Tensor:
        """Decode codes to images (B, C, H, W) in [0, 1]."""
        with self._autocast():
            return self._network.decode(codes.map(lambda code: code.to(self.device)))

    @torch.inference_mode()
    def through_space(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) as the autoencoder alone rebuilds them; unchanged without one."""
        with self._autocast():
            return self._network.space.decode(self._network.space.encode(self.place(images)))

    @torch.inference_mode()
    def translate(self, images: Tensor, style: Tensor) -> Tensor:
        """Decode the content of images with other styles: (B, C, H, W) in [0, 1].

        On a CPU large batches are computed in parts (`CPU_PIXELS`). On a GPU, translations of the sizes that
        come often are replayed (`Replays`).

        Args:
            images: (B, C, H, W) in [0, 1].
            style: codes (1, S) for all images or (B, S).
        """
        placed, codes = self.place(images), style.to(self.device).expand(len(images), -1)
        if self._replays is not None:
            return self._replays(placed, codes)
        size = len(images)
        if self.device.type == "cpu":
            size = max(1, CPU_PIXELS // (images.shape[2] * images.shape[3]))
        parts = zip(torch.split(placed, size), torch.split(codes, size), strict=True)
        return torch.cat([self._translate(part, code) for part, code in parts])

    def _translate(self, images: Tensor, codes: Tensor) -> Tensor:
        """`translate`, at once and without a recording."""
        with self._autocast():
            return self._network.translate(images, codes)

    @torch.inference_mode()
    def content(self, images: Tensor) -> Tensor:
        """Content means, float32 (B, Cc, h, w), of images (B, C, H, W).

        Sides are multiples of the model's `cell`.
        """
        with self._autocast():
            return self._network.content(self.place(images)).float()

    @torch.inference_mode()
    def draw_windows(self, content: Tensor, style: Tensor, windows: Windows) -> Tensor:
        """Decode parts of one picture in one style: (B, C, H, W) in [0, 1].

        Args:
            content: contents (B, Cc, h, w) of the parts.
            style: code (1, S).
            windows: where the parts lie in the picture.
        """
        codes = style.to(self.device).expand(len(content), -1)
        with self._autocast():
            return self._network.draw_windows(content.to(self.device), codes, windows)

    @cached_property
    def reach(self) -> tuple[int, int]:
        """How far the encoder of the content and the decoder see, in cells: places of the content code.

        Measured: how far from a change the results change.
        """
        model = self.model
        channels, height, _ = model.image_shape
        rows = height // model.cell
        seeded = torch.Generator().manual_seed(0)

        def encoded(count: int) -> Tensor:
            images = torch.rand(1, channels, height, count * model.cell, generator=seeded)
            return self.content(images) - self.content(_changed(images))

        def decoded(count: int) -> Tensor:
            content = torch.randn(1, model.content_shape[0], rows, count, generator=seeded)
            windows, style = Windows((rows, count), (rows, count), [(0, 0)]), torch.zeros(1, model.style_dim)
            return self.draw_windows(content, style, windows) - self.draw_windows(
                _changed(content), style, windows
            )

        return _reach(encoded), _reach(decoded)

    @cached_property
    def largest_features(self) -> float:
        """The numbers in the largest features of a translation, per pixel of the picture."""
        channels, height, width = self.model.image_shape
        most = 0

        def note(layer: nn.Module, inputs: object, output: object) -> None:
            nonlocal most
            del layer, inputs
            if isinstance(output, Tensor):
                most = max(most, output.numel())

        hooks = [layer.register_forward_hook(note) for layer in self._network.modules()]
        try:
            images, code = torch.zeros(1, channels, height, width), torch.zeros(1, self.model.style_dim)
            with torch.inference_mode():  # a replay would call no hooks
                self._translate(self.place(images), code.to(self.device))
        finally:
            for hook in hooks:
                hook.remove()
        return most / (height * width)

    @torch.inference_mode()
    def reconstruct(self, images: Tensor) -> Tensor:
        """Decode images from the means of their own codes: (B, C, H, W) in [0, 1]."""
        with self._autocast():
            return self._network.decode(self._network.encode(self.place(images)).mean)

    def process(
        self, images: Tensor, style: Tensor | None, *, check: bool = False
    ) -> tuple[Tensor, list[Verdict]]:
        """Translate or reconstruct a batch, with typicality verdicts if requested.

        Args:
            images: (B, C, H, W) in [0, 1].
            style: codes (1, S) or (B, S); None keeps each image's own style and so reconstructs it.
            check: whether to compute verdicts.

        Returns:
            Images (B, C, H, W) in [0, 1], and a verdict for each, or an empty list without ``check``.

        Raises:
            InputError: ``check`` is set but the model has no calibration.
        """
        placed = self.place(images)
        verdicts = self.typicality(placed) if check else []
        return self.reconstruct(placed) if style is None else self.translate(placed, style), verdicts

    @torch.inference_mode()
    def sample(self, count: int, domain: int | None, seed: int) -> Tensor:
        """Decode content and style drawn from their priors: (count, C, H, W) in [0, 1].

        Args:
            count: number of images.
            domain: domain index; None only without labels.
            seed: the same seed gives the same images on the same kind of device.
        """
        with self._autocast():
            return self._network.sample(
                count, domain, torch.Generator(self.device).manual_seed(check_seed(seed))
            )

    @torch.no_grad()
    def prior_mean(self, domain: int) -> Tensor:
        """Mean of a domain's style prior, (1, S)."""
        return self.model.prior_style(torch.tensor([domain], device=self.device), 1)

    @torch.inference_mode()
    def typicality(self, images: Tensor) -> list[Verdict]:
        """How unlike the training data each image is (docs/ood.md).

        Raises:
            InputError: the model has no calibration.
        """
        calibration = self.require_calibration()
        with self._autocast():
            return calibration.examine(self._network, self.place(images))

    def require_calibration(self, percentile: float = 0.0) -> Calibration:
        """The calibration, which must exist.

        Args:
            percentile: the percentile that it must resolve.

        Raises:
            InputError: there is no calibration, or it has too few images for the percentile.
        """
        if self.calibration is None:
            raise InputError(
                "the model has no calibration for the check: it was trained without validation images",
                remedy="train it with training.validation above 0, or turn the check off",
            )
        if not 0 <= percentile <= self.calibration.highest:
            raise InputError(
                f"percentile {percentile:g} is too high: {self.calibration.highest:.2f} is the highest with "
                f"{len(self.calibration.levels)} images to rank among",
                remedy="choose a lower percentile, or train with a larger training.validation",
            )
        return self.calibration

    def threshold(self, percentile: float | None = None) -> float:
        """The percentile above which an image counts as unusual.

        Args:
            percentile: the requested percentile; None is `PERCENTILE` or, with `CoarseCheckWarning`, the
                highest whole number that the calibration resolves.

        Raises:
            InputError: there is no calibration, or it has too few images for the percentile.
        """
        calibration = self.require_calibration(percentile or 0.0)
        if percentile is not None:
            return percentile
        highest = calibration.highest_whole(PERCENTILE)
        if highest < PERCENTILE:
            warnings.warn(
                f"images above percentile {highest:g} count as unusual, instead of {PERCENTILE:g}: the model "
                f"has only {len(calibration.levels)} images to rank among",
                CoarseCheckWarning,
                stacklevel=3,
            )
        return highest

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.dtype)


def _reach(difference: Callable[[int], Tensor]) -> int:
    """How many cells right of the middle differ, from a function of the number of cells of a strip."""
    count = FEWEST_CELLS
    while True:
        columns = (difference(count) != 0).any(2).any(1)[0]
        cell = len(columns) // count
        cells = -(-int(columns[len(columns) // 2 :].sum()) // cell)
        if cells < count // 2 or count >= MOST_CELLS:
            return cells
        count *= 2


def _changed(strip: Tensor) -> Tensor:
    """A strip (1, C, H, W) whose left half is different."""
    left, right = strip.chunk(2, 3)
    return torch.cat([1 - left, right], 3)


def _lowered(model: LatentModel, dtype: torch.dtype) -> LatentModel:
    """A copy whose convolutions and matrix products have their weights in a lower precision."""
    copy = deepcopy(model)
    for part in copy.modules():
        if isinstance(part, CAST):
            part.to(dtype)
    return copy
