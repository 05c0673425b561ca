"""The cluster engine: the same files as on one machine, errors in the manifest, nothing lost when a worker
dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sivae_translate.inference.cluster import translate_on_cluster
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.jobs import plan_jobs
from sivae_translate.inference.remote import RemoteJob, left_out, list_existing, list_jobs
from sivae_translate.inference.translator import Translator
from sivae_translate.utils.errors import DataError, InputError

WORKERS = 2


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    # A worker's imports come from this checkout, installed or not.
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield ray
    ray.shutdown()


def pixels_below(folder: Path) -> Any:
    return {
        str(path.relative_to(folder)): np.asarray(Image.open(path)) for path in sorted(folder.rglob("*.png"))
    }


def rows_of(result: Any) -> Any:
    return pq.read_table(result.manifest).to_pylist()


@pytest.mark.full
def test_a_cluster_makes_the_files_that_one_machine_makes(
    ray: Any, tiny_run: Path, folder: Path, tmp_path: Path
) -> None:
    local, cluster = tmp_path / "local", tmp_path / "cluster"
    shutil.copy(folder / "a.png", folder / "caf\udce9.png")  # a byte that is no UTF-8
    translate_files(Translator.from_pretrained(tiny_run), [folder], "dogs", local, batch_size=5)
    result = translate_on_cluster(
        tiny_run, [str(folder)], "dogs", str(cluster), batch_size=5, workers=WORKERS
    )
    expected, found = pixels_below(local), pixels_below(cluster)
    assert list(expected) == list(found) == ["a.png", "b.png", "caf\udce9.png", "deep/c.png", "deep/er/d.png"]
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    assert result.counts == {"written": 5, "existing": 0, "unreadable": 1, "unusual": 0}
    broken = next(row for row in rows_of(result) if row["status"] == "unreadable")
    assert broken["source"].endswith("broken.png")
    assert "not an image" in broken["reason"]
    assert sum(row["source"].endswith(r"caf\xe9.png") for row in rows_of(result)) == 1
    (cluster / "b.png").unlink()
    (cluster / "a.png").write_bytes(b"mine")
    again = translate_on_cluster(tiny_run, [str(folder)], "dogs", str(cluster), workers=WORKERS)
    assert again.counts["written"] == 1  # only what is missing
    assert (cluster / "a.png").read_bytes() == b"mine"
    assert len(rows_of(again)) == 6


@pytest.mark.full
def test_a_cluster_keeps_sizes_and_transparency_as_one_machine_does(
    ray: Any, tiny_run: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    wide = Image.fromarray(pixels[0]).resize((90, 50))
    wide.save(tmp_path / "in" / "wide.png")
    wide.putalpha(Image.linear_gradient("L").resize(wide.size))
    wide.save(tmp_path / "in" / "clear.png")
    Image.fromarray(pixels[1]).save(tmp_path / "in" / "square.png")
    given: Any = {"size": "input", "tile": 48, "mask": Image.linear_gradient("L")}
    for options in ({"size": "input"}, given):
        local, cluster = tmp_path / f"local{len(options)}", tmp_path / f"cluster{len(options)}"
        translate_files(Translator.from_pretrained(tiny_run), [tmp_path / "in"], "dogs", local, **options)
        translate_on_cluster(tiny_run, [str(tmp_path / "in")], "dogs", str(cluster), workers=1, **options)
        expected, found = pixels_below(local), pixels_below(cluster)
        assert {name: array.shape for name, array in found.items()} == {
            "clear.png": (50, 90, 4),
            "square.png": (32, 32, 3),
            "wide.png": (50, 90, 3),
        }
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.slow
def test_a_killed_worker_loses_and_doubles_nothing(
    ray: Any, tiny_run: Path, pixels: np.ndarray, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for index in range(80):
        Image.fromarray(np.roll(pixels[index % 5], index, axis=1)).save(source / f"{index:03}.png")
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and not killed:
            if out.exists() and len(list(out.glob("*.png"))) >= 4:
                listed = subprocess.run(
                    ["pgrep", "-f", "ray::.*_Actor"], capture_output=True, text=True, check=False
                )
                for pid in listed.stdout.split()[:1]:
                    os.kill(int(pid), signal.SIGKILL)
                    killed.append(int(pid))
            time.sleep(0.02)

    thread = threading.Thread(target=kill)
    thread.start()
    result = translate_on_cluster(tiny_run, [str(source)], "dogs", str(out), batch_size=2, workers=WORKERS)
    thread.join()
    assert killed
    rows = rows_of(result)
    assert [Path(row["source"]).name for row in rows] == [f"{index:03}.png" for index in range(80)]
    assert {row["status"] for row in rows} == {"written"}
    assert sorted(
        path.name for path in out.iterdir() if path.suffix == ".png" and not path.name.startswith(".")
    ) == [f"{index:03}.png" for index in range(80)]
    assert all(Image.open(path).size == (32, 32) for path in out.glob("[0-9]*.png"))


def test_jobs_keep_sub_folders_and_know_object_stores(folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    jobs = list_jobs([str(folder)], "memory://out")
    assert [job.target for job in jobs][:2] == ["memory://out/a.png", "memory://out/b.png"]
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/photos/x/one.JPG", b"")
    for name in ("notes.txt", "x/drawing.psd", ".hidden.png", "x/.trash/2.png"):
        memory.pipe_file(f"/photos/{name}", b"")
    (job,) = list_jobs(["memory://photos"], "/out")
    assert job.source == "memory:///photos/x/one.JPG"
    assert job.target == "/out/x/one.png"
    assert list_jobs(["memory://photos"], "/out", ".webp")[0].target == "/out/x/one.webp"
    assert left_out(["memory://photos", "memory://photos/notes.txt"]) == "1 .psd, 1 .txt"


def test_what_cannot_be_done_is_said_before_a_cluster_starts(tiny_run: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no file or folder"):
        list_jobs(["/nowhere"], "/out")
    with pytest.raises(DataError, match="would both be written"):
        list_jobs([str(folder / "a.png"), str(folder)], "/out")
    (folder.parent / "link").symlink_to(folder)
    for out in (str(folder), f"{folder}/deep/..", str(folder.parent / "link")):
        with pytest.raises(InputError, match=r"a\.png would replace an input"):
            list_jobs([str(folder)], out)
    with pytest.raises(InputError, match="batch_size is 0"):
        translate_on_cluster(tiny_run, [str(folder)], "dogs", "/out", batch_size=0)
    with pytest.raises(InputError, match="raise"):
        translate_on_cluster(tiny_run, [str(folder)], "dogs", "/out", check="raise")
    with pytest.raises(InputError, match="workers is 0"):
        translate_on_cluster(tiny_run, [str(folder)], "dogs", "/out", workers=0)


def plans(inputs: list[Path], out: Path) -> list[Any]:
    """What becomes of what by one machine and by a cluster: pairs of paths, or the error."""
    outcomes: list[Any] = []
    for plan in (plan_jobs, list_jobs):
        paths = inputs if plan is plan_jobs else [str(given) for given in inputs]
        try:
            jobs = plan(paths, out if plan is plan_jobs else str(out))
            outcomes.append({(str(job.source), str(job.target)) for job in jobs})
        except (DataError, InputError) as error:
            outcomes.append((type(error), error.what))
    return outcomes


@pytest.mark.parametrize(
    ("inputs", "out"),
    [
        (["in"], "out"),
        (["in"], "in/results"),  # inside the input: what lies there already is no input
        (["in"], "in/deep"),
        (["in/deep"], "in/deep/er"),
        (["in/deep/er"], "in/deep/er"),
        (["in/deep"], "in"),
        (["in", "in/a.png"], "out"),
        (["in/a.png"], "in"),
        (["in"], "."),
        (["link"], "in/results"),
        (["in"], "link"),
        (["in"], "link/deep"),
        (["in"], "photo.png"),
        (["nowhere"], "out"),
        (["text"], "out"),
        (["in/a.png", "caf\udce9.png"], "out"),
        (["od::d"], "out"),
    ],
)
def test_one_machine_and_a_cluster_agree_where_outputs_may_lie(
    inputs: list[str], out: str, folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("fsspec")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("none")
    for name in ("in/results/a.png", "in/x.jpg", "in/x.gif", "caf\udce9.png", "od::d/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "a.png", tmp_path / name)
    one, other = plans([tmp_path / given for given in inputs], tmp_path / out)
    assert one == other


def test_object_stores_have_the_same_rules() -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("/store/day/1.png", "/store/day/deep/2.png", "/store/day/out/1.png"):
        memory.pipe_file(name, b"")
    day = "memory://store/day"
    jobs = list_jobs([day], f"{day}/out")
    assert {job.target for job in jobs} == {f"{day}/out/1.png", f"{day}/out/deep/2.png"}
    with pytest.raises(InputError, match="would replace an input"):
        list_jobs([day], f"{day}/")
    with pytest.raises(InputError, match="be among the images"):
        list_jobs([day], "memory://store/day", ".webp")


def test_empty_files_and_folders_are_no_outputs(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    jobs = [RemoteJob(f"/in/{name}", str(tmp_path / name)) for name in ("a.png", "b.png", "c.png")]
    (tmp_path / "a.png").write_bytes(b"made")
    (tmp_path / "b.png").touch()
    (tmp_path / f".c.png.{'0' * 8}-1-{'0' * 12}.tmp.png").touch()
    assert list_existing(jobs, str(tmp_path)) == {str(tmp_path / "a.png")}
    (tmp_path / "c.png").mkdir()
    with pytest.raises(InputError, match=r"c\.png is a folder"):
        list_existing(jobs, str(tmp_path))
