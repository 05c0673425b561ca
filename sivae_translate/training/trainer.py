"""Training: resume, loop, roll back, finish; what is trained is in `sivae_translate.training.state`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from sivae_translate.config import Config
from sivae_translate.data.batches import Batch, iterate
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.splits import summary
from sivae_translate.training import cost
from sivae_translate.training.callbacks import Callback, Callbacks, RunInfo
from sivae_translate.training.display import Display, shown
from sivae_translate.training.distributed import World
from sivae_translate.training.failures import explained
from sivae_translate.training.graph import notice
from sivae_translate.training.leftovers import tidy
from sivae_translate.training.lock import locked
from sivae_translate.training.log import MetricsLog
from sivae_translate.training.resuming import choose_split, last_checkpoint, open_folder
from sivae_translate.training.rolling_back import NOT_FINITE, restore_last
from sivae_translate.training.signals import Interrupted, collect_signals
from sivae_translate.training.state import RunState
from sivae_translate.training.trackers import make_trackers
from sivae_translate.training.unreadable import Unreadable
from sivae_translate.utils.files import require_writable


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
        world: the processes that share the run, each with an equal part of every batch; the first one writes.
        callbacks: called by the process that writes, after those of ``training.trackers``.

    Raises:
        ConfigError: the settings are invalid, or ``out`` has another run and ``resume`` is not set.
        CheckpointError: the checkpoint to resume from cannot be read, or has other settings or domains.
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
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.config, self.out, self.world = config, out, world or World()
        checkpoint = last_checkpoint(out, resume=resume)
        self.data = data if data is not None else load_data(config.data)
        self.unreadable = Unreadable(config.data.max_unreadable, self.world)
        self.unreadable(dict.fromkeys(self.data.unreadable))
        trackers = make_trackers(config.training.trackers)
        self.callbacks = Callbacks([*trackers, *callbacks] if self.world.writes else [])
        self.rate = 0.0
        self.log: MetricsLog | None = None
        self.resumed = checkpoint is not None
        self.split = choose_split(config, self.data, out, checkpoint)
        self.state = RunState(config, out, self.data, self.split, self.world, self.unreadable, checkpoint)

    def run(self) -> Path:
        """Train until the budget is spent; returns the run folder, which contains model.safetensors.

        Raises:
            TrainingError: training diverged too often, a loader process was killed, or memory ran out; the
            last good state is saved.
            Interrupted: SIGINT or SIGTERM; a checkpoint was saved, unless the autoencoder was in training.
            OutputError: another training uses the folder, or the disk is full; the last checkpoint is intact.
            DataError: too many images cannot be read.
        """
        require_writable(self.out)
        with explained(self.out), locked(self.out) if self.world.writes else nullcontext():
            return self._run()

    def _run(self) -> Path:
        """`run`, after the folder is locked."""
        self.world.wait()  # until all processes have read the folder
        self.open_run()
        info = RunInfo(self.out, self.config, tuple(self.data.domains), self.state.progress.step)
        with self.callbacks.running(info):
            self._train_to_the_end()
            self._finish()
        return self.out

    def _train_to_the_end(self) -> None:
        """Train, and return to the last checkpoint as often as it diverges."""
        state, silent = self.state, not self.world.writes
        with collect_signals(silent=silent) as received:
            if not self.resumed:
                state.prepare(received)
            if state.progress.step == 0 and (problem := self.checkpoint()):
                self.roll_back(problem)
            cost.announce(state)
            with shown(state.budget, silent=silent) as display:
                while problem := self._train(display, received) or self.checkpoint():
                    self.roll_back(problem)

    def open_run(self) -> None:
        """Print what is trained on, write the configuration and open the log."""
        notes = [*self.split.changes, notice(self.config.training, self.state.objective, self.world.size)]
        self.world.say("\n".join([summary(self.data, self.split.splits), *filter(None, notes)]))
        if self.world.writes:
            step = self.state.progress.step
            tidy(self.out, step)
            open_folder(self.config, self.out, self.data, self.split)
            self.log = MetricsLog(self.out, step)

    def _train(self, display: Display, received: Sequence[int]) -> str | None:
        """Train until the budget is spent or a callback stops; returns what is wrong if training diverges."""
        state, last = self.state, time.monotonic()
        if state.share >= 1:
            return None
        stop = state.budget.steps or 2**40
        for batch in iterate(state.batches, state.progress.step, stop, self.config.data.workers):
            began = time.monotonic()
            self.unreadable(batch.unreadable)
            metrics = self.step(batch.to(state.device))
            now = time.monotonic()
            # The budget pays for loading, validation and pictures; the rate is that of steps alone.
            state.progress.seconds, last = state.progress.seconds + now - last, now
            self.rate = 1 / (now - began) if not self.rate else 0.95 * self.rate + 0.05 / (now - began)
            metrics = self.world.mean(metrics, state.device)
            if problem := state.progress.guard.problem(metrics) or self._record(metrics):
                return problem
            display.show(state.progress, self.rate, metrics)
            if self._is_stopped(received) or state.share >= 1:
                break
        return None

    def step(self, batch: Batch) -> dict[str, float]:
        """Run a step; returns metrics every ``training.log_every`` steps, else an empty dict."""
        return self.state.step(batch)

    def _record(self, metrics: dict[str, float]) -> str | None:
        """Write log, pictures and checkpoint when they are due; returns what is wrong, if anything."""
        state, step, training = self.state, self.state.progress.step, self.config.training
        if metrics and self.log:
            metrics |= {"steps_per_second": self.rate, "seconds": state.progress.seconds}
            self.log.write(step, metrics)
            self.callbacks.call("on_metrics", step, metrics)
        if training.picture_every and step % training.picture_every == 0:
            if not state.is_finite:
                return NOT_FINITE
            if self.world.writes:
                path = self.out / "pictures" / f"step-{step:08d}.png"
                state.save_grid(path)
                self.callbacks.call("on_picture", step, path)
        # The last step is saved at the end.
        due = step % training.checkpoint_every == 0 and step != state.budget.steps
        return self.checkpoint() if due else None

    def _is_stopped(self, received: Sequence[int]) -> bool:
        """Agree with all processes on the time spent, on a signal, and on whether a callback has stopped."""
        state = self.state
        values = [state.progress.seconds, max(received, default=0), float(bool(self.callbacks.stopped))]
        state.progress.seconds, signum, stopped = self.world.greatest(values, state.device)
        if signum:
            if problem := self.checkpoint():
                self.roll_back(problem)
            raise Interrupted(int(signum))
        return bool(stopped)

    def roll_back(self, problem: str) -> None:
        """Return to the last checkpoint with half the learning rate; see `restore_last`."""
        message = restore_last(self.state, self.out, problem)
        if self.log is not None:
            self.log.forget_after(self.state.progress.step)
        self.world.say(message, style="yellow")

    def checkpoint(self) -> str | None:
        """Validate and save; returns what is wrong if nothing was: weights that are not finite never are."""
        if not self.state.is_finite:
            return NOT_FINITE
        if self.world.writes:
            self.callbacks.call("on_checkpoint", self.state.progress.step, self.state.save())
        self.world.wait()
        return None

    def _finish(self) -> None:
        """Write the model, the pictures and the report."""
        if self.world.writes:
            self.state.save_results()
            self.callbacks.call("on_picture", self.state.progress.step, self.out / "grid.png")
        self.world.wait()
