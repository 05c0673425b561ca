"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sivae_translate.utils.errors import OutputError


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
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~UMASK)
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` to fill; on success it takes the target's place.

    An older folder is moved aside and removed afterwards, so that at no time half of one has the name.

    Raises:
        OutputError: the folder cannot be written to, or the disk is full.
    """
    temporary: Path | None = None
    aside = target.with_name(f".{target.name}.{os.getpid()}.old.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with path.open("rb") as written:
                    os.fsync(written.fileno())
        temporary.chmod(0o777 & ~UMASK)  # mkdtemp makes folders for one user alone
        if target.exists():
            target.replace(aside)
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        if aside.exists() and not target.exists():
            aside.replace(target)
        for leftover in (temporary, aside):
            if leftover is not None:
                shutil.rmtree(leftover, ignore_errors=True)


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
