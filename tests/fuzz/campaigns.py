"""Campaigns: each makes one odd input from a seed and uses it as a user would."""

from __future__ import annotations

import io
import random
import resource
import shutil
import signal
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from sivae_translate.cli import main
from sivae_translate.config import load_config
from sivae_translate.data.archives import list_files
from sivae_translate.data.image import from_any
from sivae_translate.data.sources.idx import parse
from sivae_translate.models.weights import load_model
from sivae_translate.utils.errors import SivaeError
from tests.fuzz.mutate import ODD, damage_folder, mutate, mutate_model, mutate_values

SECONDS = 20.0
"""A try may take on a busy machine; hangs take for ever."""
MEGABYTES = 2000
"""By which the peak of the process may rise in one campaign."""
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")


class Hang(BaseException):
    """The alarm; no `except Exception` keeps it."""


@dataclass
class Count:
    """What came of a campaign's tries."""

    tries: int = 0
    errors: int = 0
    successes: int = 0
    defects: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """What a try works with: an empty folder, a finished run and an image."""

    folder: Path
    run: Path
    image: Path


Try = Callable[[random.Random, Place], None]


def command(*arguments: str) -> None:
    """The command line, in this process.

    Raises:
        InputError: it ended with status 1 or 2 and a message.
        AssertionError: with another status, or silently.
    """
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(list(arguments))
    except SystemExit as end:
        said = out.getvalue() + err.getvalue()
        assert end.code in {0, 1, 2}, f"status {end.code}: {said}"
        assert "Traceback" not in said, said
        if end.code:
            assert said.strip(), f"status {end.code} without a word"
            raise SivaeError(said[:200], remedy="") from None


def try_model(rng: random.Random, place: Place) -> None:
    path = place.folder / "model.safetensors"
    path.write_bytes(mutate_model((place.run / "model.safetensors").read_bytes(), rng))
    load_model(path)


def try_run(rng: random.Random, place: Place) -> None:
    run = place.folder / "run"
    shutil.copytree(place.run, run)
    damage_folder(run, rng)
    if rng.random() < 0.4:
        command("info", str(run))
        return
    if rng.random() < 0.4:
        command("train", "--out", str(run), "--resume", "--training.device", "cpu")
        return
    out = place.folder / "out"
    command("translate", str(run), str(place.image), "--to", "dogs", "--out", str(out), "--device", "cpu")
    with Image.open(out / place.image.name) as image:
        image.load()  # whole


def try_image(rng: random.Random, place: Place) -> None:
    kind, mode = rng.choice(FORMATS), rng.choice(("RGB", "L", "P", "RGBA"))
    picture = Image.fromarray(np.frombuffer(rng.randbytes(48 * 32 * 3), np.uint8).reshape(32, 48, 3))
    buffer = io.BytesIO()
    picture.convert("RGB" if kind == "JPEG" else mode).save(buffer, kind)
    path = place.folder / f"image.{kind.lower()}"
    path.write_bytes(mutate(buffer.getvalue(), rng))
    from_any(path)


def try_archive(rng: random.Random, place: Place) -> None:
    kind = rng.choice(("zip", "npz", "idx"))
    buffer = io.BytesIO()
    if kind == "idx":
        header = bytes([0, 0, rng.choice((8, 8, 8, 13)), rng.choice((0, 1, 3, 255))])
        raw = header + np.array([4, 8, 8], ">i4").tobytes() + bytes(256)
        parse(mutate(raw, rng) if rng.random() < 0.7 else raw, 3, "images-idx3-ubyte")
        return
    if kind == "npz":
        np.savez_compressed(buffer, a=np.zeros((4, 8, 8), np.uint8))
    else:
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"a/{'../' * rng.randrange(3)}x.png", rng.randbytes(300))
            archive.writestr("b/zeros.bin", bytes(100_000))
    (place.folder / "data.zip").write_bytes(mutate(buffer.getvalue(), rng))
    files = list_files(place.folder)
    for name in files.readers:
        files.read(name)


def try_settings(rng: random.Random, place: Place) -> None:
    values = yaml.safe_load((place.run / "config.yaml").read_text(encoding="utf-8"))
    raw = yaml.safe_dump(mutate_values(values, rng), allow_unicode=True).encode()
    path = place.folder / "settings.yaml"
    path.write_bytes(mutate(raw, rng) if rng.random() < 0.4 else raw)
    load_config(path)


def try_command(rng: random.Random, place: Place) -> None:
    odd = [str(value)[:5000].replace("\x00", "\x01") for value in ODD]
    names = ["[/x]", "$x^", "a" * 300, "\udce4", "-", "--", "..", ".", str(place.image), str(place.run)]
    options = [
        "--to",
        "--out",
        "--seed",
        "--like",
        "--size",
        "--strict",
        "--overwrite",
        "--device",
        "--dtype",
    ]
    arguments = [rng.choice(["translate", "info", "sample", "reconstruct", "interpolate", "transalte", ""])]
    arguments += [rng.choice([str(place.run), *names])]
    arguments += rng.choices([*odd, *names, *options, "dogs"], k=rng.randrange(5))
    if rng.random() < 0.6:
        arguments += ["--out", str(place.folder / "out")]
    command(*arguments)


def try_names(rng: random.Random, place: Place) -> None:
    letters = "abc [](){}$^_%#&;'\"\\~!*?<>|ä字\u202e\n\t-.=@"
    name = "".join(rng.choices(letters, k=rng.choice((1, 5, 20)))).strip(".") or "x"
    source = place.folder / f"{name}.png"
    shutil.copy(place.image, source)
    out = place.folder / "out"
    command(
        "translate", str(place.run), str(place.folder), "--to", "dogs", "--out", str(out), "--device", "cpu"
    )
    written = [path.name for path in out.iterdir()]
    assert written == [source.name], f"{source.name!r} became {written}"


CAMPAIGNS: dict[str, Try] = {
    "model files": try_model,
    "run folders": try_run,
    "images": try_image,
    "archives": try_archive,
    "settings": try_settings,
    "command lines": try_command,
    "file names": try_names,
}


def run_campaign(name: str, seconds: float, folder: Path, run: Path, image: Path, first: int = 0) -> Count:
    """Tries from seed ``first`` on for so many seconds, at least five."""
    count, end = Count(), time.monotonic() + seconds
    before = _peak()
    while count.tries < 5 or time.monotonic() < end:
        seed = first + count.tries
        work = folder / f"{name.replace(' ', '-')}-{seed}"
        work.mkdir()
        count.tries += 1
        try:
            with _alarm(SECONDS):
                CAMPAIGNS[name](random.Random(seed), Place(work, run, image))
            count.successes += 1
        except SivaeError:
            count.errors += 1
        except (Exception, Hang):
            count.defects.append(f"{name}, seed {seed}:\n{traceback.format_exc(limit=-4)[-1500:]}")
        left = [path for path in work.rglob("*") if path.name.endswith((".tmp", ".part"))]
        if left:
            count.defects.append(f"{name}, seed {seed}: left {left[0].name}")
        shutil.rmtree(work, ignore_errors=True)
    if _peak() - before > MEGABYTES:
        count.defects.append(f"{name}, seeds {first} to {seed}: {_peak() - before:.0f} MB")
    return count


def table(counts: dict[str, Count]) -> str:
    """A row for each campaign."""
    lines = [f"{'campaign':<15}{'tries':>7}{'clean errors':>14}{'successes':>11}{'defects':>9}"]
    lines += [
        f"{name:<15}{one.tries:>7}{one.errors:>14}{one.successes:>11}{len(one.defects):>9}"
        for name, one in counts.items()
    ]
    return "\n".join(lines)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang(f"after {seconds} s")

    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def _peak() -> float:
    """Megabytes that this process had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
