"""Writing image files: formats and quality."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, get_args

from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from sivae_translate.utils.choices import ImageFormat
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.files import replacing

COMPRESSION = 1
"""zlib's level for PNG files: at 256 px it takes a quarter of the time of the default 6, for a sixth more
bytes (docs/performance.md)."""
QUALITY = 95
"""Default quality of JPEG and WebP."""
LONGEST_SIDE = {"png": 2**31 - 1, "jpg": 65_500, "webp": 16_383}
"""Longest side of each format in pixels."""
_PILLOW = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}


@dataclass(frozen=True)
class Encoding:
    """A file format and its quality.

    Args:
        format: ``png`` keeps every pixel; ``jpg`` and ``webp`` are smaller.
        quality: 1 to 100, of ``jpg`` and ``webp`` alone; None is 95.
        compress_level: zlib's for ``png``, 0 to 9; the pixels are the same at each.

    Raises:
        InputError: another format or quality, or a quality of PNG files.

    >>> Encoding("webp", 80).suffix
    '.webp'
    """

    format: ImageFormat = "png"
    quality: int | None = None
    compress_level: int = COMPRESSION

    def __post_init__(self) -> None:
        if self.format not in get_args(ImageFormat):
            raise InputError(
                f"there is no format '{self.format}'", remedy=f"choose {' or '.join(get_args(ImageFormat))}"
            )
        if self.quality is None:
            return
        if self.format == "png":
            raise InputError(
                "PNG files have no quality: they keep every pixel",
                remedy="leave quality out, or choose the format jpg or webp",
            )
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality is {self.quality}", remedy="give 1 to 100")

    @property
    def suffix(self) -> str:
        """Extension of file names."""
        return f".{self.format}"

    @property
    def has_alpha(self) -> bool:
        """Whether the format can hold transparency."""
        return self.format != "jpg"

    def write(self, image: Image.Image, target: Path | BinaryIO, **metadata: Any) -> None:
        """Write an image directly to a file or stream; `save` writes atomically.

        Colours are tagged as sRGB: a chunk of PNG files, a profile in others, unless they are grey.
        """
        options: dict[str, Any] = {"quality": QUALITY if self.quality is None else self.quality}
        if self.format == "png":
            options = {"compress_level": self.compress_level, "pnginfo": _srgb_chunk()}
        elif image.mode.startswith("RGB"):
            options["icc_profile"] = srgb_profile()
        known = {name: value for name, value in metadata.items() if value is not None}
        image.save(target, _PILLOW[self.format], **options, **known)

    def save(self, image: Image.Image, path: Path, **metadata: Any) -> None:
        """Write an image atomically: grey or RGB, with alpha where the format has it.

        Args:
            image: of mode "L", "LA", "RGB" or "RGBA".
            path: where to write.
            metadata: ``exif`` (bytes) and ``dpi`` (two numbers), where they are not None.

        Raises:
            OutputError: the folder cannot be written to.
        """
        with replacing(path) as temporary:
            self.write(image, temporary, **metadata)

    def encode(self, image: Image.Image) -> bytes:
        """Encode an image to bytes."""
        stream = io.BytesIO()
        self.write(image, stream)
        return stream.getvalue()

    def require_bits(self, bits: int) -> None:
        """Raise InputError if the format does not support so many bits per channel."""
        if bits > 8 and self.format != "png":
            raise InputError(f"{self.format} files have 8 bits per channel", remedy="choose the format png")

    def require_fits(self, size: tuple[int, int]) -> None:
        """Raise InputError if the format does not support a picture of this width and height."""
        longest = LONGEST_SIDE[self.format]
        if max(size) > longest:
            raise InputError(
                f"a picture of {size[0]} x {size[1]} pixels does not fit into a {self.format} file, "
                f"whose sides have at most {longest:,}",
                remedy="choose the format png",
            )


def _srgb_chunk() -> PngInfo:
    """The chunk that says that a PNG file's colours are sRGB (perceptual intent)."""
    info = PngInfo()
    info.add(b"sRGB", b"\0")  # type: ignore[no-untyped-call]
    return info


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB, always the same: without the date of its creation."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


PNG = Encoding()
"""The default encoding."""
