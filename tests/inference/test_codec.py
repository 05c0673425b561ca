"""Decoding and encoding in other processes: the same files and errors, whatever becomes of a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.data.colour import IgnoredProfileWarning
from sivae_translate.data.limits import Allowance
from sivae_translate.data.processor import ImageProcessor, Prepared
from sivae_translate.data.reading import MEMORY, Reading
from sivae_translate.inference import codec_pool
from sivae_translate.inference.codec import Codec
from sivae_translate.inference.codec_pool import CodecPool, codec_for
from sivae_translate.inference.codec_worker import FREE
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.encoding import PNG, Encoding
from sivae_translate.utils.errors import DataError, InputError, OutputError
from tests.conftest import with_fit

PROCESSOR = ImageProcessor(16)
ROOT = Path(__file__).parents[2]
TRAP = """
import os, time
from sivae_translate.inference import codec_worker
from sivae_translate.data import reading
def trapped(path, how):
    if "killer" in path:
        os.kill(os.getpid(), 9)
    while "slow" in path:
        pass
    return reading.open_image(path, how)
codec_worker.open_image = trapped
codec_worker.GRACE = 0.0
"""


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def sources(tmp_path: Path, pixels: np.ndarray) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path, array in zip(paths, pixels, strict=True):
        Image.fromarray(array).save(path)
    return paths


@contextmanager
def pool_of(count: int, start: str = "", processor: ImageProcessor = PROCESSOR) -> Iterator[CodecPool]:
    with pytest.MonkeyPatch.context() as patch:
        if start:
            begin, _, end = codec_pool._START.partition("; from")
            patch.setattr(codec_pool, "_START", f"{begin}\n{start}\nfrom{end}")
        with closing(CodecPool(processor, PNG, count)) as pool:
            yield pool


def test_a_pool_makes_the_files_and_the_errors_that_threads_make(
    translator: Translator, folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 20), "red").save(folder / "wide \u20ac.jpg")
    (folder / os.fsdecode(b"\xff.png")).write_bytes((folder / "a.png").read_bytes())
    for fit, encoding in (("contain", Encoding("webp", 70)), ("cover", PNG)):
        results = {}
        for workers in (0, 2):
            results[workers] = translate_files(
                with_fit(translator, fit),  # type: ignore[arg-type]
                [folder],
                "dogs",
                tmp_path / f"{fit}{workers}",
                size="input",
                encoding=encoding,
                workers=workers,
                batch_size=3,
            )
        assert files(tmp_path / f"{fit}0") == files(tmp_path / f"{fit}2") != {}
        assert results[0].unreadable == results[2].unreadable != []
        assert [path.name for path in results[0].written] == [path.name for path in results[2].written]


def test_the_processes_start_without_torch() -> None:
    probe = "import sys, sivae_translate.inference.codec_worker; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_a_process_that_dies_costs_the_file_it_died_on(sources: list[Path], tmp_path: Path) -> None:
    killer = tmp_path / "killer.png"
    killer.write_bytes(b"")
    with pool_of(1, TRAP) as pool:
        first, second, third = pool.read([sources[0], killer, sources[1]])
        assert isinstance(first, Prepared)
        assert isinstance(third, Prepared)
        assert isinstance(second, DataError)
        assert "killer.png: the process that decodes it was ended by signal 9" in second.what


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no alarm signals")
def test_a_decoder_that_never_looks_at_the_clock_is_ended(sources: list[Path], tmp_path: Path) -> None:
    hurried = replace(PROCESSOR, reading=Reading(seconds=0.5))
    with pool_of(1, TRAP, hurried) as pool:
        result, other = pool.read([tmp_path / "slow.avif", sources[0]])
    assert isinstance(result, DataError)
    assert "slow.avif: decoding it takes longer than data.seconds_per_file" in result.what
    assert isinstance(other, Prepared)


def test_where_no_process_starts_this_one_does_the_work(sources: list[Path], tmp_path: Path) -> None:
    with pool_of(2, "sys.exit(3)") as pool:
        expected = Codec(PROCESSOR, PNG).read(sources)
        found = pool.read(sources)
        for one, other in zip(expected, found, strict=True):
            assert isinstance(one, Prepared)
            assert isinstance(other, Prepared)
            assert np.array_equal(one.pixels, other.pixels)
        pool.write(np.zeros((1, 16, 16, 3), np.uint8), [None], [tmp_path / "new.png"])
    assert (tmp_path / "new.png").exists()


def test_all_processes_share_the_memory_for_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most: list[int] = []

    class Recorded(Allowance):
        @contextmanager
        def share(self, amount: int) -> Iterator[None]:
            with super().share(amount):
                most.append(self.taken)
                yield

    monkeypatch.setattr(codec_pool, "Allowance", Recorded)
    Image.new("RGB", (700, 700)).save(tmp_path / "large.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    with pool_of(2) as pool:
        assert pool._allowance.total == MEMORY.total - 2 * FREE
        for _ in range(2):
            assert all(
                isinstance(result, Prepared) for result in pool.read(sorted(tmp_path.glob("*.png")) * 2)
            )
        assert pool._allowance.taken == 0
    assert most == 4 * [700 * 700 * 12]  # the small ones need not ask


def test_warnings_come_through(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", icc_profile=b"no profile")
    with pool_of(1) as pool, pytest.warns(IgnoredProfileWarning, match=r"a\.png"):
        pool.read([tmp_path / "a.png"])


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pool_of(1) as pool, pytest.raises(OutputError, match="cannot write"):
        pool.write(np.zeros((1, 16, 16, 3), np.uint8), [None], [tmp_path / "file" / "a.png"])


def test_processes_are_for_many_images_and_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(images: int, workers: int | None = None) -> int:
        codec = codec_for(PROCESSOR, PNG, images, workers)
        with closing(codec):
            return codec.threads if isinstance(codec, CodecPool) else 0

    monkeypatch.setattr(codec_pool, "core_count", lambda: 3)
    assert (count(10), count(10**6), count(10**6, 0), count(1, 1)) == (0, 3, 0, 1)
    monkeypatch.setattr(codec_pool, "core_count", lambda: 2)
    assert count(10**6) == 0
    for wrong in (-1, 65):
        with pytest.raises(InputError, match=f"workers is {wrong}"):
            count(1, wrong)


def processes_below(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux lists them")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_call_leaves_no_process_and_no_half_file(
    tiny_run: Path, pixels: np.ndarray, tmp_path: Path, sent: signal.Signals
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    Image.fromarray(pixels[0]).save(source / "0.png")
    for index in range(1, 3000):
        os.link(source / "0.png", source / f"{index}.png")
    command: list[Any] = [
        sys.executable,
        "-m",
        "sivae_translate",
        "translate",
        tiny_run,
        source,
        "--to",
        "dogs",
    ]
    options: list[Any] = ["--out", out, "--workers", "2", "--batch-size", "8"]
    with subprocess.Popen([*command, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(list(out.glob("*.png"))) > 20)
        workers = processes_below(process.pid)
        assert len(workers) == 2
        process.send_signal(sent)
        message = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if sent == signal.SIGINT else -sent)
    assert "Traceback" not in message
    assert message.count("interrupted; all files written so far are whole") == (sent == signal.SIGINT)
    wait_for(lambda: not any(map(is_running, workers)))
    assert [path.name for path in out.iterdir() if path.suffix != ".png" or path.name.startswith(".")] == []
    assert len(list(out.glob("*.png"))) < 3000
    for path in out.glob("*.png"):
        Image.open(path).load()
