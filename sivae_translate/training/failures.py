"""External failures of a training (disks, memory, loader processes) as clear errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sivae_translate.utils.errors import TrainingError
from sivae_translate.utils.files import cannot_write

DISK = {errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EISDIR}
DISK |= {errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EDQUOT, errno.ESTALE}
"""System errors that concern a file or its disk."""

NO_MEMORY = ("can't allocate memory", "not enough memory")
"""torch's messages for lack of CPU memory, which are RuntimeErrors."""


@contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn system errors during training into errors with a remedy.

    Args:
        out: the run folder.

    Raises:
        OutputError: a file cannot be written.
        TrainingError: a loader process was killed, or memory has run out.
    """
    resume = f"continue with --resume --out {out}"
    smaller = (
        f"set a smaller training.batch and {resume}, or start again with a smaller data.image_size or "
        "model.widths"
    )
    try:
        yield
    except OSError as error:
        if error.errno in DISK:
            path = Path(error.filename) if isinstance(error.filename, str) else out
            raise cannot_write(path, error) from error
        raise TrainingError(f"the system refuses: {error}", remedy=f"once it does not, {resume}") from error
    except (MemoryError, torch.OutOfMemoryError) as error:
        what = str(error).partition(". ")[0] or "there is not enough memory"
        raise TrainingError(what, remedy=smaller) from error
    except RuntimeError as error:
        if any(words in str(error) for words in NO_MEMORY):
            raise TrainingError("there is not enough memory for a step", remedy=smaller) from error
        if not str(error).startswith("DataLoader worker"):
            raise
        raise TrainingError(
            f"a loader process ended: {str(error).splitlines()[0].strip()}",
            remedy=f"if memory is short, reduce data.workers; {resume}",
        ) from error
