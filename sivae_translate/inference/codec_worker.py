"""A worker process that decodes and encodes image files; it does not import torch.

Messages on standard input and output consist of two lengths, a JSON header, and bytes. The worker ends with
its input, so none is left over when its parent process ends, for whatever reason.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sivae_translate.data import reading
from sivae_translate.data.limits import Allowance
from sivae_translate.data.processor import ImageProcessor, Placement
from sivae_translate.data.reading import Reading, open_image
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import DataError, OutputError
from sivae_translate.utils.pictures import from_array

FREE = 4 * 2**20
"""Bytes that a worker may use for decoding without asking: about 350,000 pixels."""
GRACE = 5.0
"""Seconds beyond the time limit after which a decoder that ignores it is ended."""
BUFFER = 2**20
Header = dict[str, Any]

_LENGTHS = struct.Struct("<II")


def send(stream: BinaryIO, header: Header, payload: bytes | memoryview = b"") -> None:
    """Write a message; names that are not Unicode are preserved as JSON escapes."""
    encoded = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(encoded), len(payload)) + encoded)
    stream.write(payload)


def receive(stream: BinaryIO) -> tuple[Header, bytes] | None:
    """Read a message; None at the end of the stream, even within a message."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    first, second = _LENGTHS.unpack(lengths)
    header, payload = stream.read(first), stream.read(second)
    return (json.loads(header), payload) if len(header) + len(payload) == first + second else None


def main() -> None:
    """Serve until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.fdopen(os.dup(1), "wb", BUFFER)
    os.dup2(2, 1)  # output of libraries must not mix with messages
    with suppress(BrokenPipeError):
        _Worker(sys.stdin.buffer, sink).serve()
        sink.flush()
    os._exit(0)  # nothing is left to do, and the sink may be closed already


class _Worker:
    """Answers requests."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self.source, self.sink = source, sink

    def serve(self) -> None:
        """Read the settings, then requests."""
        first = receive(self.source)
        if first is None:
            return
        settings = first[0]
        self.processor = ImageProcessor(**settings["processor"], reading=Reading(**settings["reading"]))
        self.encoding = Encoding(**settings["encoding"])
        self.clock = _Alarm(self.processor.reading.seconds + GRACE)
        reading.MEMORY = _Asking(self)
        self._answer({"ready": True})
        self.sink.flush()
        while message := receive(self.source):
            header, payload = message
            for path in header.get("read", ()):
                self._answer(*self._guarded(self._read, path))
            if "write" in header:
                self._answer(*self._guarded(self._write, header, payload))
            self.sink.flush()

    def ask(self, amount: int) -> None:
        """Wait until ``amount`` bytes may be used."""
        self._answer({"need": amount})
        self.sink.flush()
        if receive(self.source) is None:
            raise BrokenPipeError

    def _answer(self, header: Header, payload: bytes | memoryview = b"") -> None:
        send(self.sink, header, payload)

    def _guarded(self, work: Any, *arguments: Any) -> tuple[Header, bytes]:
        """The result of some work, or its error."""
        try:
            answer: tuple[Header, bytes] = work(*arguments)
        except (DataError, OutputError) as error:
            return {"error": error.what, "remedy": error.remedy}, b""
        except BrokenPipeError:
            raise
        except Exception:
            return {"unexpected": traceback.format_exc()}, b""
        return answer

    def _read(self, path: str) -> tuple[Header, bytes]:
        with warnings.catch_warnings(record=True) as caught, self.clock.running():
            warnings.simplefilter("always")
            picture = open_image(path, self.processor.file_reading)
            prepared = self.processor.prepare_plain(picture)
        place = prepared.placement
        header: Header = {"placement": [place.size, place.source, place.square]}
        if caught:
            header["warnings"] = [[str(warning.message), warning.category.__name__] for warning in caught]
        return header, prepared.pixels.tobytes()

    def _write(self, header: Header, payload: bytes) -> tuple[Header, bytes]:
        pixels = np.frombuffer(payload, np.uint8).reshape(header["shape"])
        for target, place, array in zip(header["write"], header["placements"], pixels, strict=True):
            picture = from_array(array)
            if place is not None:
                picture = self.processor.restore(picture, as_placement(place))
            self.encoding.save(picture, Path(target))
        return {"done": True}, b""


def as_placement(numbers: Any) -> Placement:
    """Read a placement from JSON."""
    size, source, square = numbers
    return Placement(tuple(size), tuple(source), tuple(square))


class _Asking(Allowance):
    """Memory that is shared with other workers, by asking the parent process."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__(FREE)
        self.worker = worker

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Use ``amount`` bytes, which are returned with the answer to the request."""
        if amount > self.total:
            self.worker.clock.stop()  # waiting is not decoding
            self.worker.ask(amount)
            self.worker.clock.start()
        yield


class _Alarm:
    """Ends the process if decoding a file takes too long, even in native code; not on Windows."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context of decoding a file."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """Start the clock."""
        self._set(self.seconds)

    def stop(self) -> None:
        """Stop the clock."""
        self._set(0)

    @staticmethod
    def _set(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)
