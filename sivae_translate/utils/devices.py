"""Choosing the device and the precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from sivae_translate.utils.choices import Precision
from sivae_translate.utils.errors import ConfigError

TENSOR_CORES = (7, 0)
"""Compute capability of the first GPUs that multiply matrices of float16 fast."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: the device is unknown or not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # the device 'meta' has no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"device '{name}' cannot be used: {str(error).splitlines()[0]}", remedy="try auto or cpu"
        ) from error
    return device


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """``auto`` is bfloat16 on GPUs that have it and on CPUs that multiply matrices in it, else float32.

    GPUs that have tensor cores but no bfloat16 (V100, T4) use float16.

    Raises:
        ConfigError: the precision is unknown.
    """
    if precision not in get_args(Precision):
        raise ConfigError(
            f"there is no precision '{precision}'", remedy=f"choose one of {', '.join(get_args(Precision))}"
        )
    if precision != "auto":
        named: torch.dtype = getattr(torch, precision)
        return named
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        return torch.float16 if torch.cuda.get_device_capability(device) >= TENSOR_CORES else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_has_bfloat16() else torch.float32


def _cpu_has_bfloat16() -> bool:
    """Whether Linux reports AMX or AVX512-BF16; emulated bfloat16 is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextlib.contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Full float32 for evaluation: no autocast, and no TF32 convolutions, the default on GPUs."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def is_recording() -> bool:
    """Whether a CUDA graph is being recorded on the present stream."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


CAST = (nn.Conv2d, nn.Linear)
"""Modules whose weights autocast casts to the lower precision, again at every call."""


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
    """Mixed precision in ``dtype``; does nothing for float32."""
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


@contextlib.contextmanager
def not_in_float16(device: torch.device) -> Iterator[None]:
    """Autocast is off if it is in float16, in which small gradients vanish unless the loss is scaled."""
    kind = device.type
    half = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    with torch.autocast(kind, enabled=False) if half else contextlib.nullcontext():
        yield


def device_memory(name: str) -> int:
    """Memory of a GPU, or of this machine as far as this process may use it, in bytes."""
    device = pick_device(name)
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    present = 2**63
    with contextlib.suppress(ValueError, OSError, AttributeError):  # Windows has no sysconf
        present = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(ValueError, OSError):  # "max", or no such group
        present = min(present, int(CGROUP_LIMIT.read_text(encoding="ascii")))
    return present
