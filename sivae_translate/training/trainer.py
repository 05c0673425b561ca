"""Training: resume, loop, roll back, finish; what is trained is in `sivae_translate.training.state`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sivae_translate.config import Config, to_yaml
from sivae_translate.data.batches import Batch, iterate
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import summary
from sivae_translate.training import checkpoints, cost
from sivae_translate.training.display import Display, shown
from sivae_translate.training.distributed import World
from sivae_translate.training.failures import explained
from sivae_translate.training.leftovers import tidy
from sivae_translate.training.lock import locked
from sivae_translate.training.log import MetricsLog
from sivae_translate.training.resuming import choose_split, store_split
from sivae_translate.training.signals import Interrupted, collect_signals
from sivae_translate.training.state import RunState
from sivae_translate.training.unreadable import Unreadable
from sivae_translate.utils.errors import ConfigError, TrainingError
from sivae_translate.utils.files import require_writable, write_text

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
        self.unreadable = Unreadable(config.data.max_unreadable, self.world)
        self.unreadable(dict.fromkeys(self.data.unreadable))
        self.rate = 0.0
        self.log: MetricsLog | None = None
        self.resumed = checkpoint is not None
        self.split = choose_split(config, self.data, out, checkpoint)
        shared = (self.data, self.split, self.world, self.unreadable)
        self.state = RunState(config, out, *shared, checkpoint)

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
        state = self.state
        self.world.wait()  # until all processes have read the folder
        if self.world.writes:
            tidy(self.out, state.progress.step)
        self.open_run()
        silent = not self.world.writes
        with collect_signals(silent=silent) as received:
            if not self.resumed:
                state.prepare(received)
            if state.progress.step == 0 and (problem := self.checkpoint()):
                self.roll_back(problem)
            cost.announce(state)
            with shown(state.budget, silent=silent) as display:
                while problem := self._train(display, received) or self.checkpoint():
                    self.roll_back(problem)
        self._finish()
        return self.out

    def open_run(self) -> None:
        """Print what is trained on, write the configuration and open the log."""
        self.world.say("\n".join([summary(self.data, self.split.splits), *self.split.changes]))
        if self.world.writes:
            write_text(self.out / "config.yaml", to_yaml(self.config))
            store_split(self.out, self.data, self.split.splits)
            self.log = MetricsLog(self.out, self.state.progress.step, self.config.training.tensorboard)

    def _train(self, display: Display, received: Sequence[int]) -> str | None:
        """Train until the budget is spent; returns what is wrong if training diverges."""
        state = self.state
        last = time.monotonic()
        if state.share >= 1:
            return None
        stop = state.budget.steps or 2**40
        for batch in iterate(state.batches, state.progress.step, stop, self.config.data.workers):
            began = time.monotonic()
            self.unreadable(batch.unreadable)
            metrics = self.step(batch.to(state.device))
            now = time.monotonic()
            # The budget pays for loading, validation and pictures, too; the rate is that of steps alone.
            state.progress.seconds, last = state.progress.seconds + now - last, now
            self.rate = 1 / (now - began) if not self.rate else 0.95 * self.rate + 0.05 / (now - began)
            metrics = self.world.mean(metrics, state.device)
            if problem := state.progress.guard.problem(metrics) or self._record(metrics):
                return problem
            display.show(state.progress, self.rate, metrics)
            self._stop_if_asked(received)
            if state.share >= 1:
                break
        return None

    def step(self, batch: Batch) -> dict[str, float]:
        """Run a step; returns metrics every ``training.log_every`` steps, else an empty dict."""
        return self.state.step(batch)

    def _record(self, metrics: dict[str, float]) -> str | None:
        """Write log, pictures and checkpoint when they are due; returns what is wrong, if anything."""
        state = self.state
        step, training = state.progress.step, self.config.training
        if metrics and self.log:
            own = {"steps_per_second": self.rate, "seconds": state.progress.seconds}
            self.log.write(step, {**metrics, **own})
        if training.picture_every and step % training.picture_every == 0:
            if not state.is_finite:
                return NOT_FINITE
            if self.world.writes:
                state.save_grid(self.out / "pictures" / f"step-{step:08d}.png")
        # The last step is saved at the end.
        due = step % training.checkpoint_every == 0 and step != state.budget.steps
        return self.checkpoint() if due else None

    def _stop_if_asked(self, received: Sequence[int]) -> None:
        """Agree with all processes on the time spent, and stop together if one of them has a signal."""
        state = self.state
        values = [state.progress.seconds, max(received, default=0)]
        state.progress.seconds, signum = self.world.greatest(values, state.device)
        if signum:
            if problem := self.checkpoint():
                self.roll_back(problem)
            raise Interrupted(int(signum))

    def roll_back(self, problem: str) -> None:
        """Return to the last checkpoint with half the learning rate.

        Raises:
            TrainingError: there were too many rollbacks already.
        """
        state = self.state
        guard, step = state.progress.guard, state.progress.step
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
        state.restore(saved)
        state.progress.guard = guard.rolled_back()
        if self.log is not None:
            self.log.forget_after(state.progress.step)
        scale = state.progress.guard.learning_rate_scale
        self.world.say(
            f"step {step}: {problem}; back to step {state.progress.step} with {scale:g} x the learning rate",
            style="yellow",
        )

    def checkpoint(self) -> str | None:
        """Validate and save in the process that writes; the others wait.

        Returns:
            What is wrong if nothing was saved: weights that are not finite never are.
        """
        if not self.state.is_finite:
            return NOT_FINITE
        if self.world.writes:
            self.state.save()
        self.world.wait()
        return None

    def _finish(self) -> None:
        """Write the model, the pictures and the report."""
        if self.log is not None:
            self.log.close()
            self.state.save_results()
        self.world.wait()
