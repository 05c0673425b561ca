"""Films, animations and pages: all pictures in one style, at the same times."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sivae_translate.cli.app import main
from sivae_translate.inference import film
from sivae_translate.inference.film import translate_film
from sivae_translate.inference.large import Drawn
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.errors import ConfigError, DataError, InputError


def drawn_frames(count: int, mode: str = "RGB", alpha: int = 255) -> list[Image.Image]:
    """A square that moves over a coloured ground."""
    frames = []
    for index in range(count):
        frame = Image.new(mode, (64, 48), (30, 90, 160) if mode == "RGB" else (0, 0, 0, 0))
        ImageDraw.Draw(frame).rectangle((2 * index, 8, 2 * index + 15, 23), (220, 60, 40, alpha)[: len(mode)])
        frames.append(frame)
    return frames


@pytest.fixture
def styles(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Makes models return their inputs, and collects style codes."""
    seen: list[Any] = []

    def unchanged(engine: Any, processor: Any, picture: Image.Image, code: Any, request: Any) -> Drawn:
        seen.append(code)
        return Drawn(picture, "")

    monkeypatch.setattr(film, "translate_one", unchanged)
    return seen


def write_film(path: Path, frames: list[Image.Image]) -> None:
    """12 frames a second, the last ones twice as long, with a tone of 440 Hz."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        pictures = out.add_stream("libx264", rate=12, options={"crf": "5"})
        pictures.width, pictures.height, pictures.pix_fmt = *frames[0].size, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 24)
        sound = out.add_stream("aac", rate=16_000)
        sound.codec_context.layout = "mono"
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = 2 * index + 2 * max(index - 20, 0), Fraction(1, 24)
            out.mux(pictures.encode(frame))
        out.mux(pictures.encode(None))
        tone = np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000).astype(np.float32)
        for start in range(0, len(tone) - 1023, 1024):
            samples = av.AudioFrame.from_ndarray(
                tone[None, start : start + 1024], format="fltp", layout="mono"
            )
            samples.sample_rate, samples.pts, samples.time_base = 16_000, start, Fraction(1, 16_000)
            out.mux(sound.encode(samples))
        out.mux(sound.encode(None))


def read_film(path: Path) -> tuple[list[np.ndarray], list[float], list[bytes], Any]:
    """Frames, their times, packets of sound, and the rate."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as given:
        rate = given.streams.video[0].average_rate
        frames = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in given.decode(video=0)]
    with av.open(str(path)) as given:
        sounds = [bytes(packet) for packet in given.demux(audio=0) if packet.size]
    return [frame for frame, _ in frames], [time for _, time in frames], sounds, rate


def test_a_film_keeps_its_pictures_times_and_sound(
    translator: Translator, styles: list[Any], tmp_path: Path
) -> None:
    write_film(tmp_path / "clip.mp4", drawn_frames(24))
    count = translate_film(translator, tmp_path / "clip.mp4", ("dogs", 3), tmp_path / "night.mp4")
    assert count == 24
    before, after = read_film(tmp_path / "clip.mp4"), read_film(tmp_path / "night.mp4")
    assert len(after[0]) == 24
    assert after[1] == pytest.approx(before[1], abs=1e-3)
    assert after[2] == before[2] != []
    assert float(after[3]) == pytest.approx(float(before[3]), rel=0.01)
    for old, new in zip(before[0], after[0], strict=True):
        assert np.abs(old.astype(int) - new).mean() < 3
    assert all(code is styles[0] for code in styles)


def exit_code(arguments: list[str]) -> Any:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


def test_the_command_translates_a_film(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_film(tmp_path / "clip.mp4", drawn_frames(3))
    call = ["translate", str(tiny_run), str(tmp_path / "clip.mp4"), "--to", "dogs", "--device", "cpu"]
    assert exit_code([*call, "--out", str(tmp_path / "a.mp4")]) == 0
    assert "3 pictures written" in capsys.readouterr().err
    assert read_film(tmp_path / "a.mp4")[0][0].shape == (48, 64, 3)
    assert exit_code([*call, "--out", str(tmp_path / "a.mp4")]) == 0
    assert "already existed" in capsys.readouterr().err
    assert exit_code([*call, "--out", str(tmp_path / "folder")]) != 0
    assert "is not named like a film" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name not in {"clip.mp4", "a.mp4"}]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_an_animation_keeps_its_pictures_times_and_transparency(
    translator: Translator, styles: list[Any], tmp_path: Path, suffix: str
) -> None:
    # A GIF file's pixels are opaque or not.
    frames, durations = drawn_frames(4, "RGBA", 255 if suffix == "gif" else 200), [40, 80, 120, 160]
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {"disposal": 2}
    source = tmp_path / f"moving.{suffix}"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=durations, loop=2, **options)
    assert translate_film(translator, source, "dogs", tmp_path / f"out.{suffix}") == 4
    with Image.open(tmp_path / f"out.{suffix}") as made:
        assert (made.n_frames, made.info["loop"]) == (4, 2)  # type: ignore[attr-defined]
        for index, frame in enumerate(frames):
            made.seek(index)
            made.load()
            assert made.info["duration"] == durations[index]
            pixels = np.asarray(made.convert("RGBA")).astype(int)
            assert np.array_equal(pixels[..., 3], np.asarray(frame)[..., 3])
            opaque = pixels[..., 3] > 0
            assert np.abs(pixels[opaque] - np.asarray(frame)[opaque]).max() <= 4


def test_a_file_of_several_pages_keeps_them(
    translator: Translator, styles: list[Any], tmp_path: Path
) -> None:
    pages = [frame.resize((20 + 4 * index, 16)) for index, frame in enumerate(drawn_frames(3))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert translate_film(translator, tmp_path / "pages.tif", "dogs", tmp_path / "out.tiff") == 3
    with Image.open(tmp_path / "out.tiff") as made:
        for index, page in enumerate(pages):
            made.seek(index)
            assert np.array_equal(np.asarray(made), np.asarray(page))


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_pages_of_several_sizes_become_no_animation(
    translator: Translator, styles: list[Any], tmp_path: Path, suffix: str
) -> None:
    pages = [frame.resize((20 + 4 * index, 16)) for index, frame in enumerate(drawn_frames(3))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="pages of 3 sizes"):
        translate_film(translator, tmp_path / "pages.tif", "dogs", tmp_path / f"out.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["pages.tif"]


@pytest.mark.parametrize("option", ["--format=jpg", "--quality=10", "--bits=16", "--workers=3"])
def test_options_without_an_effect_on_films_are_refused(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    drawn_frames(1)[0].save(tmp_path / "a.gif")
    call = ["translate", str(tiny_run), str(tmp_path / "a.gif"), "--to", "dogs", option]
    assert exit_code([*call, "--out", str(tmp_path / "b.gif")]) == 2
    assert option.partition("=")[0] in capsys.readouterr().err
    assert not (tmp_path / "b.gif").exists()


def test_what_cannot_become_a_film_is_explained(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(DataError, match=r"broken\.mp4"):
        translate_film(translator, tmp_path / "broken.mp4", "dogs", tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"no file .*none\.gif"):
        translate_film(translator, tmp_path / "none.gif", "dogs", tmp_path / "a.gif")
    with pytest.raises(InputError, match="like an animation"):
        translate_film(translator, tmp_path / "a.gif", "dogs", tmp_path / "a.mp4")
    drawn_frames(1)[0].save(tmp_path / "a.gif")
    with pytest.raises(InputError, match="replace its own input"):
        translate_film(translator, tmp_path / "a.gif", "dogs", tmp_path / "a.gif")
    monkeypatch.setattr(film, "MAX_PIXELS", 10)
    with pytest.raises(DataError, match="too many"):
        translate_film(translator, tmp_path / "a.gif", "dogs", tmp_path / "b.gif")

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match="PyAV"):
        translate_film(translator, tmp_path / "broken.mp4", "dogs", tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()
