"""Decoding and encoding image files in the current process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sivae_translate.data.processor import ImageProcessor, Placement, Prepared
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.pictures import from_array

THREADS = 4


class Codec:
    """Reads and writes images in this process; several threads may use it at the same time.

    Args:
        processor: prepares pictures for the model.
        encoding: format and quality of the files to write.

    Attributes:
        threads: number of threads that should use it.
    """

    threads = THREADS

    def __init__(self, processor: ImageProcessor, encoding: Encoding) -> None:
        self.processor, self.encoding = processor, encoding

    def chunk(self, batch: int) -> int:
        """How many files of a batch to pass to a call."""
        del batch
        return 1

    def read(self, paths: Sequence[Path]) -> list[Prepared | DataError]:
        """Prepare each file for the model, or return why it cannot be read."""
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> Prepared | DataError:
        try:
            return self.processor.prepare(path)
        except DataError as error:
            return error

    def write(
        self, pixels: np.ndarray, placements: Sequence[Placement | None], targets: Sequence[Path]
    ) -> None:
        """Write images atomically.

        Args:
            pixels: uint8 (B, S, S, C).
            placements: placements that restore the sizes of the sources; None keeps the model's size.
            targets: paths of the files.

        Raises:
            OutputError: a file cannot be written.
        """
        for array, placement, target in zip(pixels, placements, targets, strict=True):
            picture = from_array(array)
            restored = picture if placement is None else self.processor.restore(picture, placement)
            self.encoding.save(restored, target)

    def abort(self) -> None:
        """Stop reading; writes are completed."""

    def close(self) -> None:
        """Release all resources."""
