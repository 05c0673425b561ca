"""Limits on reading a file: regular files only, bounded time and memory, unneeded metadata skipped."""

from __future__ import annotations

import io
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sivae_translate.utils.errors import DataError

BLOCK = 4096
"""How many bytes a decoder gets at a time. Thousands of JPEG scans fit into Pillow's own 64 KB, and a decoder
cannot be stopped while it has bytes."""
MAX_PROFILE = 2**26
"""Most bytes of a decompressed colour profile in a PNG file."""

_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}
"""PNG chunks that the pixels depend on."""


def require_regular(path: Path) -> None:
    """Refuse files that could block a reader forever.

    Raises:
        DataError: the file is a pipe, a device or a socket.
        OSError: the file does not exist.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(
            f"cannot read {path}: it is {kind}, not a regular file", remedy="save the image in a file"
        )


class Allowance:
    """A memory budget that threads share: a thread waits until the others leave enough.

    Args:
        total: budget in bytes. A thread that needs more than the total waits until it is alone.
    """

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Reserve ``amount`` bytes while the block runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self.taken or self.taken + amount <= self.total)
            self.taken += amount
        try:
            yield
        finally:
            with self._changed:
                self.taken -= amount
                self._changed.notify_all()


class TimeLimitError(Exception):
    """Decoding takes too long."""


class ClockedStream:
    """A binary stream that stops reading at a time limit.

    Args:
        stream: the underlying stream.
        seconds: time limit, from now.
    """

    def __init__(self, stream: BinaryIO, seconds: float) -> None:
        self._stream, self.seconds = stream, seconds
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time limit has passed."""
        return time.monotonic() > self._end

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes.

        Raises:
            TimeLimitError: the time limit has passed.
        """
        if self.is_over:
            raise TimeLimitError
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def strip_metadata(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """Remove from a PNG file what Pillow may refuse: large texts and damaged metadata.

    Returns:
        The file with only the chunks that its pixels depend on, and its colour profile if it is readable.
    """
    file.seek(0)
    parts, profile = [file.read(8)], None
    for kind, content, checksum in _chunks(file):
        if kind in _NEEDED:
            parts += [struct.pack(">I", len(content)), kind, content, checksum]
        elif kind == b"iCCP":
            profile = _inflate(content)
    return io.BytesIO(b"".join(parts)), profile


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Type, content and checksum of a PNG file's chunks, up to the first incomplete one."""
    while len(head := file.read(8)) == 8:
        content, checksum = file.read(int.from_bytes(head[:4], "big")), file.read(4)
        yield head[4:], content, checksum
        if head[4:] == b"IEND":
            return


def _inflate(chunk: bytes) -> bytes | None:
    """The profile in an iCCP chunk: name, zero byte, method byte, compressed data."""
    try:
        return zlib.decompressobj().decompress(chunk.partition(b"\0")[2][1:], MAX_PROFILE)
    except zlib.error:
        return None
