"""The state of a run: the model, everything that trains and measures it, and the files that store it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import nn

from sivae_translate.config import Config
from sivae_translate.data.batches import Batch
from sivae_translate.data.domains import DomainData
from sivae_translate.models.build import make_model
from sivae_translate.models.weights import BEST, save_model
from sivae_translate.objectives import make_objective
from sivae_translate.training import checkpoints, report
from sivae_translate.training.averaging import average_of, is_finite, settle_average, update_average
from sivae_translate.training.best import MEASURE, best_score, in_last_phase
from sivae_translate.training.budget import Budget
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.distributed import World
from sivae_translate.training.latents import make_batches, open_autoencoder, prepare
from sivae_translate.training.quality import Score
from sivae_translate.training.resuming import ChosenSplit
from sivae_translate.training.starting import fine_tune
from sivae_translate.training.step import make_stepper
from sivae_translate.training.unreadable import Unreadable
from sivae_translate.training.validation import Validation
from sivae_translate.utils.devices import autocast, pick_dtype
from sivae_translate.utils.errors import TrainingError

SETTLING_BATCHES = 8
"""Number of batches on which the statistics of BatchNorm layers are measured."""


class RunState:
    """Everything that a training changes, and how it is saved. Nothing is written before a method is called.

    Args:
        config: settings.
        out: the run folder.
        data: the data.
        split: the training and validation images.
        world: the processes that share the run.
        unreadable: records images that cannot be read.
        checkpoint: the checkpoint to continue from; None for a new run.

    Attributes:
        progress: how far the run is.
        model: the model in training.
        ema: its averaged weights, which are what ships.
        objective: what both halves minimise.
        stepper: makes the training steps.
        batches: the batch of every step, by its number.
        budget: the length of the training.
        validation: measures the averaged model.
        score: that of the last checkpoint, if it was measured.
        masked: number of channels of the content code that were masked at the end.

    Raises:
        ConfigError: the settings are invalid.
        CheckpointError: the checkpoint, or a model to start from, cannot be read or does not fit.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        data: DomainData,
        split: ChosenSplit,
        world: World,
        unreadable: Unreadable,
        checkpoint: Path | None,
    ) -> None:
        self.config, self.out, self.data, self.world = config, out, data, world
        self.device = world.device(config.training.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        self.progress = Progress()
        self.score: Score | None = None
        self.masked = 0
        self._build_model(resumed=checkpoint is not None)
        training = config.training
        self.stepper = make_stepper(self.objective, training, world.size, self.dtype)
        self.batches = make_batches(self.model, data, config, split.splits, world, self.autocast)
        self.budget = Budget(training, sum(len(one.train) for one in split.splits))
        self.validation = Validation(data, split.splits, self.ema, self.autocast, unreadable)
        if checkpoint is not None:
            self.restore(checkpoint)

    def _build_model(self, *, resumed: bool) -> None:
        """Build the model (from trained weights to fine-tune), its average and the objective."""
        training = self.config.training
        torch.manual_seed(training.seed)
        layout = torch.channels_last if training.channels_last else torch.contiguous_format
        space = open_autoencoder(self.config, self.out, resumed=resumed)
        model = make_model(self.config.model, self.config.data, len(self.data.domains), space)
        self.model = model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]
        if training.fine_tune and not resumed:
            source = training.fine_tune
            self.progress.started_from = fine_tune(self.model, self.config, self.data, source)
        self.ema = average_of(self.model)
        self.objective = make_objective(self.config.objective, self.model)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that a checkpoint contains."""
        return {"model": self.model, "ema": self.ema, **self.objective.companions()}

    @property
    def share(self) -> float:
        """Share of the budget that is spent."""
        return self.budget.share(self.progress)

    @property
    def is_finite(self) -> bool:
        """Whether all weights of the model are finite."""
        return is_finite(self.model)

    def autocast(self) -> AbstractContextManager[object]:
        """A context that sets the precision of passes."""
        return autocast(self.device, self.dtype)

    def prepare(self, received: Sequence[int]) -> None:
        """Prepare the autoencoder, if there is one; this time is part of the budget.

        Args:
            received: signals; the first one stops the autoencoder's training.

        Raises:
            TrainingError: the budget is used up.
        """
        began = time.monotonic()
        prepare(self.model, self.batches, self.out, self.config, self.world, received)
        self.progress.seconds += time.monotonic() - began
        if self.share >= 1:
            raise TrainingError(
                f"preparing the autoencoder took {self.progress.seconds:.0f} s, all of training.minutes",
                remedy="raise training.minutes, lower training.autoencoder_steps, or share the autoencoder "
                "of another run (model.autoencoder)",
            )

    def step(self, batch: Batch) -> dict[str, float]:
        """Run a step; returns metrics every ``training.log_every`` steps, else an empty dict."""
        step, training = self.progress.step, self.config.training
        torch.manual_seed((training.seed + self.world.rank * 1_009) * 1_000_003 + step)
        rate = self.budget.learning_rate(self.progress)
        result = self.stepper.step(batch, self.share, rate, step + 1, self.autocast)
        update_average(self.ema, self.model, training.ema, step)
        self.progress.step += 1
        return {} if (step + 1) % training.log_every else result.metrics()

    def restore(self, checkpoint: Path) -> None:
        """Return to a checkpoint.

        Raises:
            CheckpointError: it cannot be read or does not fit.
        """
        self.progress = checkpoints.load(checkpoint, self.modules, self.stepper.optimizers)

    def save(self) -> Path:
        """Validate, save and return the folder; the best checkpoint of the last phase is kept, too.

        Its file is written first: if the process is killed before the checkpoint is written, the steps since
        the previous one are repeated, and their score is no better than that in the file.
        """
        self._settle()
        self.validation.fit_variance(self.config.training.seed)
        self.score, self.progress.best_score = None, best_score(self.out)
        if self.progress.step and in_last_phase(self.objective, self.share):
            self.score, best = self.validation.score(), self.progress.best_score
            if self.score is not None and (best is None or self.score.total < best):
                self.save_model(BEST)
                self.progress.best_score = self.score.total
        root = self.out / "checkpoints"
        self.progress.domains = list(self.data.domains)
        folder = root / f"step-{self.progress.step:08d}"
        checkpoints.save(folder, self.modules, self.stepper.optimizers, self.progress)
        checkpoints.prune(root, self.config.training.keep_checkpoints)
        return folder

    def save_model(self, name: str) -> None:
        """Write the averaged model to the run folder."""
        calibration, domains = self.validation.calibration, self.data.domains
        save_model(self.out / name, self.ema, self.config, domains, self.facts(), calibration)

    def save_grid(self, path: Path) -> None:
        """Draw sources, reconstructions, translations and samples."""
        self._settle()
        report.save_grid(self.ema, self.data, path, self.autocast)

    def _settle(self) -> None:
        batches = (self.batches[step].to(self.device).images for step in range(SETTLING_BATCHES))
        settle_average(self.ema, batches)

    def save_results(self) -> None:
        """Write the model, the pictures and the report of a finished run; its log is closed."""
        if self.config.training.mask:
            self.masked = self.validation.mask()
        if self.config.training.align:
            self.ema.alignment = self.validation.alignment()
        self.save_model("model.safetensors")
        report.save_grid(self.ema, self.data, self.out / "grid.png", self.autocast)
        report.write_report(self.out, self.config, self.facts())

    def facts(self) -> dict[str, object]:
        """Facts about the training, for the model file."""
        return report.facts(self.out, self.config, self.progress, self.budget.images, self.world.size) | {
            "validation": {"measure": MEASURE, **self.score.facts()} if self.score else None,
            "masked": self.masked,
            "aligned": self.ema.alignment.kept if self.ema.alignment else 0,
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
        }
