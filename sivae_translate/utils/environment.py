"""The machine that a number was measured on."""

from __future__ import annotations

import platform
import resource
import sys

import torch


def environment(device: torch.device) -> dict[str, object]:
    """What a reader must know about the machine to interpret timings."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
    }


def peak_memory(device: torch.device) -> int:
    """Peak memory of this process in bytes: on the GPU if one is used, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
