"""Decoding and encoding of image files, in the process that asks."""

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
    """Reads and writes in this process; several threads may use it at once.

    Args:
        processor: prepares pictures for the model.
        encoding: of the files that are written.

    Attributes:
        threads: that should use it.
    """

    threads = THREADS

    def __init__(self, processor: ImageProcessor, encoding: Encoding) -> None:
        self.processor, self.encoding = processor, encoding

    def chunk(self, batch: int) -> int:
        """Files of a batch that a call should be given."""
        del batch
        return 1

    def read(self, paths: Sequence[Path]) -> list[Prepared | DataError]:
        """Each file as the model sees it, or why it cannot be read."""
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> Prepared | DataError:
        try:
            return self.processor.prepare(path)
        except DataError as error:
            return error

    def write(
        self, pixels: np.ndarray, placements: Sequence[Placement | None], targets: Sequence[Path]
    ) -> None:
        """Write images, each whole or not at all.

        Args:
            pixels: uint8 (B, S, S, C).
            placements: to restore the shapes of their sources by; None leaves an image as it is.
            targets: the files.

        Raises:
            OutputError: a file cannot be written.
        """
        for array, placement, target in zip(pixels, placements, targets, strict=True):
            picture = from_array(array)
            restored = picture if placement is None else self.processor.restore(picture, placement)
            self.encoding.save(restored, target)

    def abort(self) -> None:
        """End reading that is going on; writing is finished."""

    def close(self) -> None:
        """Nothing is read or written any more."""
