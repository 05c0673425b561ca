"""Reading image files of any kind, within limits of time and size."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from sivae_translate.data import ranges
from sivae_translate.data.conversion import orientation_of, to_plain
from sivae_translate.data.formats import HEAD, find_reader
from sivae_translate.data.limits import (
    BLOCK,
    Allowance,
    ClockedStream,
    TimeLimitError,
    require_regular,
    strip_metadata,
)
from sivae_translate.utils.errors import DataError, InputError

if TYPE_CHECKING:
    from sivae_translate.config import DataConfig

MAX_PIXELS = 200_000_000
"""Larger images are refused by their header: a small file can claim a size that would fill memory."""

MEMORY = Allowance(512 * 2**20)
"""Memory for all decoders of this process together, in bytes."""
BYTES_PER_PIXEL = 12
"""Peak memory of decoding, in bytes per pixel: the decoder's picture and one or two copies of it."""
LAST_UPRIGHT = 4
"""EXIF orientations above this one swap width and height."""
FULL_SIZE = "full_size"
"""Key in an image's ``info``: the full width and height of a picture decoded at a reduced size."""


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        white_level: white in files of more than 8 bits per channel; None is 65535.
        seconds: time limit for each file.
        side: a JPEG picture whose shorter side is at least twice as long is decoded at half, a quarter or an
            eighth of its size, but not below this side; None always decodes the full size.
    """

    white_level: int | None = None
    seconds: float = 60.0
    side: int | None = None

    @classmethod
    def of(cls, config: DataConfig) -> Reading:
        """The settings of a run."""
        return cls(config.white_level, config.seconds_per_file)


DEFAULT = Reading()


def open_image(source: str | Path | BinaryIO, reading: Reading = DEFAULT) -> Image.Image:
    """Read and fully decode an image, or the first frame of an animation.

    Transparency is composited on white, 16-bit grey is scaled by its full range or the white level, EXIF
    rotation is applied, colours are converted to sRGB by the file's profile, CMYK becomes RGB.

    Args:
        source: a path, or a binary stream, which is read from its start and left open.
        reading: white level, time limit and reduced size.

    Returns:
        8-bit image in mode "L" if the file is grey, else "RGB"; independent of the file. `full_size` gives
        the size of a picture that was decoded at a reduced size.

    Raises:
        DataError: the file does not exist, is not a regular file or not an image, is empty, truncated or
            larger than `MAX_PIXELS`, exceeds the time limit, or has an unknown pixel range.
        InputError: the source is neither a path nor a binary stream.
    """
    name = (
        str(source)
        if isinstance(source, (str, Path))
        else str(getattr(source, "name", "") or "the image stream")
    )
    with _explained(name), _stream(source) as file:
        return _read(file, name, reading)


@contextmanager
def opened(source: Path | io.BytesIO, reading: Reading = DEFAULT) -> Iterator[ImageFile.ImageFile]:
    """An image file as Pillow opens it: its header is read, and its pixels once they are needed.

    Raises:
        DataError: see `open_image`; also where pixels that the context needs cannot be read.
    """
    name = str(source) if isinstance(source, Path) else "the image stream"
    with _explained(name), _stream(source) as file:
        image = _identify(cast("BinaryIO", ClockedStream(file, reading.seconds)), name)
        with MEMORY.share(image.width * image.height * BYTES_PER_PIXEL):
            yield image


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn errors of decoders into DataErrors."""
    try:
        yield
    except (DataError, InputError):
        raise
    except Exception as error:  # decoders can raise anything on damaged files
        raise _unreadable(name, error) from error


def _stream(source: str | Path | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        require_regular(path)
        return path.open("rb")
    if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise InputError(
            f"cannot open an image from {type(source).__name__}",
            remedy="give a path or a file that was opened in binary mode",
        )
    try:
        source.seek(0)
    except (AttributeError, OSError):  # a pipe or a socket; decoders need to seek
        return io.BytesIO(source.read())
    return nullcontext(source)


def _read(file: BinaryIO, name: str, reading: Reading) -> Image.Image:
    """Read an open file as a plain image; a PNG file that fails is read again without metadata."""
    clock = ClockedStream(file, reading.seconds)
    stream = cast("BinaryIO", clock)
    try:
        return _decode(stream, name, reading)
    except DataError:
        raise
    except Exception as error:
        if clock.is_over:  # some decoders replace every error by their own
            raise TimeLimitError from error
        file.seek(0)
        if file.read(4) != b"\x89PNG":
            raise
        bare, profile = strip_metadata(stream)
        return _decode(bare, name, reading, profile)


def _decode(file: BinaryIO, name: str, reading: Reading, profile: bytes | None = None) -> Image.Image:
    image = _identify(file, name)
    white, full = ranges.white_of(image, reading.white_level), image.size
    if reading.side is not None and image.format in {"JPEG", "MPO"}:
        image.draft(None, (reading.side, reading.side))
    with MEMORY.share(image.width * image.height * BYTES_PER_PIXEL):
        joined = _load_deep(image, file, name, white) if white != ranges.WHITE else image
        image.load()
        profile = profile or image.info.get("icc_profile")
        orientation = orientation_of(image)
        plain = to_plain(joined, name, white, profile, orientation)
    if image.size != full:
        plain.info[FULL_SIZE] = full if orientation <= LAST_UPRIGHT else full[::-1]
    return plain


def full_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the picture before it was decoded at a reduced size; see `Reading`."""
    width, height = image.info.get(FULL_SIZE, image.size)
    return width, height


def _load_deep(image: ImageFile.ImageFile, file: BinaryIO, name: str, white: int) -> Image.Image:
    """Scale 16-bit colours by their white level; other images stay as they are."""
    if not ranges.is_deep_colour(image):
        return image
    lower = ranges.lower_bytes(_identify(file, name))
    lower.load()
    image.load()
    return ranges.join_bytes(image, lower, white)


def brightest_value(path: Path) -> int | None:
    """The largest value in a file with 16 bits per channel; for colours, rounded up to 256 n + 255.

    Returns:
        None for a file of 8 bits, one whose header gives the white level, or one that cannot be read.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            image = _identify(cast("BinaryIO", ClockedStream(file, DEFAULT.seconds)), str(path))
            deep = ranges.is_deep_colour(image)
            if ranges.white_of(image, None) != ranges.WHITE or not ranges.is_open(image):
                return None
            image.load()
            top = int(np.asarray(image)[..., : 3 if deep else None].max())
            return top * 256 + 255 if deep else top
    except Exception:  # the reason is reported when the file is read
        return None


def _identify(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header only.

    Raises:
        DataError: the file is empty, not an image, or too large.
    """
    file.seek(0)
    head = file.read(HEAD)
    if not head:
        raise DataError(f"cannot read {name}: the file is empty", remedy="remove it or copy it again")
    reader = find_reader(head, name)
    file.seek(0)
    image = reader(file)
    if image.format in {"JPEG", "MPO"}:
        image.decodermaxblock = BLOCK
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"cannot read {name}: its header claims {image.width} x {image.height} pixels, more than "
            f"{MAX_PIXELS:,} in all",
            remedy="scale it down with another program, or remove it",
        )
    return image


_UNSUPPORTED = re.compile(
    "unsupported|unknown (pixel|raw|compression|data)|not (supported|available|implemented)|cannot handle"
    "|more samples",
    re.IGNORECASE,
)
"""Pillow's messages for undamaged files of a kind that it does not decode."""


def _unreadable(name: str, error: Exception) -> DataError:
    """The error to raise when opening or decoding fails."""
    reason = str(error) or type(error).__name__
    smaller = "scale it down with another program, or remove it"
    for kind, what, remedy in (
        (FileNotFoundError, "no such file", "check the path"),
        (IsADirectoryError, "it is a folder", "name an image file"),
        (PermissionError, "permission denied", "change its permissions"),
        (
            TimeLimitError,
            "decoding it takes longer than data.seconds_per_file",
            "convert it to PNG or raise the limit",
        ),
        (MemoryError, "there is not enough memory to decode it", smaller),
        (ranges.UnknownRangeError, reason, "convert it to 8 or 16 bits per channel"),
        (Image.DecompressionBombError, reason, smaller),
    ):
        if isinstance(error, kind):
            return DataError(f"cannot read {name}: {what}", remedy=remedy)
    if "out of memory" in reason:
        return _unreadable(name, MemoryError())
    if isinstance(error, OSError) and error.errno is not None:
        return DataError(f"cannot read {name}: {error.strerror}", remedy="check the path and the disk")
    if _UNSUPPORTED.search(reason):
        return DataError(
            f"cannot read {name}: Pillow does not support this variant ({reason})", remedy="convert it to PNG"
        )
    return DataError(
        f"cannot read {name}: it is damaged or truncated ({reason})", remedy="remove it or copy it again"
    )
