"""Films and animations: one style code for all frames, with the rate, the length and the sound of the input.

Films (mp4, mkv, mov, webm, avi) need the extra ``video`` (PyAV); frames are read, translated and written one
by one. Animated GIF and WebP files and TIFF files of several pages are Pillow's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from sivae_translate.data.extras import extras_of, with_alpha
from sivae_translate.data.image import from_any
from sivae_translate.data.reading import MAX_PIXELS, opened
from sivae_translate.inference.arguments import Request
from sivae_translate.inference.large import translate_one
from sivae_translate.inference.translator import StyleLike, Translator
from sivae_translate.utils.errors import DataError, InputError
from sivae_translate.utils.extras import import_optional
from sivae_translate.utils.files import replacing
from sivae_translate.utils.progress import progress_bar

CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov", ".webm": "webm", ".avi": "avi"}
"""Extensions of films, and FFmpeg's names of their formats."""
CODECS = {"webm": ("libvpx-vp9", {"crf": "24", "b:v": "0"})}
"""FFmpeg's encoder and its options, where it is not libx264."""
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
"""Extensions of files with several pictures, and Pillow's names of their formats."""
SUFFIXES = frozenset({*CONTAINERS, *ANIMATIONS})
"""Extensions of the files that `translate_film` writes."""

Draw = Callable[[Image.Image], Image.Image]


def translate_film(
    translator: Translator, source: Path, style: StyleLike, target: Path, request: Request | None = None
) -> int:
    """Translate all pictures of a film, an animation or a TIFF file of several pages.

    Args:
        translator: the model.
        source: the file.
        style: see `Translator.__call__`; it is resolved once.
        target: the file to write, whose extension is its format. A film becomes a film.
        request: options; the size is the input's. The check is not made.

    Returns:
        The number of pictures.

    Raises:
        ConfigError: a film, and PyAV is not installed.
        DataError: the source cannot be read, or an animation is too large.
        InputError: the target would replace the source, or is of another kind.
        OutputError: the target cannot be written.
    """
    is_film = source.suffix.lower() in CONTAINERS
    formats = CONTAINERS if is_film else ANIMATIONS
    kind = formats.get(target.suffix.lower())
    if kind is None:
        raise InputError(
            f"{target} is not named like {'a film' if is_film else 'an animation'}",
            remedy=f"name it with one of {', '.join(formats)}",
        )
    if not source.is_file():
        raise DataError(f"there is no file {source}", remedy="check the path")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} would replace its own input", remedy="choose another --out")
    options = (request or Request(size="input")).with_mask_read()
    code = translator.style_code(style)

    def draw(picture: Image.Image) -> Image.Image:
        plain = from_any(picture, translator.processor.reading)
        drawn = translate_one(translator.engine, translator.processor, plain, code, options)
        return with_alpha(drawn.picture, extras_of(picture).alpha if options.keeps_alpha else None)

    return (_film if is_film else _animation)(source, target, kind, draw)


def _animation(source: Path, target: Path, kind: str, draw: Draw) -> int:
    """Translate what Pillow reads: frames with their durations, and pages."""
    with opened(source) as image:
        count = getattr(image, "n_frames", 1)
        if count * image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"{source}: {count} pictures of {image.width} x {image.height} pixels are too many",
                remedy="convert it to a film, whose pictures are read one by one",
            )
        pictures, durations = [], []
        loop = image.info.get("loop")
        with progress_bar() as bar:
            task = bar.add_task("translating", total=count)
            for index in range(count):
                image.seek(index)
                image.load()
                durations.append(int(image.info.get("duration", 0)))
                pictures.append(draw(image.copy()))
                bar.advance(task)
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1 and kind != "TIFF":
        raise DataError(
            f"{source} has pages of {len(sizes)} sizes, but the pictures of an animation have one size",
            remedy="name the output .tif",
        )
    options: dict[str, Any] = {"save_all": True, "append_images": pictures[1:]}
    if kind != "TIFF":
        options |= {"duration": durations, "loop": 0} | ({} if loop is None else {"loop": loop})
    if kind == "GIF":
        options["disposal"] = 2  # transparent frames do not show those before them
    elif kind == "WEBP":
        options["lossless"] = True
    with replacing(target) as temporary:
        pictures[0].save(temporary, kind, **options)
    return count


def _film(source: Path, target: Path, kind: str, draw: Draw) -> int:
    """Translate a film's pictures; sound is copied."""
    av, count = _pyav(), 0
    try:
        with ExitStack() as held, progress_bar() as bar:
            film = held.enter_context(av.open(str(source)))
            if not film.streams.video:
                raise DataError(f"{source} has no pictures", remedy="name a film")
            shown = film.streams.video[0]
            temporary = held.enter_context(replacing(target))
            out = held.enter_context(av.open(str(temporary), "w", format=kind))
            sounds = {stream.index: out.add_stream_from_template(stream) for stream in film.streams.audio}
            task = bar.add_task("translating", total=shown.frames or None)
            stream: Any = None
            waiting = []  # a film is begun when all its streams are known
            for packet in film.demux([shown, *film.streams.audio]):
                if packet.stream.index in sounds:
                    if packet.dts is not None:  # the last packet only says that there are no more
                        packet.stream = sounds[packet.stream.index]
                        waiting.append(packet)
                else:
                    for frame in packet.decode():
                        made = draw(_upright(frame)).convert("RGB")
                        stream = stream or _stream(out, kind, shown, made.size)
                        out.mux(list(stream.encode(_framed(av, made, frame, stream))))
                        count += 1
                        bar.advance(task)
                if stream is not None:
                    out.mux(waiting)
                    waiting = []
            if stream is None:
                raise DataError(f"{source} has no pictures", remedy="name another film")
            out.mux(list(stream.encode(None)))
    except av.error.FFmpegError as error:
        raise DataError(f"{source}: {error}", remedy="convert it with another program") from error
    return count


def _upright(frame: Any) -> Image.Image:
    """A frame as it is shown: phones store how a film is turned."""
    picture: Image.Image = frame.to_image()
    turned = int(getattr(frame, "rotation", 0))
    return picture.rotate(turned, expand=True) if turned % 360 else picture


def _stream(out: Any, kind: str, shown: Any, size: tuple[int, int]) -> Any:
    """A stream of pictures in a new film, with the rate and time base of the source's."""
    codec, options = (
        ("libvpx-vp9", {"crf": "24", "b:v": "0"}) if kind == "webm" else ("libx264", {"crf": "16"})
    )
    stream = out.add_stream(codec, rate=shown.average_rate or Fraction(25), options=options)
    stream.width, stream.height = size
    stream.time_base = stream.codec_context.time_base = shown.time_base
    # Half the resolution of colours, which every player shows, needs even sides.
    stream.pix_fmt = "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"
    return stream


def _framed(av: Any, picture: Image.Image, frame: Any, stream: Any) -> Any:
    """A picture as a frame that is shown when the source's is."""
    made = av.VideoFrame.from_image(picture).reformat(format=stream.pix_fmt)
    made.pts, made.time_base, made.duration = frame.pts, frame.time_base, frame.duration
    return made


def _pyav() -> Any:
    """PyAV.

    Raises:
        ConfigError: it is not installed.
    """
    return import_optional("av", "films need PyAV, which is not installed", "'sivae-translate[video]'")
