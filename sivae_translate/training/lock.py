"""The lock of a run folder, which allows one training at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sivae_translate.utils.errors import OutputError

NAME = ".lock"
PATIENCE = 1.0
"""Seconds after which an incomplete lock file counts as a leftover."""

_held: set[Path] = set()
"""Locks of this process, since another process may have had the same ID before."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder's lock, a file that names the owner's host and process, while the block runs.

    A lock whose process on this machine has ended is taken over. A process on another machine counts as
    alive, since it cannot be looked up.

    Args:
        folder: an existing, writable folder.

    Raises:
        OutputError: another training holds the lock, or it cannot be written.
    """
    path = folder.resolve() / NAME
    own = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    while not _create(path, own):
        _remove_stale(path)
    _held.add(path)
    try:
        yield
    finally:
        _held.discard(path)
        if _read(path) == own:
            with contextlib.suppress(OSError):  # read-only now; the lock is stale once this process ends
                path.unlink(missing_ok=True)


def _create(path: Path, owner: dict[str, Any]) -> bool:
    """Write the lock; returns False if there is one already."""
    try:
        with path.open("x", encoding="utf-8") as file:  # atomic: only one process succeeds
            json.dump(owner, file)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}", remedy="choose another --out") from error
    return True


def _remove_stale(path: Path) -> None:
    """Remove a lock whose owner has ended.

    Raises:
        OutputError: the owner is alive.
    """
    with _one_at_a_time(path.parent):  # so that nobody removes a lock that was just created
        owner = _read(path)
        if owner is not None and _is_alive(owner, path):
            raise OutputError(
                f"{path.parent} is in use by process {owner['pid']} on {owner['host']}",
                remedy=f"choose another --out or wait; if there is no such training, remove {path}",
            )
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot remove {path}: {error.strerror}", remedy="remove it yourself"
            ) from error


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let processes of this machine enter one at a time, if the system supports file locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any] | None:
    """The owner; None if there is no lock or it stays unreadable."""
    patience = time.monotonic() + PATIENCE
    while True:
        try:
            owner = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            return None
        except (ValueError, RecursionError):
            owner = None
        if isinstance(owner, dict) and {"host", "pid", "started"} <= set(owner):
            return owner
        if time.monotonic() > patience:
            return None
        time.sleep(0.05)


def _is_alive(owner: dict[str, Any], path: Path) -> bool:
    """Whether a lock's process is still running, as far as this machine can tell."""
    if owner["host"] != socket.gethostname() or not isinstance(owner["pid"], int):
        return True
    if owner["pid"] == os.getpid():
        return path in _held
    try:
        os.kill(owner["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        pass
    started = _started(owner["pid"])
    return owner["started"] is None or started is None or started == owner["started"]


def _started(pid: int) -> int | None:
    """Start time of a process in ticks since boot; None if it is not known."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
