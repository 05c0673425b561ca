"""The training loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor, nn

from sivae_translate.config import Config, load_config, to_yaml
from sivae_translate.data.batches import Batch, TrainingBatches, iterate, parts_of
from sivae_translate.data.domains import DomainData
from sivae_translate.data.image import to_tensor
from sivae_translate.data.sources.loading import check_unreadable, load_data
from sivae_translate.models.build import make_model
from sivae_translate.models.networks import grown
from sivae_translate.models.published import has_batch_norm, settle
from sivae_translate.models.typicality import Calibration, read
from sivae_translate.models.weights import SavedModel, find_model, load_model, save_model
from sivae_translate.objectives import make_objective
from sivae_translate.training import checkpoints, report
from sivae_translate.training.checkpoints import Progress
from sivae_translate.training.distributed import World, joined
from sivae_translate.training.log import MetricsLog, read_metrics
from sivae_translate.training.step import Stepper
from sivae_translate.utils.devices import autocast, pick_dtype
from sivae_translate.utils.errors import CheckpointError, ConfigError, DataError, SivaeError, TrainingError
from sivae_translate.utils.files import require_writable, write_text
from sivae_translate.utils.progress import console, progress_bar

DEFAULT_STEPS = 10_000
FINAL_RATE = 0.05
"""The learning rate ends at this share of its height."""


SETTLING_BATCHES = 8
"""Batches that the statistics of BatchNorms are measured on."""
SEEN_IMAGES = 256
"""Training images that the pixel variance, and what is usual, are fitted on."""
READ_BATCH = 64
FREE = {
    "steps",
    "epochs",
    "minutes",
    "device",
    "precision",
    "channels_last",
    "log_every",
    "picture_every",
    "checkpoint_every",
}
FREE |= {"keep_checkpoints", "tensorboard", "max_rollbacks"}
"""Settings of training that may change when a run is gone on with."""


class Interrupted(Exception):  # noqa: N818 - it is no error: the user asked for it
    """SIGINT or SIGTERM arrived; a checkpoint was saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Trainer:
    """Trains a model and leaves a run folder: config.yaml, model.safetensors, checkpoints, metrics, pictures,
    report.

    What step n does depends on the weights, the seed and n alone: random streams are seeded anew at each
    step. A run that was killed and resumed therefore ends with the same weights as one that was not, given a
    budget in steps or epochs and the same number of CPU threads.

    Args:
        config: settings.
        out: the run folder.
        resume: go on from the last checkpoint in ``out``.
        data: the data, when it is loaded already; otherwise ``config.data`` says where it is.
        world: the processes that share the run; each takes an equal part of every batch, and the first one
            writes.

    Raises:
        ConfigError: the settings do not fit together, or ``out`` holds another run and ``resume`` is not set.
        CheckpointError: ``resume`` is set and the checkpoint cannot be read or the run was started with other
            settings.
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
        require_writable(out)
        found = checkpoints.latest(out / "checkpoints")
        if found and not resume:
            raise ConfigError(
                f"{out} already holds a run", remedy="choose another --out, or go on with it by --resume"
            )
        try:
            self.data = data if data is not None else load_data(config.data)
        except SivaeError:
            with suppress(OSError):
                out.rmdir()  # leaves nothing behind; a folder with something in it stays
            raise
        self.problems = list(dict.fromkeys(self.data.unreadable))
        for problem in self.problems:
            self._say(f"[yellow]skipped[/] {problem}")
        self.device = self.world.device(config.training.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        torch.manual_seed(config.training.seed)
        layout = torch.channels_last if config.training.channels_last else torch.contiguous_format
        model = make_model(config.model, config.data, len(self.data.domains))
        self.model = model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]
        self.progress = Progress()
        if config.training.fine_tune is not None and not found:
            self.progress.started_from = self._start_from(config.training.fine_tune)
        self.ema = deepcopy(self.model).requires_grad_(False).eval()
        self.objective = make_objective(config.objective, self.model)
        self.stepper = Stepper(
            self.objective,
            config.training.clip_norm,
            processes=self.world.size,
            means_rate=config.training.means_rate,
        )
        self.optimizers = self.stepper.optimizers
        self.parts = parts_of(self.data.train, config.training.validation)
        share, seed = self.world.share(config.training.batch), config.training.seed
        self.batches = TrainingBatches(self.data, config.data, share, seed, self.parts, self.world.rank)
        self.rate = 0.0
        if found:
            self._check_same_run()
            self.progress = checkpoints.load(found, self._modules, self.optimizers)
        self.world.wait()  # until all have seen what was there before
        self.log: MetricsLog | None = None
        if self.world.writes:
            write_text(out / "config.yaml", to_yaml(config))
            self.log = MetricsLog(out, self.progress.step, config.training.tensorboard)

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "ema": self.ema, **self.objective.companions()}

    @property
    def total_steps(self) -> int | None:
        """The budget in steps; None for a budget in minutes."""
        training = self.config.training
        if training.minutes is not None:
            return None
        if training.epochs is not None:
            return max(1, round(training.epochs * self._count / training.batch))
        return training.steps or DEFAULT_STEPS

    @property
    def _count(self) -> int:
        """Images that are trained on."""
        return sum(len(part.seen) for part in self.parts)

    @property
    def share_done(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        done, total = self._budget()
        return min(1.0, done / total)

    def _budget(self) -> tuple[float, float]:
        """Spent and whole budget, in steps or in seconds."""
        total, minutes = self.total_steps, self.config.training.minutes
        if total is not None:
            return self.progress.step, total
        assert minutes is not None
        return self.progress.seconds, 60 * minutes

    def run(self) -> Path:
        """Train until the budget is spent.

        Returns:
            the run folder, with model.safetensors in it.

        Raises:
            TrainingError: training went wrong more often than ``training.max_rollbacks`` allows; the last
                good state is saved.
            Interrupted: SIGINT or SIGTERM; a checkpoint was saved.
            OutputError: the disk is full; the previous checkpoint is whole.
        """
        if self.progress.step == 0:
            self._checkpoint()
        with _signals() as received, progress_bar("rate", "health", silent=not self.world.writes) as bar:
            unit = "seconds" if self.total_steps is None else "steps"
            task = bar.add_task(f"training ({unit})", total=self._budget()[1], rate="", health="")
            while self.share_done < 1 or not self._checkpoint():
                for figures in self._healthy_steps():
                    rate = f"{self.rate:.1f} steps/s"
                    bar.update(task, completed=self._budget()[0], rate=rate)
                    if figures:
                        bar.update(task, health=report.health(figures))
                    self.progress.seconds, signum = self.world.greatest(
                        [self.progress.seconds, max(received, default=0)], self.device
                    )
                    if signum:
                        self._checkpoint()
                        raise Interrupted(int(signum))
        self._finish()
        return self.out

    def _healthy_steps(self) -> Iterator[dict[str, float]]:
        """Train until the budget is spent or the guard orders a retreat; yields each step's figures (most are
        empty).
        """
        training = self.config.training
        stop = self.total_steps or 2**40
        last = time.monotonic()
        for batch in iterate(self.batches, self.progress.step, stop, self.config.data.workers):
            began = time.monotonic()
            self._note_unreadable(batch.unreadable)
            figures = self.step(batch.to(self.device))
            self.progress.step += 1
            now = time.monotonic()
            # The budget pays for everything, loading, validation and pictures included; the rate is that of
            # the steps alone.
            self.progress.seconds, last = self.progress.seconds + now - last, now
            self.rate = 1 / (now - began) if not self.rate else 0.95 * self.rate + 0.05 / (now - began)
            step = self.progress.step
            figures = self.world.mean(figures, self.device)
            problem = self.progress.guard.problem(figures)
            if problem:
                self._retreat(problem)
                return
            if figures and self.log:
                self.log.write(
                    step, {**figures, "steps_per_second": self.rate, "seconds": self.progress.seconds}
                )
            pictured = training.picture_every and step % training.picture_every == 0
            if pictured and not self._sound():
                return
            if pictured and self.world.writes:
                self._settle()
                report.save_grid(
                    self.ema, self.data, self.out / "pictures" / f"step-{step:08d}.png", self._autocast
                )
            due = (
                step % training.checkpoint_every == 0 and step != self.total_steps
            )  # the last step is saved at the end
            if due and not self._checkpoint():
                return
            yield figures
            if self.share_done >= 1:
                return

    def step(self, batch: Batch) -> dict[str, float]:
        """One step of both halves; figures every ``training.log_every`` steps, else an empty dict."""
        step, training = self.progress.step, self.config.training
        torch.manual_seed((training.seed + self.world.rank * 1_009) * 1_000_003 + step)
        result = self.stepper.step(batch, self.share_done, self.learning_rate(), step + 1, self._autocast)
        self._average()
        if (step + 1) % training.log_every:
            return {}
        return result.metrics()

    def learning_rate(self) -> float:
        """Rises over the first steps, stays, falls linearly at the end; lowered by the guard."""
        training = self.config.training
        warm = min(1.0, (self.progress.step + 1) / max(1, training.warmup_steps))
        left = (1 - self.share_done) / max(1e-9, 1 - training.decay_from)
        falling = max(FINAL_RATE, min(1.0, left))
        return training.learning_rate * warm * falling * self.progress.guard.learning_rate_scale

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights; the average is short at first, or it would remember the initial
        weights.
        """
        step = self.progress.step
        decay = min(self.config.training.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    def _autocast(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.dtype)

    def _retreat(self, problem: str) -> None:
        """Back to the last checkpoint with half the learning rate.

        Raises:
            TrainingError: that was done too often already.
        """
        guard, step = self.progress.guard, self.progress.step
        saved = checkpoints.latest(self.out / "checkpoints")
        if saved is None:
            raise TrainingError(
                f"before the first step, {problem}", remedy="start from another model (training.fine_tune)"
            )
        if guard.retreats >= self.config.training.max_rollbacks:
            raise TrainingError(
                f"training went wrong again at step {step}: {problem}; the last good state is {saved}",
                remedy="start again with a lower training.learning_rate or objective.beta_neg, "
                "or go on with --resume and more training.max_rollbacks",
            )
        self.progress = checkpoints.load(saved, self._modules, self.optimizers)
        self.progress.guard = guard.retreat()
        if self.log is not None:
            self.log.forget_after(self.progress.step)
        scale = self.progress.guard.learning_rate_scale
        self._say(
            f"[yellow]step {step}: {problem}; back to step {self.progress.step} with {scale:g} x the "
            "learning rate[/]"
        )

    def _say(self, text: str) -> None:
        """A line on the terminal, from one process only."""
        if self.world.writes:
            console.print(text, highlight=False)

    def _checkpoint(self) -> bool:
        """Save, by the process that writes; the others wait until the checkpoint is there.

        Returns:
            whether it was saved: weights gone bad never are.
        """
        if not self._sound():
            return False
        if self.world.writes:
            self._validate_and_save()
        self.world.wait()
        return True

    def _sound(self) -> bool:
        """Whether the weights are finite. If not, training goes back; all processes have the same weights and
        do it alike.
        """
        if all(bool(torch.isfinite(parameter).all()) for parameter in self.model.parameters()):
            return True
        self._retreat("the weights are not finite")
        return False

    def _validate_and_save(self) -> None:
        """Validate and save; the best checkpoint so far is kept beside the last ones."""
        self._settle()
        self._fit_variance()
        score = self.validate()
        best = self.progress.best_score
        improved = score is not None and self.progress.step > 0 and (best is None or score < best)
        if improved:
            self.progress.best_score = score
        root = self.out / "checkpoints"
        checkpoints.save(
            root / f"step-{self.progress.step:08d}", self._modules, self.optimizers, self.progress
        )
        checkpoints.prune(root, self.config.training.keep_checkpoints)
        if improved:
            self._save_model("best.safetensors")

    def _save_model(self, name: str) -> None:
        save_model(
            self.out / name, self.ema, self.config, self.data.domains, self._facts(), self._calibration()
        )

    def _settle(self) -> None:
        """Give the averaged model's BatchNorms, where the published networks have them, statistics that are
        its own.
        """
        if has_batch_norm(self.ema):
            batches = (self.batches[step].to(self.device).images for step in range(SETTLING_BATCHES))
            settle(self.ema.content_encoder, self.ema.decoder, self.ema.content_prior, batches)

    def _fit_variance(self) -> None:
        """Fit the averaged model's pixel variance on training images."""
        with self._autocast():
            self.ema.fit_variance(
                self._seen(), torch.Generator(self.device).manual_seed(self.config.training.seed)
            )

    def _seen(self) -> Tensor:
        """Some training images of every domain."""
        each = -(-SEEN_IMAGES // len(self.data.train))
        return torch.cat([self._images(index, part.seen[:each]) for index, part in enumerate(self.parts)])

    def _calibration(self) -> Calibration | None:
        """What is usual for held-out training images; None without any."""
        held = torch.cat([self._images(index, part.held) for index, part in enumerate(self.parts)])
        if not len(held):
            return None
        return Calibration.fit(self._read(self._seen()), self._read(held), max(1, self.ema.domains))

    def _read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`calibration.read` in batches."""
        with self._autocast():
            parts = [read(self.ema, part) for part in torch.split(images, READ_BATCH)]
        return torch.cat([numbers for numbers, _ in parts]), torch.cat([domains for _, domains in parts])

    def _images(self, domain: int, positions: np.ndarray) -> Tensor:
        """Those training images of a domain that are readable, without augmentation, (B, C, H, W)."""
        images = []
        for position in positions:
            try:
                images.append(self.data.train[domain][int(position)])
            except DataError as error:
                self._note_unreadable([error.what])
        shown = to_tensor(np.stack(images)) if images else torch.empty(0, *self.ema.image_shape)
        return shown.to(self.device)

    @torch.no_grad()
    def validate(self) -> float | None:
        """Error of the averaged model on held-out training images, squared and per pixel; None without any.

        It needs no truth: an image is translated to the next domain's style and back, and compared with
        itself. Where there are no domains to translate between, it is rebuilt from its own codes.
        """
        errors = []
        for index, part in enumerate(self.parts):
            images = self._images(index, part.held)
            if len(images):
                with self._autocast():
                    returned = self._there_and_back(images, index)
                errors.append((returned - images).square().mean())
        return float(torch.stack(errors).mean()) if errors else None

    def _there_and_back(self, images: Tensor, index: int) -> Tensor:
        """Images of a domain, translated to the next one and back, or rebuilt."""
        domains, count = self.ema.domains, len(images)
        if domains < 2:
            return self.ema.decode(self.ema.encode(images).mean)
        next_domain = torch.full((count,), (index + 1) % domains, device=self.device)
        there = self.ema.translate(images, self.ema.prior_style(next_domain, count))
        return self.ema.translate(there, self.ema.prior_style(torch.full_like(next_domain, index), count))

    def _note_unreadable(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self.problems:
                self.problems.append(problem)
                self._say(f"[yellow]skipped[/] {problem}")
        check_unreadable(self.problems, self.config.data.max_unreadable)

    def _facts(self) -> dict[str, object]:
        """Training figures that travel with the model."""
        progress = self.progress
        lines = read_metrics(self.out)
        return {
            "steps": progress.step,
            "minutes": round(progress.seconds / 60, 2),
            "training_images": self._count,
            "device": str(self.device),
            "precision": str(self.dtype).removeprefix("torch."),
            "processes": self.world.size,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "seed": self.config.training.seed,
            "started_from": progress.started_from,
            "validation_score": progress.best_score,
            "last_figures": lines[-1] if lines else {},
        }

    def _finish(self) -> None:
        """The model, the pictures and the report."""
        if self.log is not None:
            self._save_model("model.safetensors")
            report.save_grid(self.ema, self.data, self.out / "grid.png", self._autocast)
            self.log.close()
            report.write_report(self.out, self.config, self._facts())
        self.world.wait()

    def _start_from(self, source: str) -> dict[str, object]:
        """Take over the weights of a trained model of the same sizes, or of one for smaller images (`grown`).

        Returns:
            the model's name, with the steps and minutes that it was trained for, itself and what it started
            from.

        Raises:
            CheckpointError: there is no such model, or its sizes or domains differ.
        """
        path = find_model(source)
        saved = load_model(path)
        if saved.domains != self.data.domains:
            raise CheckpointError(
                f"{path} knows the domains {', '.join(saved.domains)}, the data has "
                f"{', '.join(self.data.domains)}",
                remedy="start from a model of the same domains, or leave training.fine_tune out",
            )
        weights = saved.model.state_dict()
        if saved.config.data.image_size < self.config.data.image_size:
            self._check_growth(saved, path)
            weights = grown(weights, self.model.state_dict())
        checkpoints.load_weights(self.model, weights, path)
        before = saved.facts.get("started_from")
        stages = [saved.facts, before if isinstance(before, dict) else {}]
        told = {name: [stage.get(name) for stage in stages] for name in ("steps", "minutes")}
        spent = {
            name: sum(value for value in values if isinstance(value, int | float))
            for name, values in told.items()
        }
        named = Path(source).absolute()
        while named.name in ("run", "model.safetensors", "best.safetensors"):
            named = named.parent
        return {"model": named.name, **spent}

    def _check_growth(self, saved: SavedModel, path: Path) -> None:
        """Raises CheckpointError where more differs than the size of the images, which weights alone would
        not tell.
        """
        small, large = (
            {"channels": config.data.channels, **config.model.model_dump(include={"kind", "antialias"})}
            for config in (saved.config, self.config)
        )
        if small["kind"] == "published":
            raise CheckpointError(
                f"{path} has the published networks, which do not grow", remedy="leave training.fine_tune out"
            )
        if other := [name for name, value in small.items() if value != large[name]]:
            raise CheckpointError(
                f"{path} cannot be grown: it has another {' and '.join(other)}",
                remedy="change the image size and widths only",
            )

    def _check_same_run(self) -> None:
        """Raises CheckpointError when the run in ``out`` had other settings than how long, where and how
        often (`FREE`).
        """
        before, now = (config.model_dump() for config in (load_config(self.out / "config.yaml"), self.config))
        for section, values in now.items():
            other = [name for name, value in values.items() if value != before[section][name]]
            if bound := [name for name in other if section != "training" or name not in FREE]:
                raise CheckpointError(
                    f"the run in {self.out} was started with other settings: "
                    f"{', '.join(f'{section}.{b}' for b in bound)}",
                    remedy=f"resume with its own settings (sivae-translate train --out {self.out} --resume), "
                    "or choose another --out",
                )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second SIGINT does interrupt. Only in the main
    thread.
    """
    received: list[int] = []

    def note(signum: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(signum)
        console.print(f"[yellow]{signal.Signals(signum).name}: saving a checkpoint, then stopping[/]")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    previous = {signum: signal.signal(signum, note) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def train(config: Config, out: str | Path, *, resume: bool = False, data: DomainData | None = None) -> Path:
    """Train and return the run folder; see `Trainer`. Started by torchrun, all its processes share the run.

    Raises:
        TrainingError: another process of the run has ended; or see `Trainer.run`.
    """
    with joined() as world:
        trainer = Trainer(config, Path(out), resume=resume, data=data, world=world)
        try:
            return trainer.run()
        except RuntimeError as error:
            if world.size == 1:
                raise
            raise TrainingError(
                f"process {world.rank} of {world.size} lost the others at step "
                f"{trainer.progress.step}: {error}",
                remedy=f"see what the others say, then go on with --resume --out {out}",
            ) from error
