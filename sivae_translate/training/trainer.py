"""Training: build, resume, loop, finish; the parts are separate modules."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn

from sivae_translate.config import Config, to_yaml
from sivae_translate.data.batches import Batch, iterate
from sivae_translate.data.domains import DomainData, check_unreadable
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import summary
from sivae_translate.models.build import make_model
from sivae_translate.models.weights import BEST, save_model
from sivae_translate.objectives import make_objective
from sivae_translate.training import checkpoints, cost, report
from sivae_translate.training.averaging import average_of, is_finite, settle_average, update_average
from sivae_translate.training.best import MEASURE, best_score, in_last_phase
from sivae_translate.training.budget import Budget
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.display import Display, shown
from sivae_translate.training.distributed import World
from sivae_translate.training.failures import explained
from sivae_translate.training.latents import make_batches, open_autoencoder, prepare
from sivae_translate.training.leftovers import tidy
from sivae_translate.training.lock import locked
from sivae_translate.training.log import MetricsLog
from sivae_translate.training.quality import Score
from sivae_translate.training.resuming import choose_split, store_split
from sivae_translate.training.signals import Interrupted, collect_signals
from sivae_translate.training.starting import fine_tune
from sivae_translate.training.step import make_stepper
from sivae_translate.training.validation import Validation
from sivae_translate.utils.devices import autocast, pick_dtype
from sivae_translate.utils.errors import ConfigError, TrainingError
from sivae_translate.utils.files import require_writable, write_text
from sivae_translate.utils.progress import console

SETTLING_BATCHES = 8
"""Number of batches that the statistics of BatchNorms are measured on."""
NOT_FINITE = "the weights are not finite"


class Trainer:
    """Trains a model and writes a run folder: config.yaml, model.safetensors, checkpoints, metrics, pictures.

    Step n depends only on the weights, the seed and n: random generators are seeded again at each step. A run
    that was killed and resumed therefore ends with the same weights as one that was not, given a budget in
    steps or epochs and the same number of CPU threads.

    Args:
        config: settings.
        out: the run folder; `run` writes to it.
        resume: continue from the last checkpoint in ``out``.
        data: the data; by default it is loaded as ``config.data`` says.
        world: the processes that share the run; each takes an equal part of every batch, and the first one
            writes.

    Raises:
        ConfigError: the settings are invalid, or ``out`` has another run and ``resume`` is not set.
        CheckpointError: ``resume`` is set and the checkpoint cannot be read or the run was started with other
            settings or domains.
        DataError: the data cannot be used.
        OutputError: ``out`` cannot be written to.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        *,
        resume: bool = False,
        data: DomainData | None = None,
        world: World | None = None,
    ) -> None:
        self.config, self.out, self.world = config, out, world or World()
        checkpoint = checkpoints.latest(out / "checkpoints")
        if checkpoint and not resume:
            raise ConfigError(
                f"{out} already has a run", remedy="choose another --out, or continue it with --resume"
            )
        self.data = data if data is not None else load_data(config.data)
        self.problems: list[str] = []
        self._note_unreadable(dict.fromkeys(self.data.unreadable))
        self.device = self.world.device(config.training.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        self.progress, self.rate = Progress(), 0.0
        self.log: MetricsLog | None = None
        self.score: Score | None = None
        self.split = choose_split(config, self.data, out, checkpoint)
        self.resumed = checkpoint is not None
        self._build()
        if checkpoint:
            self.progress = checkpoints.load(checkpoint, self.modules, self.stepper.optimizers)

    def _build(self) -> None:
        """Build the model, perhaps from trained weights, its average, objective and batches."""
        training = self.config.training
        torch.manual_seed(training.seed)
        layout = torch.channels_last if training.channels_last else torch.contiguous_format
        space = open_autoencoder(self.config, self.out, resumed=self.resumed)
        model = make_model(self.config.model, self.config.data, len(self.data.domains), space)
        self.model = model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]
        if training.fine_tune and not self.resumed:
            source = training.fine_tune
            self.progress.started_from = fine_tune(self.model, self.config, self.data.domains, source)
        self.ema = average_of(self.model)
        self.objective = make_objective(self.config.objective, self.model)
        self.stepper = make_stepper(self.objective, training, self.world.size)
        splits = self.split.splits
        self.batches = make_batches(self.model, self.data, self.config, splits, self.world, self._autocast)
        self.budget = Budget(training, sum(len(split.train) for split in splits))
        self.validation = Validation(self.data, splits, self.ema, self._autocast, self._note_unreadable)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules in a checkpoint."""
        return {"model": self.model, "ema": self.ema, **self.objective.companions()}

    def run(self) -> Path:
        """Train until the budget is spent.

        Returns:
            The run folder, which contains model.safetensors.

        Raises:
            TrainingError: training diverged more often than ``training.max_rollbacks`` allows, a loader
            process was killed, or memory ran out; the last good state is saved.
            Interrupted: SIGINT or SIGTERM; a checkpoint was saved, unless the autoencoder was in training.
            OutputError: another training uses the run folder, or the disk is full; the previous
            checkpoint is intact.
            DataError: too many images cannot be read.
        """
        require_writable(self.out)
        with explained(self.out), locked(self.out) if self.world.writes else nullcontext():
            return self._run()

    def _run(self) -> Path:
        """`run`, after the folder is locked."""
        self.world.wait()  # until all processes have read the folder
        if self.world.writes:
            tidy(self.out, self.progress.step)
        self.open_run()
        silent = not self.world.writes
        with collect_signals(silent=silent) as received:
            if not self.resumed:
                self._prepare(received)
            if self.progress.step == 0 and (problem := self.checkpoint()):
                self.roll_back(problem)
            cost.announce(self)
            with shown(self.budget, silent=silent) as display:
                while problem := self._train(display, received) or self.checkpoint():
                    self.roll_back(problem)
        self._finish()
        return self.out

    def _prepare(self, received: Sequence[int]) -> None:
        """Make the autoencoder ready; its seconds are part of the budget."""
        began = time.monotonic()
        prepare(self.model, self.batches, self.out, self.config, self.world, received)
        self.progress.seconds += time.monotonic() - began
        if self.budget.share(self.progress) >= 1:
            raise TrainingError(
                f"the autoencoder of the run took {self.progress.seconds:.0f} s, all of its minutes",
                remedy="raise training.minutes, lower training.autoencoder_steps, or share the autoencoder "
                "of another run (model.autoencoder)",
            )

    def open_run(self) -> None:
        """Print what is trained on, write the configuration and open the log."""
        self._say("\n".join([summary(self.data, self.split.splits), *self.split.changes]))
        if self.world.writes:
            write_text(self.out / "config.yaml", to_yaml(self.config))
            store_split(self.out, self.data, self.split.splits)
            self.log = MetricsLog(self.out, self.progress.step, self.config.training.tensorboard)

    def _train(self, display: Display, received: Sequence[int]) -> str | None:
        """Train until the budget is spent; returns what is wrong if training diverges."""
        last = time.monotonic()
        if self.budget.share(self.progress) >= 1:
            return None
        stop = self.budget.steps or 2**40
        for batch in iterate(self.batches, self.progress.step, stop, self.config.data.workers):
            began = time.monotonic()
            self._note_unreadable(batch.unreadable)
            metrics = self.step(batch.to(self.device))
            now = time.monotonic()
            # The budget pays for loading, validation and pictures, too; the rate is that of steps alone.
            self.progress.seconds, last = self.progress.seconds + now - last, now
            self.rate = 1 / (now - began) if not self.rate else 0.95 * self.rate + 0.05 / (now - began)
            metrics = self.world.mean(metrics, self.device)
            if problem := self.progress.guard.problem(metrics) or self._record(metrics):
                return problem
            display.show(self.progress, self.rate, metrics)
            self._stop_if_asked(received)
            if self.budget.share(self.progress) >= 1:
                break
        return None

    def step(self, batch: Batch) -> dict[str, float]:
        """Run a step; returns metrics every ``training.log_every`` steps, else an empty dict."""
        step, training = self.progress.step, self.config.training
        torch.manual_seed((training.seed + self.world.rank * 1_009) * 1_000_003 + step)
        share, rate = self.budget.share(self.progress), self.budget.learning_rate(self.progress)
        result = self.stepper.step(batch, share, rate, step + 1, self._autocast)
        update_average(self.ema, self.model, training.ema, step)
        self.progress.step += 1
        return {} if (step + 1) % training.log_every else result.metrics()

    def _record(self, metrics: dict[str, float]) -> str | None:
        """Write log, pictures and checkpoint when they are due; returns what is wrong, if anything."""
        step, training = self.progress.step, self.config.training
        if metrics and self.log:
            own = {"steps_per_second": self.rate, "seconds": self.progress.seconds}
            self.log.write(step, {**metrics, **own})
        if training.picture_every and step % training.picture_every == 0:
            if not is_finite(self.model):
                return NOT_FINITE
            if self.world.writes:
                self._save_grid(self.out / "pictures" / f"step-{step:08d}.png")
        # The last step is saved at the end.
        due = step % training.checkpoint_every == 0 and step != self.budget.steps
        return self.checkpoint() if due else None

    def _stop_if_asked(self, received: Sequence[int]) -> None:
        """Agree with all processes on the time spent, and stop together if one of them has a signal."""
        values = [self.progress.seconds, max(received, default=0)]
        self.progress.seconds, signum = self.world.greatest(values, self.device)
        if signum:
            if problem := self.checkpoint():
                self.roll_back(problem)
            raise Interrupted(int(signum))

    def roll_back(self, problem: str) -> None:
        """Return to the last checkpoint with half the learning rate.

        Raises:
            TrainingError: there were too many rollbacks already.
        """
        guard, step = self.progress.guard, self.progress.step
        saved = checkpoints.latest(self.out / "checkpoints")
        if saved is None:
            raise TrainingError(
                f"before the first step, {problem}", remedy="start from another model (training.fine_tune)"
            )
        if guard.rollbacks >= self.config.training.max_rollbacks:
            raise TrainingError(
                f"training diverged again at step {step}: {problem}; the last good state is {saved}",
                remedy="continue with --resume and a lower training.learning_rate or objective.beta_neg, or "
                "with more training.max_rollbacks",
            )
        self.progress = checkpoints.load(saved, self.modules, self.stepper.optimizers)
        self.progress.guard = guard.rolled_back()
        if self.log is not None:
            self.log.forget_after(self.progress.step)
        scale = self.progress.guard.learning_rate_scale
        self._say(
            f"step {step}: {problem}; back to step {self.progress.step} with {scale:g} x the learning rate",
            style="yellow",
        )

    def checkpoint(self) -> str | None:
        """Validate and save in the process that writes; the others wait.

        Returns:
            What is wrong if nothing was saved: weights that are not finite never are.
        """
        if not is_finite(self.model):
            return NOT_FINITE
        if self.world.writes:
            self._validate_and_save()
        self.world.wait()
        return None

    def _validate_and_save(self) -> None:
        """Validate and save; the best checkpoint of the last phase is kept besides the last ones.

        Its file is written first: if the process is killed before the checkpoint is written, the steps since
        the previous one are repeated, and their score is no better than that in the file.
        """
        self._settle()
        self.validation.fit_variance(self.config.training.seed)
        self.score, self.progress.best_score = None, best_score(self.out)
        if self.progress.step and in_last_phase(self.objective, self.budget.share(self.progress)):
            self.score, best = self.validation.score(), self.progress.best_score
            if self.score is not None and (best is None or self.score.total < best):
                self._save_model(BEST)
                self.progress.best_score = self.score.total
        root = self.out / "checkpoints"
        self.progress.domains = list(self.data.domains)
        folder = root / f"step-{self.progress.step:08d}"
        checkpoints.save(folder, self.modules, self.stepper.optimizers, self.progress)
        checkpoints.prune(root, self.config.training.keep_checkpoints)

    def _save_model(self, name: str) -> None:
        calibration = self.validation.calibration()
        save_model(self.out / name, self.ema, self.config, self.data.domains, self._facts(), calibration)

    def _save_grid(self, path: Path) -> None:
        self._settle()
        report.save_grid(self.ema, self.data, path, self._autocast)

    def _settle(self) -> None:
        batches = (self.batches[step].to(self.device).images for step in range(SETTLING_BATCHES))
        settle_average(self.ema, batches)

    def _finish(self) -> None:
        """Write the model, the pictures and the report."""
        if self.log is not None:
            self._save_model("model.safetensors")
            report.save_grid(self.ema, self.data, self.out / "grid.png", self._autocast)
            self.log.close()
            report.write_report(self.out, self.config, self._facts())
        self.world.wait()

    def _facts(self) -> dict[str, object]:
        """Facts about the training, for the model file."""
        return report.facts(self.out, self.config, self.progress, self.budget.images, self.world.size) | {
            "validation": {"measure": MEASURE, **self.score.facts()} if self.score else None,
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
        }

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.dtype)

    def _note_unreadable(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)
                self._say(f"skipped {problem}", style="yellow")
        check_unreadable(self.problems, self.config.data.max_unreadable)

    def _say(self, text: str, style: str | None = None) -> None:
        """Print a line, from one process only."""
        if self.world.writes:
            console.print(text, style=style, highlight=False, soft_wrap=True)
