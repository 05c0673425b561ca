"""Image formats: which files count as images, and which of Pillow's readers decodes a file.

The reader is chosen by the first bytes; the name does not matter, since a GIF named .png is common on the
web. Readers are called directly instead of through Image.open, which has a global limit of its own (about
179 million pixels), warns at half of it, and tries decoders that run other programs (EPS).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import BinaryIO, TypeAlias, cast

from PIL import ImageFile, features
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TgaImagePlugin import TgaImageFile
from PIL.TiffImagePlugin import PREFIXES as TIFF_SIGNATURES
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sivae_translate.utils.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        *(".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
    }
)
"""Extensions, in lower case, of files that count as images when a folder is read."""

KNOWN = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG 2000, PPM or TGA"
HEAD = 64
"""How many bytes are needed to recognise the format."""

Reader: TypeAlias = Callable[[BinaryIO], ImageFile.ImageFile]

_READERS: tuple[tuple[bytes, Reader], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"BM", BmpImageFile),
    (b"GIF8", GifImageFile),
    (b"\xff\x4f\xff\x51", Jpeg2KImageFile),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Jpeg2KImageFile),
    *((signature, TiffImageFile) for signature in TIFF_SIGNATURES),
    *((b"P%d" % kind + space, PpmImageFile) for kind in range(1, 7) for space in (b" ", b"\n", b"\r", b"\t")),
)
_AVIF = {b"avif", b"avis"}
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_EITHER = {b"mif1", b"msf1", b"miaf"}


def find_reader(head: bytes, name: str) -> Reader:
    """The reader for a file.

    Args:
        head: the first `HEAD` bytes of the file.
        name: name of the file; only TGA, which has no signature, is recognised by its extension.

    Raises:
        DataError: the format is unknown, or its decoder is not installed.
    """
    reader = next((reader for signature, reader in _READERS if head.startswith(signature)), None)
    if reader is not None:
        return reader
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return cast("Reader", WebPImageFile)
    if head[4:8] == b"ftyp" and (reader := _find_container_reader(head, name)):
        return reader
    if name.lower().endswith(".tga"):
        return cast("Reader", TgaImageFile)
    raise DataError(
        f"cannot read {name}: it is not an image in {KNOWN} format",
        remedy="remove it or convert it to PNG",
    )


def _find_container_reader(head: bytes, name: str) -> Reader | None:
    """The reader for AVIF or HEIC, which share a container and list their brands in its first box."""
    box = head[8 : int.from_bytes(head[:4], "big")]
    brands = {box[start : start + 4] for start in range(0, len(box), 4)}
    if brands & _HEIF or (brands & _EITHER and not brands & _AVIF):
        return _heif_reader(name)
    return _avif_reader(name) if brands & _AVIF else None


def _avif_reader(name: str) -> Reader:
    """Pillow's AVIF reader, available since 11.3.

    Raises:
        DataError: the installed Pillow has none.
    """
    try:
        module = importlib.import_module("PIL.AvifImagePlugin")
    except ImportError:
        module = None
    if module is None or not features.check("avif"):
        raise DataError(
            f"cannot read {name}: the installed Pillow does not decode AVIF",
            remedy="pip install --upgrade pillow, or convert it to PNG",
        )
    return cast("Reader", module.AvifImageFile)


def _heif_reader(name: str) -> Reader:
    """pillow-heif's reader.

    Raises:
        DataError: pillow-heif is not installed.
    """
    try:
        module = importlib.import_module("pillow_heif")
    except ImportError as error:
        raise DataError(
            f"cannot read {name}: HEIC needs pillow-heif (pip install 'sivae-translate[heif]')",
            remedy="pip install 'sivae-translate[heif]', or convert it to PNG",
        ) from error
    return cast("Reader", module.HeifImageFile)
