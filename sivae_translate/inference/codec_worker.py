"""A process that decodes and encodes image files for another one; it starts without torch.

Messages go through its standard input and output: two lengths, a header in JSON, and bytes. It ends when its
input does, so none is left when the process that started it is gone, however that ended.
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
"""Bytes that a process may take for decoding without asking: some 350,000 pixels."""
GRACE = 5.0
"""Seconds beyond the time limit after which a decoder that does not look at the clock is ended."""
BUFFER = 2**20
Header = dict[str, Any]

_LENGTHS = struct.Struct("<II")


def send(stream: BinaryIO, header: Header, payload: bytes | memoryview = b"") -> None:
    """Write a message; names that are no Unicode survive as JSON's escapes."""
    encoded = json.dumps(header).encode()
    stream.write(_LENGTHS.pack(len(encoded), len(payload)) + encoded)
    stream.write(payload)


def receive(stream: BinaryIO) -> tuple[Header, bytes] | None:
    """Read a message; None where the stream ends, even within one."""
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
    os.dup2(2, 1)  # what a library prints is no message
    with suppress(BrokenPipeError):
        _Worker(sys.stdin.buffer, sink).serve()
        sink.flush()
    os._exit(0)  # nothing is left to do, and the sink may be closed at its other end


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
        """Wait until so many bytes may be taken."""
        self._answer({"need": amount})
        self.sink.flush()
        if receive(self.source) is None:
            raise BrokenPipeError

    def _answer(self, header: Header, payload: bytes | memoryview = b"") -> None:
        send(self.sink, header, payload)

    def _guarded(self, work: Any, *arguments: Any) -> tuple[Header, bytes]:
        """What some work answers, or its error."""
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
    """A placement from its JSON."""
    size, source, square = numbers
    return Placement(tuple(size), tuple(source), tuple(square))


class _Asking(Allowance):
    """Memory that is shared with other processes by asking the one that started them."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__(FREE)
        self.worker = worker

    @contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Take some bytes; they are given back with the answer to the request."""
        if amount > self.total:
            self.worker.clock.stop()  # waiting is not decoding
            self.worker.ask(amount)
            self.worker.clock.start()
        yield


class _Alarm:
    """Ends the process when decoding a file takes too long, whatever code it is in; not on Windows."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        if hasattr(signal, "SIGALRM"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around the decoding of a file."""
        self.start()
        try:
            yield
        finally:
            self.stop()

    def start(self) -> None:
        """From now on."""
        self._set(self.seconds)

    def stop(self) -> None:
        """No more."""
        self._set(0)

    @staticmethod
    def _set(seconds: float) -> None:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)
