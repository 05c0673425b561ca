"""Atomic writes: a reader never sees half a file, whatever happens.

A file is first written under a temporary name that is unique to the process, thread and call:
``.NAME.HOST-PID-TOKEN.tmp``. Killed processes leave such files behind; `remove_leftovers` removes them.
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
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sivae_translate.utils.errors import OutputError

LONGEST_SUFFIX = 16
"""How many bytes of a file's extension a temporary name keeps: writers choose their format by it."""
LONGEST_NAME = 100
"""How many bytes of a file's name a temporary name keeps; file systems allow 255 in all."""
LONGEST_STEM = 200
"""How many bytes of a name `file_stem` keeps: there is room for more behind it."""
LEFTOVER = re.compile(
    r"\.(?P<name>.+)\.((?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]+|\d+|[a-z0-9_]{8})(?P<old>\.old)?\.tmp(\..+)?",
    re.DOTALL,
)
"""Temporary names, including those of earlier versions: a process ID, or eight characters."""


def _umask() -> int:
    """The umask of the process, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


UMASK = _umask()
"""Read once, at import: two threads that set the mask at the same time could leave it changed."""


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, which replaces ``target`` on success and is removed on failure.

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
    """Give a temporary folder to fill, which replaces ``target`` on success.

    An existing folder is moved aside and removed afterwards, so that ``target`` is never half a folder.
    Between the two moves it does not exist: `whole_folders` still finds the old one, and
    `remove_leftovers` moves it back.

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
            with contextlib.suppress(OSError):  # `remove_leftovers` tries again at the next start
                aside.replace(target)
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


def whole_folders(parent: Path) -> dict[str, Path]:
    """Complete folders by name, including those that an interrupted swap left under a temporary name."""
    entries = _entries(parent)
    asides = {match["name"]: path for path, match in _leftovers(entries) if match["old"]}
    hidden = {path for path, _ in _leftovers(entries)}
    return asides | {path.name: path for path in entries if path.is_dir() and path not in hidden}


def remove_leftovers(folder: Path, name: str | None = None, *, exclusive: bool = False) -> None:
    """Remove temporary files and folders of processes that have ended; finish interrupted swaps.

    Args:
        folder: where to look, without subfolders. It need not exist.
        name: the target whose leftovers to remove; None removes those of any target.
        exclusive: nobody else writes to the folder, so every temporary name is a leftover. Otherwise those of
            other machines and of earlier versions stay, since their processes may still be running.
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
    """Entries of a folder, sorted by name; none if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _leftovers(entries: list[Path]) -> list[tuple[Path, re.Match[str]]]:
    matches = ((path, LEFTOVER.fullmatch(path.name)) for path in entries)
    return [(path, match) for path, match in matches if match]


def _is_abandoned(match: re.Match[str]) -> bool:
    """Whether the process behind a temporary name ran on this machine and has ended."""
    if match["host"] != _host() or os.name == "nt":  # on Windows os.kill ends the process
        return False
    try:
        os.kill(int(match["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _temporary(target: Path, ending: str) -> Path:
    """A unique name beside a target."""
    return target.with_name(f".{_short(target.name)}.{_host()}-{os.getpid()}-{secrets.token_hex(6)}{ending}")


def _short(name: str) -> str:
    """A name, or the beginning of a long one followed by a digest."""
    raw = os.fsencode(name)
    if len(raw) <= LONGEST_NAME:
        return name
    return _digested(name, raw)


def _digested(name: str, raw: bytes) -> str:
    start = os.fsencode(name)[: LONGEST_NAME // 2].decode(sys.getfilesystemencoding(), "ignore")
    return f"{start}~{hashlib.sha256(raw).hexdigest()[:16]}"


def file_stem(name: str) -> str:
    """What a file about something of any name is called, without its ending: that name where it can be one.

    A model file may give its domains names with slashes, and a folder's name may leave no room for an ending.

    >>> file_stem("night"), file_stem("../night")
    ('night', '.._night~388932c5842104a1')
    """
    safe = re.sub(r"[/\\\0]", "_", name)
    if safe == name and len(os.fsencode(name)) <= LONGEST_STEM:
        return name
    return _digested(safe, name.encode("utf-8", "surrogatepass"))


def _ending(target: Path) -> str:
    return target.suffix if len(os.fsencode(target.suffix)) <= LONGEST_SUFFIX else ""


def _host() -> str:
    """A digest of this machine's name, eight hexadecimal digits."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _sync(path: Path) -> None:
    """Flush a file to disk; Windows requires that it is opened for writing."""
    with path.open("r+b") as written:
        os.fsync(written.fileno())


def write_json(target: Path, value: Any) -> None:
    """Write indented JSON atomically."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(target: Path, text: str) -> None:
    r"""Write UTF-8 text atomically.

    A lone surrogate, which stands for a byte of a name that is not UTF-8, becomes ``\udce9``. In JSON that is
    its escape, so readers get the name back.
    """
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def require_writable(folder: Path) -> None:
    """Check that a folder can be written to, now rather than after hours of work.

    Raises:
        OutputError: the folder cannot be made or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            f"cannot write to {folder}: it is a file, where a folder belongs", remedy="choose another name"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(target: Path, error: OSError) -> OutputError:
    """The error to raise for a failed write."""
    reason = error.strerror or str(error)
    return OutputError(
        f"cannot write {target}: {reason}", remedy="free some space, or choose a folder that you may write to"
    )
