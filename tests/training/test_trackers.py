"""Trackers get the metrics and pictures of a run, on this machine alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from sivae_translate import train
from sivae_translate.config import from_dict, load_config
from sivae_translate.training.trackers import make_trackers
from sivae_translate.utils.errors import ConfigError
from tests.training.test_trainer import settings


def logged(run: Path) -> list[tuple[int, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], pytest.approx(line["reconstruction"])) for line in lines]


def test_tensorboard_gets_metrics_and_pictures(tmp_path: Path, data: Any) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(settings(steps=4, trackers=["tensorboard"]), tmp_path, data=data)
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("reconstruction")] == logged(run)
    (picture,) = events.Images("pictures")
    assert picture.step == 4
    assert picture.encoded_image_string.startswith(b"\x89PNG")


def test_mlflow_goes_on_with_a_resumed_run(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    for steps in (2, 4):
        run = train(
            settings(steps=steps, trackers=["mlflow"]), tmp_path / "run", data=data, resume=steps == 4
        )
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("sivae-translate")
    (found,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(found.info.run_id, "reconstruction")
    assert [(one.step, one.value) for one in history] == logged(run)
    assert found.data.params["training.batch"] == "8"
    assert found.info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(found.info.run_id, "pictures")] == ["pictures/grid.png"]


@pytest.mark.full
def test_wandb_writes_a_run_without_a_network(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    run = train(settings(steps=4, trackers=["wandb"]), tmp_path, data=data)
    (folder,) = (run / "wandb").glob("offline-run-*")
    written = next(folder.glob("run-*.wandb"))
    deadline = time.monotonic() + 60  # another process writes it
    while written.stat().st_size <= 1000:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(folder.glob("files/media/images/pictures_*.png"))
    assert json.loads((run / "trackers.json").read_text())["wandb"] in folder.name


@pytest.mark.full
def test_trackio_keeps_a_run_in_its_folder(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read when it is imported
    pytest.importorskip("trackio", reason="trackio is not installed; it needs an older Pillow")
    train(settings(steps=4, trackers=["trackio"]), tmp_path / "run", data=data)
    assert [path for path in (tmp_path / "trackio").rglob("*") if path.is_file()]


def test_the_earlier_setting_for_tensorboard_is_understood() -> None:
    for value, expected in ((True, ("tensorboard",)), (False, ())):
        assert from_dict({"training": {"tensorboard": value}}, "a file").training.trackers == expected
    config = load_config(None, {"training.trackers": "wandb, mlflow"})
    assert config.training.trackers == ("wandb", "mlflow")


def test_an_unknown_tracker_and_a_missing_package_are_errors(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="'notebook'"):
        make_trackers(("notebook",))
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ConfigError, match="needs wandb"):
        train(settings(trackers=["wandb"]), tmp_path, data=data)
