"""Full and read-only disks, killed loader processes, damaged run folders: one clear error, nothing lost."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.cli.app import main
from sivae_translate.config import from_dict, to_yaml
from sivae_translate.data.domains import DomainData
from sivae_translate.training import checkpoints, lock
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.failures import explained
from sivae_translate.training.launch import train
from sivae_translate.training.signals import Interrupted
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import DataError, OutputError, TrainingError
from tests.training.conftest import MODEL

SETTINGS: dict[str, Any] = {
    "data": {"image_size": 32, "channels": 1},
    "model": MODEL,
    "training": {
        "steps": 4,
        "batch": 8,
        "checkpoint_every": 2,
        "log_every": 1,
        "picture_every": 0,
        "validation": 0.1,
    },
}


def settings(**data: Any) -> Any:
    return from_dict({**SETTINGS, "data": {**SETTINGS["data"], **data}}, "the test")


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can become larger: its writer sees an error after so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def trained() -> tuple[torch.nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    module = torch.nn.Linear(8, 4)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 8)).sum().backward()
    optimizer.step()
    return module, optimizer


def test_a_disk_full_after_any_number_of_bytes_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    module, optimizer = trained()
    folder = tmp_path / "step-00000004"
    checkpoints.save(folder, {"net": module}, {"adam": optimizer}, Progress(step=4, seconds=1))
    largest = max(path.stat().st_size for path in folder.iterdir())
    for size in range(0, largest, 37):
        with full_disk(size), pytest.raises(OutputError, match="File too large"):
            checkpoints.save(folder, {"net": module}, {"adam": optimizer}, Progress(step=4, seconds=2))
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000004"]
        assert checkpoints.load(folder, {"net": module}, {"adam": optimizer}).seconds == 1


@pytest.mark.parametrize("size", [2_000, 9_000])
def test_a_training_on_a_full_disk_ends_with_an_error(tmp_path: Path, data: Any, size: int) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    with full_disk(size), pytest.raises(OutputError, match="File too large") as caught:
        trainer.run()
    assert "free some space" in str(caught.value)
    train(settings(), tmp_path, data=data, resume=True)


def test_a_medium_that_becomes_read_only_ends_a_training_with_an_error(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    step = trainer.step

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path))

    def then_read_only(batch: Any) -> Any:
        if trainer.state.progress.step == 2:
            opened = Path.open
            monkeypatch.setattr(
                Path,
                "open",
                lambda path, mode="r", *a, **k: refuse() if mode != "r" else opened(path, mode, *a, **k),
            )
            for name in ("mkdir", "unlink", "replace"):
                monkeypatch.setattr(Path, name, refuse)
        return step(batch)

    monkeypatch.setattr(trainer, "step", then_read_only)
    with pytest.raises(OutputError, match="Read-only file system"):
        trainer.run()
    monkeypatch.undo()
    newest = checkpoints.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.name == "step-00000002"


def test_a_killed_loader_process_ends_a_training_with_an_error(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(settings(workers=1), tmp_path, data=data)
    step = trainer.step

    def kill(batch: Any) -> Any:
        if trainer.state.progress.step == 2:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()
        return step(batch)

    monkeypatch.setattr(trainer, "step", kill)
    trainer.state.budget = type(trainer.state.budget)(
        trainer.config.training.model_copy(update={"steps": 50}), 40
    )
    with pytest.raises(TrainingError, match=r"a loader process ended(.|\n)*--resume --out"):
        trainer.run()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_stops_a_training_with_a_checkpoint_and_one_message(
    tmp_path: Path,
    data: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    signum: signal.Signals,
) -> None:
    trainer = Trainer(settings(workers=1), tmp_path, data=data)
    trainer.state.budget = type(trainer.state.budget)(
        trainer.config.training.model_copy(update={"steps": 50}), 40
    )
    step = trainer.step

    def interrupt(batch: Any) -> Any:
        if trainer.state.progress.step == 2:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signum)
            time.sleep(0.3)
            assert multiprocessing.active_children()
            os.kill(os.getpid(), signum)
        return step(batch)

    monkeypatch.setattr(trainer, "step", interrupt)
    with pytest.raises(Interrupted):
        trainer.run()
    newest = checkpoints.latest(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.name == "step-00000003"
    assert capfd.readouterr().err.count("stopping after this step") == 1


class Unreadable:
    """A domain whose files have gone."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> np.ndarray:
        raise DataError(f"{index}.png is gone", remedy="bring it back")


def test_an_error_in_a_loader_process_comes_as_it_is(tmp_path: Path) -> None:
    gone: Any = DomainData(domains=("left", "right"), train=(Unreadable(), Unreadable()))
    trainer = Trainer(settings(workers=1), tmp_path, data=gone)
    monkey: Any = trainer.state.validation
    monkey.fit_variance = lambda seed: None
    monkey.score = lambda: None
    with pytest.raises(DataError, match="100 images in a row"):
        trainer.run()


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("what", remedy="remedy")))
    assert type(error) is DataError
    assert (error.what, error.remedy, str(error)) == ("what", "remedy", "what\n  remedy: remedy")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "CUDA out of memory"),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "for a step"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
    ],
)
def test_what_the_system_refuses_is_explained(tmp_path: Path, error: BaseException, words: str) -> None:
    with pytest.raises(TrainingError, match=words), explained(tmp_path):
        raise error


# ---- damaged run folders


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 4 steps on image files."""
    root = tmp_path_factory.mktemp("damage")
    rng = np.random.default_rng(0)
    for domain, index in itertools.product(("left", "right"), range(20)):
        (root / "images" / domain).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8))
        image.save(root / "images" / domain / f"{index}.png")
    config = settings(root=root / "images", cache_megabytes=0)
    (root / "config.yaml").write_text(to_yaml(config))
    return train(config, root / "run")


def damage(path: Path, way: str, seed: int = 0) -> None:
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    path.unlink()
    if way == "a folder":
        path.mkdir()
    elif way == "empty":
        path.touch()
    elif way == "half":
        path.write_bytes(content[: len(content) // 2])
    elif way == "other bytes":
        changed = bytearray(content)
        for place in rng.integers(0, min(len(content), 400), 6):
            changed[place] = int(rng.integers(256))
        path.write_bytes(changed)
    elif way == "deep":
        path.write_text("[" * 100_000)
    elif way == "other JSON":
        path.write_text('{"step": "4", "guard": [], "seconds": NaN, "metadata": null}')


WAYS = ("gone", "a folder", "empty", "half", "other bytes", "deep", "other JSON")
FILES = {
    "config.yaml": WAYS,
    "metrics.jsonl": WAYS[1:5:2],
    "split.json": WAYS[:6],
    "model.safetensors": WAYS[1:2],
    ".lock": WAYS[1:6:2],
    "checkpoints/step-00000004/weights.safetensors": WAYS,
    "checkpoints/step-00000004/optimizer.safetensors": WAYS,
    "checkpoints/step-00000004/progress.json": WAYS,
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_run_folder_resumes_or_says_what_to_do(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    for way in FILES[name]:
        run = tmp_path / way
        shutil.copytree(whole, run)
        (run / ".lock").write_text('{"host": "x", "pid": 1, "started": 5}') if name == ".lock" else None
        damage(run / name, way)
        with pytest.raises(SystemExit) as stop:
            main(["train", str(whole.parent / "config.yaml"), "--out", str(run), "--resume"])
        errors = capsys.readouterr().err
        assert stop.value.code in (0, 2), (way, errors)
        assert "Traceback" not in errors
        if stop.value.code:
            assert "error: " in errors, way
            assert "remedy: " in errors, way
