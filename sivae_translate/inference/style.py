"""`Style`: where a translation takes its style from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sivae_translate.inference.engine import Engine
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.seeds import check_seed


@dataclass(frozen=True)
class StyleContext:
    """What is needed to resolve a style.

    Attributes:
        engine: the model.
        domain_index: maps a domain name to its index; raises InputError for an unknown one.
        encode_styles: maps images of any supported type to style means (N, S).
    """

    engine: Engine
    domain_index: Callable[[str], int]
    encode_styles: Callable[[Sequence[Any]], Tensor]


class Style(ABC):
    """A domain's mean style, a draw from its prior, reference images, or a style code.

    >>> Style.domain("night")
    DomainStyle(name='night')
    >>> Style.draw("night", seed=3)
    DrawnStyle(name='night', seed=3)
    """

    @abstractmethod
    def resolve(self, context: StyleContext) -> Tensor:
        """The style code(s), (1, S) or (B, S), on the engine's device.

        Raises:
            InputError: the domain is unknown, or an image or code is not usable.
            DataError: a reference cannot be read.
        """

    @staticmethod
    def domain(name: str) -> Style:
        """The mean of a domain's style prior."""
        return DomainStyle(name)

    @staticmethod
    def draw(name: str, seed: int) -> Style:
        """A draw from a domain's style prior; the same seed gives the same style.

        Raises:
            InputError: the seed is negative or too large.
        """
        return DrawnStyle(name, seed)

    @staticmethod
    def like(*references: Any) -> Style:
        """The mean style code of one or more reference images (paths, pictures, arrays, tensors)."""
        if not references:
            raise InputError("no reference image is given", remedy="give at least one")
        return ReferenceStyle(references)

    @staticmethod
    def code(code: Tensor) -> Style:
        """A style code, (S,) for all images or (B, S), one per image."""
        return CodeStyle(code)

    @staticmethod
    def parse(value: Any, domains: Sequence[str], style_dim: int) -> Style:
        """Interpret a style argument.

        Args:
            value: a style; a domain's name; ``(name, seed)``; an image or a list of images; or a code (S,) or
                (B, S).
            domains: names of the model's domains.
            style_dim: length S of a style code.

        Raises:
            InputError: a string is both a domain's name and an existing file.
        """
        if isinstance(value, Style):
            return value
        if isinstance(value, Tensor) and value.ndim in (1, 2) and value.shape[-1] == style_dim:
            return CodeStyle(value)
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            if isinstance(value[1], Integral):
                return DrawnStyle(value[0], int(value[1]))
            if value[0] in domains:
                raise InputError(f"the seed is {value[1]!r}", remedy="give a whole number from 0 to 2^63 - 1")
        if isinstance(value, str):
            is_domain, is_file = value in domains, Path(value).is_file()
            if is_domain and is_file:
                raise InputError(
                    f"'{value}' is both a domain of the model and the file {Path(value).absolute()}",
                    remedy=f"use Style.domain('{value}') or Style.like('{value}')",
                )
            if is_domain or not Path(value).exists():
                return DomainStyle(value)
        return ReferenceStyle(tuple(value) if isinstance(value, list | tuple) else (value,))


@dataclass(frozen=True)
class DomainStyle(Style):
    """See `Style.domain`."""

    name: str

    def resolve(self, context: StyleContext) -> Tensor:
        """(1, S)."""
        return context.engine.prior_mean(context.domain_index(self.name))


@dataclass(frozen=True)
class DrawnStyle(Style):
    """See `Style.draw`."""

    name: str
    seed: int

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def resolve(self, context: StyleContext) -> Tensor:
        """(1, S); drawn on the CPU, so that every device gives the same style."""
        engine = context.engine
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(1, engine.model.style_dim, generator=generator)
        return engine.prior_mean(context.domain_index(self.name)) + noise.to(engine.device)


@dataclass(frozen=True)
class ReferenceStyle(Style):
    """See `Style.like`."""

    references: tuple[Any, ...]

    def resolve(self, context: StyleContext) -> Tensor:
        """(1, S)."""
        return context.encode_styles(self.references).mean(0, keepdim=True)


@dataclass(frozen=True)
class CodeStyle(Style):
    """See `Style.code`."""

    values: Tensor

    def resolve(self, context: StyleContext) -> Tensor:
        """(1, S) or (B, S)."""
        size = context.engine.model.style_dim
        if self.values.ndim not in (1, 2) or self.values.shape[-1] != size:
            raise InputError(
                f"a style code has shape {tuple(self.values.shape)}", remedy=f"give ({size},) or (B, {size})"
            )
        if not self.values.is_floating_point() or not self.values.isfinite().all():
            raise InputError(
                f"the style code is {self.values.dtype} or has values that are not finite",
                remedy="give floats, such as those of Translator.style_code",
            )
        return self.values.to(context.engine.device).float().reshape(-1, size)
