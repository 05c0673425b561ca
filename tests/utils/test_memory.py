"""What a process that trains frees stays with it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from sivae_translate.utils.memory import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

if {keep}:
    keep_freed_memory()
arrays = [bytearray(16 * 2**20) for _ in range(8)]
most = resident()
del arrays
print(resident() / most)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator that is told")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_stays_with_the_process(keep: bool) -> None:
    program = PROGRAM.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    share = float(done.stdout)
    assert share > 0.9 if keep else share < 0.6
