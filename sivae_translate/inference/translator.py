"""Translator: what most people import. Images in, images in another style out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, overload

import torch
from PIL import Image
from torch import Tensor

from sivae_translate.config import Config
from sivae_translate.data.image import ImageLike
from sivae_translate.data.processor import ImageProcessor, Placement, as_batch
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.arguments import (
    PERCENTILE,
    act_on,
    as_list,
    check_choices,
    placement_to_restore,
)
from sivae_translate.inference.engine import Engine
from sivae_translate.inference.style import Style, StyleContext
from sivae_translate.models.codes import Codes, Posterior
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import Calibration, Verdict
from sivae_translate.models.weights import find_model, load_model, save_model
from sivae_translate.utils.choices import Check, Precision
from sivae_translate.utils.errors import InputError

StyleLike: TypeAlias = "Style | str | tuple[str, int] | ImageLike | Sequence[ImageLike]"


class Translator:
    """Translates images with a trained model.

    >>> translator = Translator.from_pretrained("glyphs")
    >>> picture = translator("letter.png", style="dejavu-serif")

    Args:
        model: a trained model.
        config: the settings it was trained with; images are prepared as in training.
        domains: the domains' names in the order of their indices.
        device: where to compute; ``auto`` is a GPU when there is one.
        dtype: ``auto``, ``float32`` or ``bfloat16``.
        facts: about the training.
        calibration: what is typical, for ``check``; None where training had no validation images.
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
    ) -> None:
        self.config, self.domains, self.facts = config, tuple(domains), facts or {}
        self.processor = ImageProcessor.of(config.data)
        self.engine = Engine(model, device=device, dtype=dtype, calibration=calibration)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str = "auto", dtype: Precision = "auto"
    ) -> Translator:
        """Load a model by name (``glyphs``), from a run folder, or from a model file.

        Raises:
            CheckpointError: there is no such name, folder or file, or it is damaged.
            ConfigError: the device is not there, or ``dtype`` is no precision.
        """
        saved = load_model(find_model(source))
        return cls(
            saved.model,
            saved.config,
            saved.domains,
            device=device,
            dtype=dtype,
            facts=saved.facts,
            calibration=saved.calibration,
        )

    def save(self, path: str | Path) -> None:
        """Write a model file that `from_pretrained` reads back.

        Raises:
            OutputError: it cannot be written.
        """
        save_model(Path(path), self.model, self.config, self.domains, self.facts, self.calibration)

    def to(self, device: str) -> Translator:
        """Move to another device (``cpu``, ``cuda``, ``mps``); returns the translator itself.

        Raises:
            ConfigError: the device is not there.
        """
        self.engine.to(device)
        return self

    @property
    def model(self) -> LatentModel:
        """The model, on the engine's device."""
        return self.engine.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.engine.device

    @property
    def dtype(self) -> torch.dtype:
        """In which matrix products are computed."""
        return self.engine.dtype

    @property
    def calibration(self) -> Calibration | None:
        """What is typical of the model's inputs, for ``check``; None where there is no comparison."""
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
        batch_size: int = ...,
        output: Literal["tensor"],
        size: Literal["model", "input"] = ...,
        check: Check = ...,
        percentile: float | None = ...,
    ) -> Tensor: ...

    @overload
    def __call__(
        self,
        images: list[ImageLike],
        style: StyleLike | Tensor,
        *,
        batch_size: int = ...,
        output: Literal["pil"] = ...,
        size: Literal["model", "input"] = ...,
        check: Check = ...,
        percentile: float | None = ...,
    ) -> list[Image.Image]: ...

    @overload
    def __call__(
        self,
        images: ImageLike,
        style: StyleLike | Tensor,
        *,
        batch_size: int = ...,
        output: Literal["pil"] = ...,
        size: Literal["model", "input"] = ...,
        check: Check = ...,
        percentile: float | None = ...,
    ) -> Image.Image: ...

    def __call__(
        self,
        images: ImageLike | Sequence[ImageLike],
        style: StyleLike | Tensor,
        *,
        batch_size: int = 64,
        output: Literal["pil", "tensor"] = "pil",
        size: Literal["model", "input"] = "model",
        check: Check = "off",
        percentile: float | None = None,
    ) -> Image.Image | list[Image.Image] | Tensor:
        """Translate images into a style.

        Args:
            images: one image or a list: paths, Pillow images, arrays ((H, W) or (H, W, C); uint8, or float in
                [0, 1]) or tensors ((C, H, W), or a batch (B, C, H, W); the same values). Grey or coloured, of
                any size.
            style: a `Style`, or what one is made of: a domain's name (its prior mean), ``(name, seed)`` (a
                draw), reference images, or a style code (S,) or (B, S).
            batch_size: images computed at a time.
            output: Pillow images, or a tensor (B, C, H, W) in [0, 1] on the CPU.
            size: ``model`` for the model's size; ``input`` gives each result the shape of its input (Pillow
                output only), if the model sees all of it: it is square, or ``data.fit`` is not cover.
            check: ``warn`` or ``raise`` where an image is unlike the training data; twice the time.
            percentile: above which an image counts as unusual: 99 flags one in a hundred of those that are
                like the training data. None is 99, or the highest whole one that the model's validation
                images resolve.

        Returns:
            one Pillow image for one image, a list for a list, or a tensor.

        Raises:
            InputError: an unknown domain (the nearest name is suggested), an unusable image or argument, or,
                where ``check`` is ``raise``, an unusual image.
            DataError: an image file cannot be read.
        """
        check_choices(output, size, check, batch_size)
        threshold = self.engine.threshold(percentile) if check != "off" else PERCENTILE
        single, sources = as_list(images)
        code = self._one_code_an_image(style, len(sources))
        results, placements, verdicts = [], [], []
        for start in range(0, len(sources), batch_size):
            part = [self.processor.prepare(source) for source in sources[start : start + batch_size]]
            placements += [placement_to_restore(prepared, size) for prepared in part]
            codes = code[start : start + len(part)]
            outputs, some = self.engine.process(as_batch(part), codes, check=check != "off")
            results.append(outputs)
            verdicts += some
        act_on(verdicts, check, threshold)
        return self._deliver(torch.cat(results), placements, single, output)

    def typicality(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64) -> list[Verdict]:
        """How unlike the training data images are, compared with validation images (docs/ood.md).

        Raises:
            InputError: an unusable image, or the model comes without such a comparison.
        """
        _, sources = as_list(images)
        batches = self._batches(sources, batch_size)
        return [verdict for batch in batches for verdict in self.engine.typicality(batch)]

    def style_code(self, style: StyleLike | Tensor) -> Tensor:
        """The style code(s) that a style argument stands for: (1, S) or (B, S), on the device.

        Raises:
            InputError: the model is a plain one, there is no such domain, or a string is both a domain's name
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
            InputError: there are several codes, but not as many as images.
        """
        code = self.style_code(style)
        code = code.expand(count, -1) if len(code) == 1 else code
        if len(code) != count:
            raise InputError(
                f"{len(code)} style codes for {count} images", remedy="give one, or one an image"
            )
        return code

    def _encode_styles(self, images: Sequence[ImageLike]) -> Tensor:
        return self.encode(images).style.mean

    def domain_index(self, name: str) -> int:
        """Index of a domain.

        Raises:
            InputError: there is no such domain; the nearest name is suggested.
        """
        if name in self.domains:
            return self.domains.index(name)
        close = difflib.get_close_matches(name, self.domains, n=1, cutoff=0.4)
        known = ", ".join(self.domains[:20]) or "none"
        hint = f"did you mean '{close[0]}'? Domains are {known}" if close else f"domains are {known}"
        file = ", and there is no such file" if Path(name).suffix else ""
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
        """Images on the straight line between the codes of a and b, both ends included.

        Args:
            a: first image; it also gives the code that is not interpolated.
            b: last image.
            steps: how many, at least 2.
            what: which code moves.
        """
        if steps < 2:
            raise InputError(
                f"interpolate takes at least 2 steps, not {steps}", remedy="give steps=2 or more"
            )
        if what not in ("both", "content", "style"):
            raise InputError(f"interpolate has no '{what}'", remedy="choose both, content or style")
        codes = self.encode([a, b]).mean
        t = torch.linspace(0, 1, steps, device=self.device)
        along = t.view(-1, *[1] * (codes.content.ndim - 1))
        content = torch.lerp(codes.content[:1], codes.content[1:], along * (what != "style"))
        style = torch.lerp(codes.style[:1], codes.style[1:], t.view(-1, 1) * (what != "content"))
        return [to_pil(image) for image in self.decode(Codes(content, style))]

    def sample(self, domain: str | None = None, n: int = 8, seed: int = 0) -> list[Image.Image]:
        """New images of a domain: content and style drawn from their priors.

        Args:
            domain: name; left out when there are no labels, and for plain models.
            n: how many.
            seed: the same seed gives the same images on the same kind of device.
        """
        if domain is None and self.model.domains:
            raise InputError("sample needs a domain", remedy=f"domains are {', '.join(self.domains[:20])}")
        if domain is not None and not self.model.translates:
            raise InputError("a plain model has no domains to sample from", remedy="leave the domain out")
        index = None if domain is None else self.domain_index(domain)
        return [to_pil(image) for image in self.engine.sample(n, index, seed)]

    def reconstruct(
        self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64
    ) -> Image.Image | list[Image.Image]:
        """decode(c, s) of the images' own codes: one Pillow image for one image, a list for a list."""
        single, sources = as_list(images)
        rebuilt = self.decode(self.encode(sources, batch_size=batch_size).mean)
        return to_pil(rebuilt[0]) if single else [to_pil(image) for image in rebuilt]

    def encode(self, images: ImageLike | Sequence[ImageLike], *, batch_size: int = 64) -> Posterior:
        """Posteriors of content (B, Cc, h, w) and style (B, S), on the device, float32."""
        _, sources = as_list(images)
        return Posterior.join([self.engine.encode(batch) for batch in self._batches(sources, batch_size)])

    def decode(self, codes: Codes) -> Tensor:
        """Codes to images (B, C, H, W) in [0, 1], on the CPU."""
        return self.engine.decode(codes).float().cpu()

    def prepare(self, images: Sequence[ImageLike]) -> Tensor:
        """Images as in training: a float tensor (B, C, H, W) in [0, 1] on the CPU.

        Raises:
            InputError: an unusable array, tensor or type.
            DataError: a file cannot be read.
        """
        return self.processor.batch(images)

    def _batches(self, sources: Sequence[ImageLike], batch_size: int) -> Iterator[Tensor]:
        for start in range(0, len(sources), batch_size):
            yield self.prepare(sources[start : start + batch_size])

    def _deliver(
        self, images: Tensor, placements: Sequence[Placement | None], single: bool, output: str
    ) -> Image.Image | list[Image.Image] | Tensor:
        """Results as pictures or a tensor; a placement is that of an input whose size is to be kept."""
        if output == "tensor":
            return images.float().cpu()
        pictures = [
            to_pil(image) if placement is None else self.processor.restore(to_pil(image), placement)
            for image, placement in zip(images, placements, strict=True)
        ]
        return pictures[0] if single else pictures
