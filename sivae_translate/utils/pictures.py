"""Grids of images with captions, and curves."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sivae_translate.utils.choices import ImageFormat
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.errors import InputError
from sivae_translate.utils.files import replacing, require_writable
from sivae_translate.utils.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP = 4
CAPTION_HEIGHT = 18
FORMATS: dict[str, ImageFormat] = {"": "png", ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp"}
"""Formats that pictures are written in, by extension."""


def caption_font(size: int = 13) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, which needs no file."""
    return ImageFont.load_default(size)


def grid(
    rows: Sequence[Sequence[Image.Image | None]],
    *,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    cell: int = 64,
) -> Image.Image:
    """Lay images out in rows; None leaves a cell empty.

    Args:
        rows: images of any size and mode; each is scaled to the cell.
        row_names: written to the left of each row.
        column_names: written above each column.
        cell: side of a cell in pixels.

    Returns:
        RGB image.
    """
    font = caption_font()
    row_names, column_names = [*map(printable, row_names)], [*map(printable, column_names)]
    left = max((int(font.getlength(name)) for name in row_names), default=-GAP) + 2 * GAP
    top = CAPTION_HEIGHT if column_names else GAP
    columns = max(map(len, rows), default=0)
    size = (left + columns * (cell + GAP), top + len(rows) * (cell + GAP))
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for index, name in enumerate(column_names):
        pen.text((left + index * (cell + GAP), 2), _shorten(name, cell, font), fill="black", font=font)
    for r, row in enumerate(rows):
        y = top + r * (cell + GAP)
        if r < len(row_names):
            pen.text((GAP, y + cell // 2 - 8), row_names[r], fill="black", font=font)
        for c, image in enumerate(row):
            if image is not None:
                canvas.paste(_scaled(image, cell), (left + c * (cell + GAP), y))
    return canvas


def _shorten(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while len(name) > 1 and font.getlength(name) > width:
        name = name[:-1]
    return name


def _scaled(image: Image.Image, cell: int) -> Image.Image:
    whole = cell % image.width == 0 and cell % image.height == 0
    filtering = Image.Resampling.NEAREST if whole else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((cell, cell), filtering)


def stacked(images: Sequence[Image.Image]) -> Image.Image:
    """Images one above the other, aligned left: RGB, as wide as the widest."""
    size = (max(image.width for image in images), sum(image.height for image in images))
    canvas, top = Image.new("RGB", size, "white"), 0
    for image in images:
        canvas.paste(image.convert("RGB"), (0, top))
        top += image.height
    return canvas


def from_array(array: np.ndarray) -> Image.Image:
    """Turn uint8 (H, W, 1 or 3) into a grey or RGB image."""
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """A copy of a picture whose longer side has so many pixels."""
    width, height = (max(1, round(length * side / max(picture.size))) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def save(image: Image.Image, path: Path) -> None:
    """Write an image atomically, in the format of its extension; PNG if it has none.

    Raises:
        InputError: pictures are not written in the format of its extension, or it cannot hold so many pixels.
        OutputError: the folder cannot be written to.
    """
    encoding = Encoding(format_of(path), compress_level=6)
    encoding.require_fits(image.size)
    encoding.save(image, path)


def format_of(path: Path) -> ImageFormat:
    """The format that a file name asks for.

    Raises:
        InputError: pictures are not written in it.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"cannot write {path}: pictures are not written as {path.suffix} files",
            remedy=f"name a file that ends in {', '.join(filter(None, FORMATS))}",
        )
    return kind


def require_place(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Fail before work starts if a picture cannot be written.

    Args:
        path: of the picture.
        inputs: files that it must not replace.

    Raises:
        InputError: it would replace an input or a folder, or has an unknown extension.
        OutputError: the folder cannot be written to.
    """
    format_of(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, where a picture belongs", remedy="name a file in it")
    if path.exists() and any(path.samefile(one) for one in inputs if one.exists()):
        raise InputError(f"{path} would replace an input", remedy="choose another file name")
    require_writable(path.parent)


def png_bits(images: np.ndarray, compress_level: int | None = None) -> np.ndarray:
    """Size of each image (N, H, W, C), uint8, as a PNG, in bits: (N,) float64.

    Args:
        images: grey or RGB.
        compress_level: zlib's, 0 to 9; None is Pillow's slow best.
    """
    chosen: dict[str, Any] = (
        {"optimize": True} if compress_level is None else {"compress_level": compress_level}
    )

    def size(image: np.ndarray) -> int:
        buffer = io.BytesIO()
        from_array(image).save(buffer, "PNG", **chosen)
        return 8 * buffer.tell()

    return np.array([size(image) for image in images], dtype=np.float64)


def curves(series: dict[str, dict[str, list[float]]], steps: list[int], path: Path, title: str) -> None:
    """Draw panels of curves over training steps as a PNG.

    Args:
        series: panel title to {line name: values}, one value for each of ``steps``.
        steps: values of the horizontal axis.
        path: PNG to write.
        title: title above all panels.
    """
    columns = min(3, len(series)) or 1
    rows = -(-len(series) // columns)
    figure = new_figure(4.4 * columns, 2.9 * rows)
    figure.suptitle(title)
    for index, (name, lines) in enumerate(series.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for label, values in lines.items():
            axes.plot(steps, values, label=label, linewidth=1)
        axes.set_title(name, fontsize=10)
        axes.grid(visible=True, alpha=0.3)
        if len(lines) > 1:
            axes.legend(fontsize=7)
    save_figure(figure, path, dpi=110)


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure of a size in inches, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as a PNG, atomically.

    Its texts are shown as they are: dollar signs in a name begin no formula.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_text(printable(text.get_text(), keep="\n"))
            text.set_parse_math(False)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box stands in its place
        figure.savefig(temporary, format="png", dpi=dpi)
