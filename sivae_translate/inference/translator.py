"""`Translator`, the main class of the library: images in, images in another style out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias, Unpack, overload

import torch
from PIL import Image
from torch import Tensor

from sivae_translate.config import Config
from sivae_translate.data.image import ImageLike
from sivae_translate.data.processor import ImageProcessor
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.arguments import (
    PERCENTILE,
    Options,
    Request,
    act_on,
    as_list,
    check_output,
    require_whole,
)
from sivae_translate.inference.card import write_card_folder
from sivae_translate.inference.engine import Engine
from sivae_translate.inference.large import keep_sizes
from sivae_translate.inference.style import Style, StyleContext
from sivae_translate.models.codes import Codes, Posterior
from sivae_translate.models.hub import locate, upload
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import Calibration, Verdict
from sivae_translate.models.weights import load_model, save_model
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.errors import InputError

StyleLike: TypeAlias = "Style | str | tuple[str, int] | ImageLike | Sequence[ImageLike]"


class Translator:
    """Translates images with a trained model.

    >>> translator = Translator.from_pretrained("glyphs")
    >>> picture = translator("letter.png", style="dejavu-serif")

    Args:
        model: a trained model.
        config: the settings it was trained with; images are prepared as in training.
        domains: names of the domains, in the order of their indices.
        device: where to compute; ``auto`` is a GPU if there is one.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        facts: facts about the training.
        calibration: scores of typical images, for ``check``; None if training had no validation images.
        origin: the model file that it was read from, if any.
    """

    def __init__(
        self,
        model: LatentModel,
        config: Config,
        domains: Sequence[str],
        *,
        device: str = "auto",
        dtype: Precision = "auto",
        facts: dict[str, object] | None = None,
        calibration: Calibration | None = None,
        origin: Path | None = None,
    ) -> None:
        self.config, self.domains, self.facts = config, tuple(domains), facts or {}
        self.origin = origin
        self.processor = ImageProcessor.of(config.data)
        self.engine = Engine(model, device=device, dtype=dtype, calibration=calibration)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        device: str = "auto",
        dtype: Precision = "auto",
    ) -> Translator:
        """Load a model by name (``glyphs``), from a run folder, a model file, or the hub (``user/name``).

        Raises:
            CheckpointError: there is no such name, folder or file, or it is damaged.
            ConfigError: the device is not available, or the precision is unknown.
            InputError: ``revision`` or ``token``, which are the hub's, is given for something else.
        """
        origin = locate(source, revision=revision, token=token)
        saved = load_model(origin)
        return cls(
            saved.model,
            saved.config,
            saved.domains,
            device=device,
            dtype=dtype,
            facts=saved.facts,
            calibration=saved.calibration,
            origin=origin,
        )

    def save(self, path: str | Path) -> None:
        """Write a model file that `from_pretrained` reads back.

        Raises:
            OutputError: the file cannot be written.
        """
        save_model(Path(path), self.model, self.config, self.domains, self.facts, self.calibration)

    def save_pretrained(
        self, folder: str | Path, *, license_name: str | None = None, show_data: bool = False
    ) -> None:
        """Write a folder that `from_pretrained` reads: the model, a model card and pictures.

        Args:
            folder: where to write; other files in it are left alone.
            license_name: licence of the weights for the card, such as ``mit``.
            show_data: also show the run's grid.png, which has training images in it.

        Raises:
            OutputError: the folder cannot be written to.
        """
        write_card_folder(self, Path(folder), license_name=license_name, show_data=show_data)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool = False,
        token: str | None = None,
        license_name: str | None = None,
        show_data: bool = False,
    ) -> str:
        """Upload what `save_pretrained` writes as ``user/name``; returns its address.

        Raises:
            InputError: the name is not one of the hub's.
            ConfigError: the extra ``hub`` is not installed.
            OutputError: the upload failed.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, license_name=license_name, show_data=show_data)
            message = "Upload a model of sivae-translate"
            return upload(Path(folder), name, private=private, token=token, message=message)

    def to(self, device: str) -> Translator:
        """Move to another device (``cpu``, ``cuda``, ``mps``); returns the translator itself.

        Raises:
            ConfigError: the device is not available.
        """
        self.engine.to(device)
        return self

    @property
    def model(self) -> LatentModel:
        """The model, on the engine's device."""
        return self.engine.model

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.engine.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of matrix products."""
        return self.engine.dtype

    @property
    def calibration(self) -> Calibration | None:
        """Scores of validation images, for ``check``; None if there are none."""
        return self.engine.calibration

    @property
    def image_size(self) -> int:
        """Side of the model's images in pixels."""
        return self.config.data.image_size

    @overload
    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        style: StyleLike | Tensor,
        *,
        output: Literal["tensor"],
        **options: Unpack[Options],
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        images: list[ImageLike],
        style: StyleLike | Tensor,
        *,
        output: Literal["pil"] = ...,
        **options: Unpack[Options],
    ) -> list[Image.Image]: ...

    @overload
    def __call__(
        self,
        images: ImageLike,
        style: StyleLike | Tensor,
        *,
        output: Literal["pil"] = ...,
        **options: Unpack[Options],
    ) -> Image.Image: ...

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        style: StyleLike | Tensor,
        *,
        output: Literal["pil", "tensor"] = "pil",
        **options: Unpack[Options],
    ) -> Image.Image | list[Image.Image] | Tensor:
        """Translate images into a style.

        Args:
            images: one image or a list: paths, Pillow images, arrays ((H, W) or (H, W, C)) or tensors
                ((C, H, W), or a batch (B, C, H, W)), as uint8 or as float in [0, 1]. Grey or coloured, of any
                size.
            style: a `Style`, or a domain's name (its prior mean), ``(name, seed)`` (a draw), reference
                images, or a style code (S,) or (B, S).
            output: ``pil`` for Pillow images, ``tensor`` for a tensor (B, C, H, W) in [0, 1] on the CPU.
            options: ``size``, ``tile``, ``overlap``, ``check``, ``percentile`` and ``batch_size``; see
                `sivae_translate.inference.arguments.Request`. Results of the inputs' sizes are Pillow images.

        Returns:
            A Pillow image for one image, a list for a list, or a tensor.

        Raises:
            InputError: an unknown domain (the nearest name is suggested), an unusable image or argument, or
                an unusual image if ``check`` is ``raise``.
            DataError: an image file cannot be read.
        """
        request = Request(**options)
        check_output(output, request)
        threshold = self.engine.threshold(request.percentile) if request.checks else PERCENTILE
        single, sources = as_list(images)
        code = self._one_code_an_image(style, len(sources))
        if request.keeps_size:
            made, verdicts = keep_sizes(self.engine, self.processor, sources, code, request)
            act_on(verdicts, request.check, threshold)
            return made[0] if single else made
        results, verdicts = [], []
        for start, batch in self._batches(sources, request.batch_size):
            codes = code[start : start + len(batch)]
            outputs, some = self.engine.process(batch, codes, check=request.checks)
            results.append(outputs)
            verdicts += some
        act_on(verdicts, request.check, threshold)
        return _deliver(torch.cat(results), single, output)

    def typicality(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64) -> list[Verdict]:
        """How unlike the training data each image is, compared with validation images (docs/ood.md).

        Raises:
            InputError: an unusable image, or the model has no calibration.
        """
        _, sources = as_list(images)
        batches = self._batches(sources, batch_size)
        return [verdict for _, batch in batches for verdict in self.engine.typicality(batch)]

    def style_code(self, style: StyleLike | Tensor) -> Tensor:
        """Resolve a style argument to style codes: (1, S) or (B, S), on the device.

        Raises:
            InputError: the model is a plain one, the domain is unknown, or a string is both a domain's name
                and an existing file.
        """
        if not self.model.translates:
            raise InputError(
                "a plain model has no style", remedy="train one with model.kind translation, or use sample"
            )
        context = StyleContext(self.engine, self.domain_index, self._encode_styles)
        return Style.parse(style, self.domains, self.model.style_dim).resolve(context)

    def _one_code_an_image(self, style: StyleLike | Tensor, count: int) -> Tensor:
        """Style codes (count, S).

        Raises:
            InputError: there are several codes, but not one for each image.
        """
        code = self.style_code(style)
        code = code.expand(count, -1) if len(code) == 1 else code
        if len(code) != count:
            raise InputError(
                f"{len(code)} style codes for {count} images", remedy="give one, or one per image"
            )
        return code

    def _encode_styles(self, images: Sequence[ImageLike]) -> Tensor:
        return self.encode(images).style.mean

    def domain_index(self, name: str) -> int:
        """Index of a domain.

        Raises:
            InputError: the domain is unknown; the nearest name is suggested.
        """
        if name in self.domains:
            return self.domains.index(name)
        close = difflib.get_close_matches(str(name), self.domains, n=1, cutoff=0.4)
        known = ", ".join(self.domains[:20]) or "none"
        hint = f"did you mean '{close[0]}'? The domains are {known}" if close else f"the domains are {known}"
        file = ", and there is no such file" if Path(str(name)).suffix else ""
        raise InputError(f"the model has no domain '{name}'{file}", remedy=hint)

    def swap(self, a: ImageLike, b: ImageLike) -> tuple[Image.Image, Image.Image]:
        """Exchange styles: (content of a in the style of b, content of b in the style of a)."""
        codes = self.encode([a, b]).mean
        images = self.decode(Codes(codes.content, codes.style.flip(0)))
        return to_pil(images[0]), to_pil(images[1])

    def interpolate(
        self,
        a: ImageLike,
        b: ImageLike,
        steps: int = 7,
        *,
        what: Literal["both", "content", "style"] = "both",
    ) -> list[Image.Image]:
        """Decode codes on the straight line between those of a and b, both ends included.

        Args:
            a: first image; it also gives the code that is not interpolated.
            b: last image.
            steps: number of images, at least 2.
            what: which code is interpolated.
        """
        require_whole("steps", steps, 2)
        if what not in ("both", "content", "style"):
            raise InputError(
                f"what = '{what}' cannot be interpolated", remedy="choose both, content or style"
            )
        codes = self.encode([a, b]).mean
        t = torch.linspace(0, 1, steps, device=self.device)
        along = t.view(-1, *[1] * (codes.content.ndim - 1))
        content = torch.lerp(codes.content[:1], codes.content[1:], along * (what != "style"))
        style = torch.lerp(codes.style[:1], codes.style[1:], t.view(-1, 1) * (what != "content"))
        return [to_pil(image) for image in self.decode(Codes(content, style))]

    def sample(self, domain: str | None = None, n: int = 8, seed: int = 0) -> list[Image.Image]:
        """Sample new images of a domain: content and style are drawn from their priors.

        Args:
            domain: domain name; omit it without labels and for plain models.
            n: number of images.
            seed: the same seed gives the same images on the same kind of device.
        """
        if domain is None and self.model.domains:
            raise InputError(
                "sample needs a domain", remedy=f"the domains are {', '.join(self.domains[:20])}"
            )
        if domain is not None and not self.model.translates:
            raise InputError("a plain model has no domains to sample from", remedy="omit the domain")
        require_whole("n", n)
        index = None if domain is None else self.domain_index(domain)
        return [to_pil(image) for image in self.engine.sample(n, index, seed)]

    def reconstruct(
        self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64
    ) -> Image.Image | list[Image.Image]:
        """Decode images from their own codes: a Pillow image for one image, a list for a list."""
        single, sources = as_list(images)
        rebuilt = self.decode(self.encode(sources, batch_size=batch_size).mean)
        return to_pil(rebuilt[0]) if single else [to_pil(image) for image in rebuilt]

    def encode(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64) -> Posterior:
        """Posteriors of content (B, Cc, h, w) and style (B, S), on the device, float32."""
        _, sources = as_list(images)
        return Posterior.join([self.engine.encode(batch) for _, batch in self._batches(sources, batch_size)])

    def decode(self, codes: Codes) -> Tensor:
        """Decode codes to images (B, C, H, W) in [0, 1], on the CPU."""
        return self.engine.decode(codes).float().cpu()

    def prepare(self, images: Sequence[ImageLike]) -> Tensor:
        """Prepare images as in training: a float tensor (B, C, H, W) in [0, 1] on the CPU.

        Raises:
            InputError: an unusable array, tensor or type.
            DataError: a file cannot be read.
        """
        return self.processor.batch(images)

    def _batches(self, sources: Sequence[ImageLike], batch_size: int) -> Iterator[tuple[int, Tensor]]:
        """The images in batches, each with the index of its first."""
        require_whole("batch_size", batch_size)
        for start in range(0, len(sources), batch_size):
            yield start, self.prepare(sources[start : start + batch_size])


def _deliver(images: Tensor, single: bool, output: str) -> Image.Image | list[Image.Image] | Tensor:
    """Return results as pictures or a tensor."""
    if output == "tensor":
        return images.float().cpu()
    pictures = [to_pil(image) for image in images]
    return pictures[0] if single else pictures
