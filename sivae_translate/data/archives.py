"""The files of a published data set, in a folder, a zip file, or a folder with zip files in it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from PIL import Image

from sivae_translate.data.image import IMAGE_SUFFIXES, open_image
from sivae_translate.utils.errors import DataError


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
        """Stem to path of the images in the folders of that name (``train/photo``), wherever these lie."""
        paths = {}
        for name in sorted(self.readers):
            path = PurePosixPath(name)
            if path.suffix.lower() in IMAGE_SUFFIXES and f"/{path.parent}".endswith(f"/{folder}"):
                paths[path.stem] = name
        return paths

    def named(self, ending: str) -> str | None:
        """The first path that ends in this."""
        return next((name for name in sorted(self.readers) if f"/{name}".endswith(f"/{ending}")), None)

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            DataError: it cannot be read, or the zip file is damaged there.
        """
        try:
            return self.readers[name]()
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"cannot read {self.root}/{name}: {error}", remedy="copy it again") from error

    def image(self, name: str) -> Image.Image:
        """A file as an image.

        Raises:
            DataError: it is not readable as one.
        """
        stream = io.BytesIO(self.read(name))
        stream.name = f"{self.root}/{name}"
        return open_image(stream)


def list_files(root: Path) -> Files:
    """All files of a folder and of the zip files directly in it, or of a zip file.

    Raises:
        DataError: there is nothing there, or a zip file is damaged.
    """
    if root.is_dir():
        readers = {
            path.relative_to(root).as_posix(): path.read_bytes
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }
        for archive in sorted(root.glob("*.zip")):
            readers |= _zipped(archive)
        return Files(root, readers)
    if not root.exists():
        raise DataError(f"there is no folder or zip file {root}", remedy="check the path")
    return Files(root, _zipped(root))


def _zipped(path: Path) -> dict[str, Callable[[], bytes]]:
    """Readers of a zip file's members; they keep it open, since opening it means reading its whole
    directory.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot read {path}: {error}", remedy="name a folder or a zip file; copy it again"
        ) from error
    return {info.filename: partial(archive.read, info) for info in archive.infolist() if not info.is_dir()}
