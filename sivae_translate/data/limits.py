"""What reading a file may cost: regular files only, limits of time and memory, and none on metadata."""

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
"""Bytes that a decoder gets at a time. Thousands of scans of a JPEG fit into Pillow's own 64 KB, and nothing
can stop a decoder while it has bytes."""
MAX_PROFILE = 2**26
"""Bytes of a colour profile in a PNG file, decompressed."""

_KINDS = {
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_NEEDED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"}
"""PNG chunks that the pixels depend on."""


def require_regular(path: Path) -> None:
    """Refuse what could keep a reader waiting for ever.

    Raises:
        DataError: a pipe, a device or a socket.
        OSError: there is no such file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(
            f"cannot read {path}: it is {kind}, not a regular file", remedy="save the image in a file"
        )


class Allowance:
    """Memory that threads share: one waits where the others have taken too much.

    Args:
        total: bytes. Who needs more than that has it alone.
    """

    def __init__(self, total: int) -> None:
        self.total, self.taken = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Take some bytes while the block runs."""
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
    """A binary stream that gives out no more bytes when its time is over.

    Args:
        stream: where the bytes come from.
        seconds: from now on.
    """

    def __init__(self, stream: BinaryIO, seconds: float) -> None:
        self._stream, self.seconds = stream, seconds
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self._end

    def read(self, size: int = -1) -> bytes:
        """As a file's.

        Raises:
            TimeLimitError: the time is over.
        """
        if self.is_over:
            raise TimeLimitError
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def strip_metadata(file: BinaryIO) -> tuple[BinaryIO, bytes | None]:
    """A PNG file without what Pillow may refuse it for: large texts, and chunks that are damaged.

    Returns:
        the file without chunks that its pixels do not depend on, and its colour profile, if it has a readable
        one.
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
    """Kind, content and checksum of a PNG file's chunks, as far as they are whole."""
    while len(head := file.read(8)) == 8:
        content, checksum = file.read(int.from_bytes(head[:4], "big")), file.read(4)
        yield head[4:], content, checksum
        if head[4:] == b"IEND":
            return


def _inflate(chunk: bytes) -> bytes | None:
    """The profile of an iCCP chunk: a name, a zero, a byte for the method, compressed data."""
    try:
        return zlib.decompressobj().decompress(chunk.partition(b"\0")[2][1:], MAX_PROFILE)
    except zlib.error:
        return None
