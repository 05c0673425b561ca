"""The files of a published data set: in a folder, a zip file, or a folder that contains zip files.

Archives are not trusted: reading a member gives at most `LARGEST` bytes, or a DataError.
"""

from __future__ import annotations

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from sivae_translate.data.formats import IMAGE_SUFFIXES
from sivae_translate.data.listing import files_below, is_visible
from sivae_translate.data.reading import open_image
from sivae_translate.utils.errors import DataError

LARGEST = 2**30
"""Most bytes of an unpacked file: twice the largest published one, and far less than a zip bomb."""
_DECODERS: tuple[type[Exception], ...] = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, AssertionError),
    *(struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
)
"""What decoders raise for damaged, huge or unsupported files."""
_ENCRYPTED = 1
"""Flag bit of an encrypted zip member."""


@contextmanager
def named(name: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn errors of a decoder inside the block into a DataError that names the file.

    Args:
        name: name of the file.
        errors: exceptions that decoders raise besides Python's own.

    Raises:
        DataError: a decoder raised something.
    """
    try:
        yield
    except (*_DECODERS, *errors) as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"cannot read {name}: {reason}", remedy="copy or download it again") from error


def require_small(size: int, name: str) -> None:
    """Raise DataError if a file would have more than `LARGEST` bytes."""
    if size > LARGEST:
        raise DataError(
            f"{name} unpacks to {size / 2**20:,.0f} MB or more; {LARGEST / 2**20:,.0f} MB are allowed",
            remedy="download it again from the authors of the data set; theirs is smaller",
        )


def unzip(raw: bytes, name: str, most: int | None = None) -> bytes:
    """The bytes of a gzip file.

    Args:
        raw: content of the file.
        name: name of the file, for errors.
        most: read at most this many bytes.

    Raises:
        DataError: the file is damaged or unpacks to more than `LARGEST` bytes.
    """
    with named(name), gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
        data = stream.read(LARGEST + 1 if most is None else most)
    require_small(len(data), name)
    return data


@dataclass(frozen=True)
class Files:
    """Files below a root, by their path relative to it with forward slashes.

    Attributes:
        root: folder or zip file.
        readers: relative path to a function that reads the file.
    """

    root: Path
    readers: Mapping[str, Callable[[], bytes]]

    def below(self, folder: str) -> dict[str, str]:
        """Stem to path of the images in folders of this name (``train/photo``), at any depth."""
        paths = {}
        for name in sorted(self.readers):
            path = PurePosixPath(name)
            if path.suffix.lower() in IMAGE_SUFFIXES and f"/{path.parent}".endswith(f"/{folder}"):
                paths[path.stem] = name
        return paths

    def named(self, ending: str) -> str | None:
        """The first path with this ending."""
        return next((name for name in sorted(self.readers) if f"/{name}".endswith(f"/{ending}")), None)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            DataError: it cannot be read or is larger than `LARGEST`, or the zip file is damaged there.
        """
        with named(f"{self.root}/{name}"):
            return self.readers[name]()

    def image(self, name: str) -> Image.Image:
        """A file as an image.

        Raises:
            DataError: the file is not a readable image.
        """
        stream = io.BytesIO(self.read(name))
        stream.name = f"{self.root}/{name}"
        return open_image(stream)


def list_files(root: Path) -> Files:
    """All visible files of a folder and of the zip files directly in it, or of a zip file.

    Raises:
        DataError: there is no such folder or file, or a zip file is damaged or encrypted.
    """
    if root.is_dir():
        readers: dict[str, Callable[[], bytes]] = {
            PurePosixPath(*parts).as_posix(): partial(_read, path)
            for parts in sorted(files_below(root))
            if (path := root.joinpath(*parts)).is_file()
        }
        for archive in sorted(path for path in root.glob("*.zip") if path.is_file()):
            readers |= _zipped(archive)
        return Files(root, readers)
    if not root.exists():
        raise DataError(f"there is no folder or zip file {root}", remedy="check the path")
    if not root.is_file():
        raise DataError(f"{root} is not a regular file", remedy="name a folder or a zip file")
    return Files(root, _zipped(root))


def _read(path: Path) -> bytes:
    require_small(path.stat().st_size, str(path))
    return path.read_bytes()


def _zipped(path: Path) -> dict[str, Callable[[], bytes]]:
    """Readers of a zip file's members; they keep it open, since opening it reads its whole directory."""
    with named(str(path)):
        archive = zipfile.ZipFile(path)
        members = [info for info in archive.infolist() if not info.is_dir()]
    if any(info.flag_bits & _ENCRYPTED for info in members):
        raise DataError(f"{path} is encrypted", remedy="unpack it and name the folder")
    return {
        info.filename: partial(_unpack, archive, info)
        for info in members
        if all(is_visible(part) for part in PurePosixPath(info.filename).parts)
    }


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    # A member never unpacks to more bytes than its entry says
    require_small(info.file_size, f"{archive.filename}/{info.filename}")
    return archive.read(info)
