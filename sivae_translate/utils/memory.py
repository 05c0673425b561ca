"""How the allocator of a process keeps memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``: when free memory goes back to the system, and when a block is mapped
on its own."""
LARGEST = 32 * 2**20
"""In bytes: the largest threshold for mapped blocks that glibc accepts."""


def keep_freed_memory() -> None:
    """Make glibc's allocator keep freed memory instead of returning it to the system.

    A training step frees all its activations at its end, and the next step needs as much memory again. If it
    went back to the system, every page would fault when it is touched again, which costs a twentieth of a
    step. Does nothing with other allocators.
    """
    with suppress(AttributeError, OSError, TypeError):
        adjust = ctypes.CDLL(None).mallopt
        adjust(MMAP_THRESHOLD, LARGEST)
        adjust(TRIM_THRESHOLD, 2**31 - 1)
