"""Data sets in zip files, which are unpacked once into the cache folder."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from sivae_translate.data.archives import named, require_small
from sivae_translate.data.listing import is_image, is_visible, scan
from sivae_translate.utils.errors import DataError
from sivae_translate.utils.files import replacing_folder
from sivae_translate.utils.progress import console


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder with the images of a zip file; it is unpacked if that has not been done.

    A changed file is unpacked again, to another folder. A folder that contains all others is left out.

    Args:
        archive: the zip file.
        cache: folder to unpack to.

    Raises:
        DataError: the file is damaged or encrypted, or a member has a path outside it.
        OutputError: the cache cannot be written to.
    """
    about = archive.stat()
    stamp = f"{archive.resolve()} {about.st_size} {about.st_mtime_ns}"
    folder = cache / "unpacked" / f"{archive.stem}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        console.print(f"unpacking {archive} to {folder}", highlight=False)
        with replacing_folder(folder) as temporary, named(str(archive)), zipfile.ZipFile(archive) as members:
            for member in members.infolist():
                _unpack(archive, members, member, temporary)
    inner, direct = scan(folder)
    return folder / inner[0] if len(inner) == 1 and not any(map(is_image, direct)) else folder


def _unpack(archive: Path, members: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack a member that is a visible image.

    Raises:
        DataError: its path leads outside the folder, or it is too large.
    """
    path = PurePosixPath(member.filename)
    if member.is_dir() or not all(map(is_visible, path.parts)) or not is_image(path.name):
        return
    if path.is_absolute() or "\\" in member.filename:  # names that begin with a dot are not visible
        raise DataError(f"{archive} has a member {path}", remedy="pack it again, without such paths")
    require_small(member.file_size, f"{archive}/{path}")
    target = folder.joinpath(*path.parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with members.open(member) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink)
