"""Decoding and encoding image files in other processes.

Threads are not enough: opening, naming and moving a file holds Python's lock for half a millisecond, and
decoding in small blocks, which can be interrupted, keeps acquiring it. The processes communicate through
pipes; multiprocessing would run the caller's script again in each of them.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from sivae_translate.data.colour import IgnoredProfileWarning
from sivae_translate.data.limits import Allowance
from sivae_translate.data.processor import ImageProcessor, Placement, Prepared
from sivae_translate.data.ranges import NearlyBlackWarning
from sivae_translate.data.reading import MEMORY
from sivae_translate.inference.codec import Codec
from sivae_translate.inference.codec_worker import BUFFER, FREE, Header, as_placement, receive, send
from sivae_translate.utils.cores import core_count
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import DataError, InputError, OutputError

MOST_WORKERS = 16
"""Most processes by default; they encode 3,000 PNG files of 256 px per second."""
LIMIT = 64
"""Most processes; `FREE` of each must leave some of the memory that all share."""
FEWEST_CORES = 3
"""Minimum number of cores: with fewer, a model on the CPU leaves none for other processes."""
FEWEST_IMAGES = 500
"""Minimum number of images: threads finish fewer before processes have started, which takes 0.3 s each."""
MOST_CHUNK = 16
"""Files per request, since each request needs the lock of the requesting process."""
_WARNINGS = {known.__name__: known for known in (IgnoredProfileWarning, NearlyBlackWarning)}
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from sivae_translate.inference.codec_worker import main; main()"
)
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class CodecPool(Codec):
    """Reads and writes images in other processes; as many threads as processes should use it.

    All processes share the memory limit of decoders. A process that dies on a file, or is ended by the time
    limit, is replaced, and the file counts as unreadable. If no process can be started, the current one does
    the work.

    Args:
        processor: prepares pictures for the model.
        encoding: format and quality of the files to write.
        count: number of processes, 1 to 64.
    """

    def __init__(self, processor: ImageProcessor, encoding: Encoding, count: int) -> None:
        super().__init__(processor, encoding)
        self.threads = count
        self._allowance = Allowance(MEMORY.total - count * FREE)
        self._closing = False
        self._processes = [_Process(self._settings()) for _ in range(count)]
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        for process in self._processes:
            self._idle.put(process)

    def chunk(self, batch: int) -> int:
        """Half of a process's share, so that none waits for long at the end of a batch."""
        return min(MOST_CHUNK, max(1, batch // (2 * self.threads)))

    def read(self, paths: Sequence[Path]) -> list[Prepared | DataError]:
        """Each file as the model sees it, or why it cannot be read."""
        results: list[Prepared | DataError] = []
        try:
            with self._process() as process:
                for result in process.read(paths, self.processor, self._allowance):
                    results.append(result)  # one by one: results before a crash count
        except _CannotStartError:
            return super().read(paths)
        except _DiedError as death:
            if self._closing:
                raise
            if len(paths) == 1:
                return [_unreadable(paths[0], death)]
            # Reading the rest one by one shows which file it died on.
            return results + [one for path in paths[len(results) :] for one in self.read([path])]
        return results

    def write(
        self, pixels: np.ndarray, placements: Sequence[Placement | None], targets: Sequence[Path]
    ) -> None:
        """See `Codec.write`.

        Raises:
            OutputError: a file cannot be written, or two processes died on it.
        """
        for attempt in range(2):
            try:
                with self._process() as process:
                    process.write(pixels, placements, targets)
                return
            except _CannotStartError:
                super().write(pixels, placements, targets)
                return
            except _DiedError as death:
                if self._closing or attempt:
                    raise OutputError(
                        f"cannot write {targets[0]}: the process that encodes it {death}",
                        remedy="free memory, or encode in the main process: --workers 0",
                    ) from death

    def abort(self) -> None:
        """Stop reading; writes are completed."""
        self._closing = True
        for process in self._processes:
            process.abort()

    def close(self) -> None:
        """End all processes and wait for them."""
        self._closing = True
        for process in self._processes:
            process.close()

    @contextmanager
    def _process(self) -> Iterator[_Process]:
        """Take a free process; one that dies is replaced."""
        process = self._idle.get()
        try:
            yield process
        except _DiedError:
            if not self._closing:
                replacement = _Process(self._settings())
                self._processes[self._processes.index(process)] = replacement
                process.close()
                process = replacement
            raise
        finally:
            self._idle.put(process)

    def _settings(self) -> Header:
        processor = self.processor
        return {
            "processor": {"size": processor.size, "channels": processor.channels, "fit": processor.fit},
            "reading": asdict(processor.reading),
            "encoding": asdict(self.encoding),
        }


def check_workers(workers: int | None) -> None:
    """Raise InputError for a number of processes that cannot be."""
    if workers is not None and not 0 <= workers <= LIMIT:
        raise InputError(f"workers is {workers}", remedy=f"give 0 to {LIMIT}")


def codec_for(processor: ImageProcessor, encoding: Encoding, images: int, workers: int | None) -> Codec:
    """What reads and writes the files of a folder.

    Args:
        processor: prepares pictures for the model.
        encoding: of the files that are written.
        images: how many there are.
        workers: processes; 0 is none. None is one a core, and none for few cores or images.

    Raises:
        InputError: see `check_workers`.
    """
    check_workers(workers)
    if workers is None:
        cores = core_count()
        workers = min(cores, MOST_WORKERS) if cores >= FEWEST_CORES and images >= FEWEST_IMAGES else 0
    return CodecPool(processor, encoding, workers) if workers else Codec(processor, encoding)


class _DiedError(Exception):
    """A process has ended, with this code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"was ended by signal {-code}" if code < 0 else f"ended with code {code}")
        self.code = code


class _CannotStartError(Exception):
    """No process can be started."""


class _Process:
    """A worker process; see `codec_worker`."""

    def __init__(self, settings: Header) -> None:
        self._popen: subprocess.Popen[bytes] | None = None
        self._ready = self._writing = self._aborted = False
        self._state = threading.Lock()
        with suppress(OSError):
            # A separate session, so that Ctrl-C only reaches the main process.
            self._popen = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | _ONE_THREAD,
                pipesize=BUFFER,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
            self._send(settings)

    def read(
        self, paths: Sequence[Path], processor: ImageProcessor, allowance: Allowance
    ) -> Iterator[Prepared | DataError]:
        """The result for each file, in order."""
        self._wait_until_ready()
        self._send({"read": [str(path) for path in paths]})
        with ExitStack() as held:
            for _ in paths:
                header, payload = self._receive()
                held.close()
                while "need" in header:
                    held.enter_context(allowance.share(header["need"]))
                    self._send({"go": True})
                    header, payload = self._receive()
                    held.close()
                yield _result(header, payload, processor)

    def write(
        self, pixels: np.ndarray, placements: Sequence[Placement | None], targets: Sequence[Path]
    ) -> None:
        """See `Codec.write`."""
        self._wait_until_ready()
        with self._state:
            if self._aborted:
                raise _DiedError(self._code())
            self._writing = True
        places = [place and (place.size, place.source, place.square) for place in placements]
        names = [str(target) for target in targets]
        request = {"write": names, "shape": pixels.shape, "placements": places}
        self._send(request, np.ascontiguousarray(pixels).data.cast("B"))
        header, _ = self._receive()
        with self._state:
            self._writing = False
        _raise_unexpected(header)
        if "error" in header:
            raise OutputError(header["error"], remedy=header["remedy"])

    def abort(self) -> None:
        """End the process, unless it is writing."""
        with self._state:
            self._aborted = True
            if self._popen is not None and not self._writing:
                self._popen.kill()

    def close(self) -> None:
        """Close its input and wait for it."""
        if self._popen is None:
            return
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        with suppress(OSError):  # if it has died, the rest cannot be sent
            self._popen.stdin.close()
        self._popen.stdout.close()
        self._popen.wait()

    def _wait_until_ready(self) -> None:
        """Wait for its first message.

        Raises:
            _CannotStartError: there is no message.
        """
        if self._ready:
            return
        if self._popen is None:
            raise _CannotStartError
        try:
            self._receive()
        except _DiedError as death:
            if self._aborted:
                raise
            raise _CannotStartError from death
        self._ready = True

    def _send(self, header: Header, payload: bytes | memoryview = b"") -> None:
        assert self._popen is not None
        stream = cast("BinaryIO", self._popen.stdin)
        try:
            send(stream, header, payload)
            stream.flush()
        except OSError as error:
            raise _DiedError(self._code()) from error

    def _receive(self) -> tuple[Header, bytes]:
        assert self._popen is not None
        message = receive(cast("BinaryIO", self._popen.stdout))
        if message is None:
            raise _DiedError(self._code())
        return message

    def _code(self) -> int:
        """Its exit status, after its pipes are closed."""
        assert self._popen is not None
        return self._popen.wait()


def _result(header: Header, payload: bytes, processor: ImageProcessor) -> Prepared | DataError:
    """The result for a file in an answer."""
    for message, category in header.get("warnings", ()):
        warnings.warn(message, _WARNINGS.get(category, UserWarning), stacklevel=2)
    _raise_unexpected(header)
    if "error" in header:
        return DataError(header["error"], remedy=header["remedy"])
    shape = processor.size, processor.size, processor.channels
    return Prepared(np.frombuffer(payload, np.uint8).reshape(shape), as_placement(header["placement"]))


def _raise_unexpected(header: Header) -> None:
    """Raise RuntimeError with the traceback of another process."""
    if "unexpected" in header:
        raise RuntimeError(f"in another process:\n{header['unexpected']}")


def _unreadable(path: Path, death: _DiedError) -> DataError:
    """The error for a file that a process died on."""
    if death.code == -getattr(signal, "SIGALRM", 0):
        return DataError(
            f"cannot read {path}: decoding it takes longer than data.seconds_per_file",
            remedy="convert it to PNG, or allow more",
        )
    return DataError(
        f"cannot read {path}: the process that decodes it {death}; memory may have run out",
        remedy="scale it down with another program, or remove it",
    )
