"""Safetensors files; every failure is an OSError or a `TensorFileError`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sivae_translate.utils.text import is_utf8

T = TypeVar("T")


class TensorFileError(Exception):
    """A file is missing, damaged or not a safetensors file; the message says which."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors, after moving them to the CPU and making them contiguous, as safetensors requires.

    Raises:
        OSError: the file cannot be written; safetensors' own error for a full disk is translated.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(str(error)) from error
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def below(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    """The values whose names begin with a prefix, without it.

    >>> below("model.", {"model.weight": 1, "ema.weight": 2})
    {'weight': 1}
    """
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a file: texts by name.

    Raises:
        TensorFileError: the file cannot be read.
    """
    try:
        with _open(path) as file:
            return dict(file.metadata() or {})
    except Exception as error:  # a damaged header can raise anything
        raise TensorFileError(_reason(path, error)) from error


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors, without loading them.

    Raises:
        TensorFileError: the file cannot be read.
    """
    try:
        with _open(path) as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise TensorFileError(_reason(path, error)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name.

    Raises:
        TensorFileError: the file cannot be read.
    """
    try:
        with _open(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:
        raise TensorFileError(_reason(path, error)) from error


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """A file by safetensors, which takes only names in UTF-8; another one is given by its descriptor."""
    if is_utf8(str(path)):
        with safe_open(path, framework="pt") as file:
            yield file
        return
    with path.open("rb") as stream, safe_open(f"/dev/fd/{stream.fileno()}", framework="pt") as file:
        yield file


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and not path.exists():
        return "it does not exist"
    if path.is_dir():
        return "it is a folder"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
