"""Trackers as callbacks: TensorBoard, Weights & Biases, MLflow and trackio.

Where they write, and to whom, is up to their own settings, such as ``WANDB_MODE=offline`` or
``MLFLOW_TRACKING_URI``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sivae_translate.training.callbacks import Callback, Outcome, RunInfo
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.extras import import_optional
from sivae_translate.utils.files import write_json

PROJECT = "sivae-translate"
IDENTITIES = "trackers.json"
"""File in the run folder with the trackers' own names for the run, so that a resumed run goes on there."""


class TensorBoard(Callback):
    """Scalars and pictures for TensorBoard, in the folder ``tensorboard`` of the run."""

    def on_start(self, run: RunInfo) -> None:
        """Open the events; those after the step that a run resumes from are hidden."""
        module = _package("torch.utils.tensorboard", "tensorboard")
        self.writer = module.SummaryWriter(str(run.folder / "tensorboard"), purge_step=run.step)

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """A scalar for each metric."""
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def on_picture(self, step: int, path: Path) -> None:
        """The picture, under ``pictures``."""
        with Image.open(path) as picture:
            self.writer.add_image("pictures", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def on_end(self, outcome: Outcome) -> None:
        """Flush the events."""
        self.writer.close()


class WeightsAndBiases(Callback):
    """A run of Weights & Biases; its files are in the folder ``wandb`` of the run."""

    def on_start(self, run: RunInfo) -> None:
        """Begin the run, or go on with it."""
        self.wandb = _package("wandb", "wandb")
        known = _identity(run.folder, "wandb")
        self.run = self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.folder.absolute().name,
            dir=str(run.folder),
            config=run.config.model_dump(mode="json"),
            id=known,
            resume="allow" if known else None,
        )
        _store_identity(run.folder, "wandb", self.run.id)
        self.run.define_metric("*", step_metric="step")  # steps may repeat after a rollback

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the step."""
        self.run.log({"step": step, **metrics})

    def on_picture(self, step: int, path: Path) -> None:
        """The picture, under ``pictures``."""
        self.run.log({"step": step, "pictures": self.wandb.Image(str(path))})

    def on_end(self, outcome: Outcome) -> None:
        """Finish the run; an exit status other than 0 is a failure there."""
        self.run.finish(exit_code=int(outcome == "failed"))


class MLflow(Callback):
    """A run of MLflow, where ``MLFLOW_TRACKING_URI`` says; pictures are its artifacts."""

    def on_start(self, run: RunInfo) -> None:
        """Begin the run, or go on with it."""
        mlflow = _package("mlflow", "mlflow-skinny")
        self.client = mlflow.MlflowClient()
        self.id = _identity(run.folder, "mlflow")
        if self.id is None:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            experiment = self.client.get_experiment_by_name(name)
            identity = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self.id = self.client.create_run(identity, run_name=run.folder.absolute().name).info.run_id
            for key, value in _flat(run.config.model_dump(mode="json")).items():
                self.client.log_param(self.id, key, value)
            _store_identity(run.folder, "mlflow", self.id)

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the step."""
        for name, value in metrics.items():
            self.client.log_metric(self.id, name, value, step=step)

    def on_picture(self, step: int, path: Path) -> None:
        """The picture, in the folder ``pictures`` of the artifacts."""
        self.client.log_artifact(self.id, str(path), "pictures")

    def on_end(self, outcome: Outcome) -> None:
        """Say how it ended."""
        status = {"interrupted": "KILLED", "failed": "FAILED"}.get(outcome, "FINISHED")
        self.client.set_terminated(self.id, status)


class Trackio(Callback):
    """A run of trackio, which keeps its files where ``TRACKIO_DIR`` says."""

    def on_start(self, run: RunInfo) -> None:
        """Begin the run, or go on with it."""
        self.trackio = _package("trackio", "trackio")
        self.trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=run.folder.absolute().name,
            config=run.config.model_dump(mode="json"),
            resume="allow",
        )

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the step."""
        self.trackio.log(dict(metrics), step=step)

    def on_picture(self, step: int, path: Path) -> None:
        """The picture, under ``pictures``."""
        self.trackio.log({"pictures": self.trackio.Image(str(path))}, step=step)

    def on_end(self, outcome: Outcome) -> None:
        """Finish the run."""
        self.trackio.finish()


TRACKERS: dict[str, type[Callback]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""Trackers by their names in ``training.trackers``."""


def make_trackers(names: tuple[str, ...]) -> list[Callback]:
    """The trackers of these names.

    Raises:
        ConfigError: there is no such tracker.
    """
    for name in names:
        if name not in TRACKERS:
            raise ConfigError(f"training.trackers has '{name}'", remedy=f"choose from {', '.join(TRACKERS)}")
    return [TRACKERS[name]() for name in dict.fromkeys(names)]


def _package(module: str, package: str) -> Any:
    """A tracker's package.

    Raises:
        ConfigError: it is not installed.
    """
    message = f"training.trackers needs {package}, which is not installed"
    return import_optional(module, message, package)


def _identities(folder: Path) -> dict[str, str]:
    try:
        stored = json.loads((folder / IDENTITIES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in stored.items()} if isinstance(stored, dict) else {}


def _identity(folder: Path, tracker: str) -> str | None:
    """A tracker's name for the run, if it has one already."""
    return _identities(folder).get(tracker)


def _store_identity(folder: Path, tracker: str, identity: str) -> None:
    write_json(folder / IDENTITIES, {**_identities(folder), tracker: identity})


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by dotted name."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(value)
    return flat
