"""How many processor cores there are to use, and how many processes are worth starting."""

from __future__ import annotations

import os
import warnings


def core_count() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bounded_by_cores(processes: int, setting: str) -> int:
    """The number of processes to start: what a setting asks for, but at most one a core, with a warning.

    A run may be resumed on a smaller machine, so that more is no error.

    >>> bounded_by_cores(0, "data.workers")
    0
    """
    cores = core_count()
    if processes <= cores:
        return processes
    warnings.warn(
        f"{setting} is {processes}, but {cores} cores can be used: {cores} processes are started; "
        f"set {setting} to {cores} or less",
        stacklevel=2,
    )
    return cores
