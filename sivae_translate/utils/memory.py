"""How a process holds memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's numbers for what ``mallopt`` sets: from which size on free memory goes back to the system, and is
asked of it apart."""
LARGEST = 32 * 2**20
"""Bytes: glibc takes no greater threshold for memory of its own."""


def keep_freed_memory() -> None:
    """Have glibc's allocator keep what is freed, up to the most that the process has held.

    A step of training frees all its activations at its end and the next one needs as many. Given back to the
    system, every page of them is a fault when it is touched again, which is a twentieth of a step. With
    another allocator nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(MMAP_THRESHOLD, LARGEST)
        adjust(TRIM_THRESHOLD, 2**31 - 1)
