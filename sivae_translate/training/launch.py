"""Starting a training, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sivae_translate.config import Config
from sivae_translate.data.domains import DomainData
from sivae_translate.training.callbacks import Callback
from sivae_translate.training.distributed import joined
from sivae_translate.training.memory import suited
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import TrainingError


def train(
    config: Config,
    out: str | Path,
    *,
    resume: bool = False,
    data: DomainData | None = None,
    callbacks: Sequence[Callback] = (),
) -> Path:
    """Train and return the run folder; see `Trainer`. With torchrun, all its processes share the run.

    Raises:
        TrainingError: another process of the run has ended, or see `Trainer.run`.

    >>> import tempfile
    >>> import numpy as np
    >>> from sivae_translate import DomainData, Translator, load_config
    >>> rng = np.random.default_rng(0)
    >>> day, night = (list(rng.integers(low, 255, (12, 32, 32, 3), np.uint8)) for low in (128, 0))
    >>> sizes = {"model.widths": [8, 8, 8, 8], "data.workers": 0}
    >>> config = load_config(None, {**sizes, "training.steps": 2, "training.batch": 4})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = train(config, f"{folder}/run", data=DomainData.of({"day": day, "night": night}))
    ...     Translator.from_pretrained(run).domains
    ('day', 'night')
    """
    config = config if resume else suited(config)
    with joined() as world:
        trainer = Trainer(config, Path(out), resume=resume, data=data, world=world, callbacks=callbacks)
        try:
            return trainer.run()
        except RuntimeError as error:
            if world.size == 1:
                raise
            raise TrainingError(
                f"process {world.rank} of {world.size} lost the others at step "
                f"{trainer.state.progress.step}: {error}",
                remedy=f"see the messages of the others, then continue with --resume --out {out}",
            ) from error
