"""Writing files so that a reader never sees half of one, whatever happens meanwhile.

What is written has a temporary name first, one of its own for every process, thread and call:
``.NAME.HOST-PID-TOKEN.tmp``. When a process is killed, such files stay; `remove_leftovers` takes them away.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sivae_translate.utils.errors import OutputError

LONGEST_SUFFIX = 16
"""Bytes of a file's ending that a temporary name keeps: writers choose their format by it."""
LONGEST_NAME = 100
"""Bytes of a file's name in a temporary one, which must not be longer than file systems allow (255)."""
LEFTOVER = re.compile(
    r"\.(?P<name>.+)\.((?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]+|\d+|[a-z0-9_]{8})(?P<old>\.old)?\.tmp(\..+)?",
    re.DOTALL,
)
"""Temporary names, those of earlier versions included: they had a process's number, or eight characters."""


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Read once, while this is imported: two threads that set the mask side by side could leave it changed."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary name beside ``target`` to write to; on success it takes the target's place, on failure
    it is removed.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    temporary = _temporary(target, ".tmp" + _ending(target))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~UMASK)
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` to fill; on success it takes the target's place.

    An older folder is moved aside and removed afterwards, so that at no time half of one has the name.
    Between the two moves it has none: `whole_folders` finds it then, and `remove_leftovers` moves it back.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    temporary, aside = _temporary(target, ".tmp"), _temporary(target, ".old.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, _short(target.name))
        temporary.mkdir()
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                _sync(path)
        if target.exists():
            target.replace(aside)
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        if aside.exists() and not target.exists():
            with contextlib.suppress(OSError):  # what cannot be moved back now is at the next start
                aside.replace(target)
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


def whole_folders(parent: Path) -> dict[str, Path]:
    """Folders that `replacing_folder` has finished, by name: those whose swap was interrupted lie aside."""
    entries = _entries(parent)
    asides = {match["name"]: path for path, match in _leftovers(entries) if match["old"]}
    hidden = {path for path, _ in _leftovers(entries)}
    return asides | {path.name: path for path in entries if path.is_dir() and path not in hidden}


def remove_leftovers(folder: Path, name: str | None = None, *, exclusive: bool = False) -> None:
    """Remove the temporary files and folders of processes that have ended; finish interrupted swaps.

    Args:
        folder: where they lie; not below it. It need not exist.
        name: of the target whose leftovers are meant; None is any.
        exclusive: nobody else writes to the folder, so all of them are left over; otherwise those of other
            machines and of earlier versions stay, since nobody can tell.
    """
    for path, match in _leftovers(_entries(folder)):
        if (name is not None and match["name"] != name) or not (exclusive or _is_abandoned(match)):
            continue
        with contextlib.suppress(OSError):
            target = folder / match["name"]
            if match["old"] and not target.exists():
                path.replace(target)
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, in the order of names; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _leftovers(entries: list[Path]) -> list[tuple[Path, re.Match[str]]]:
    matches = ((path, LEFTOVER.fullmatch(path.name)) for path in entries)
    return [(path, match) for path, match in matches if match]


def _is_abandoned(match: re.Match[str]) -> bool:
    """Whether a temporary name's process ran on this machine and has ended, as far as one can tell."""
    if match["host"] != _host() or os.name == "nt":  # there os.kill ends the process
        return False
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _temporary(target: Path, ending: str) -> Path:
    """A name beside a target that nobody else has."""
    return target.with_name(f".{_short(target.name)}.{_host()}-{os.getpid()}-{secrets.token_hex(6)}{ending}")


def _short(name: str) -> str:
    """A name, or the beginning of a long one with a digest."""
    raw = os.fsencode(name)
    if len(raw) <= LONGEST_NAME:
        return name
    start = raw[: LONGEST_NAME // 2].decode("utf-8", "ignore")
    return f"{start}~{hashlib.sha256(raw).hexdigest()[:16]}"


def _ending(target: Path) -> str:
    return target.suffix if len(os.fsencode(target.suffix)) <= LONGEST_SUFFIX else ""


def _host() -> str:
    """Eight digits for the name of this machine."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _sync(path: Path) -> None:
    """Wait until a file is on the disk; it is opened for writing, since Windows refuses otherwise."""
    with path.open("r+b") as written:
        os.fsync(written.fileno())


def write_json(target: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def require_writable(folder: Path) -> None:
    """Fail now rather than after hours of work.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(target: Path, error: OSError) -> OutputError:
    """The error for a failed write, in words."""
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write {target}: {reason}", remedy="free space or choose another folder that you may write to"
    )
