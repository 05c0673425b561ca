"""Resuming: checks that a run matches the settings and data that it is continued with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sivae_translate.config import Config, load_config, to_yaml
from sivae_translate.data.domains import DomainData
from sivae_translate.data.splits import NamedSplit, Split, split_training
from sivae_translate.models.weights import load_model
from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import CheckpointError, ConfigError
from sivae_translate.utils.files import write_text

FREE = {
    "data": {
        *("root", "cache", "cache_megabytes", "workers", "max_unreadable", "pairs", "seconds_per_file"),
        "gpu_share",
    },
    "objective": {"beta_neg"},
    "training": {
        *("steps", "epochs", "minutes", "device", "precision", "channels_last", "log_every", "picture_every"),
        *("checkpoint_every", "keep_checkpoints", "trackers", "max_rollbacks", "learning_rate", "batch"),
        *("accumulate", "checkpoint_activations", "graph"),
    },
}
"""Settings that may change when a run is resumed: the location of the data, budget and speed, and settings
that the remedies of errors name."""
SPLIT = "split.json"
"""File in the run folder with the names of each domain's training and validation images."""
SHOWN = 6
"""How many names a message lists before it counts the rest."""
PARTS = ("train", "validation")
"""Parts of a `NamedSplit`, by their names in the file."""


def last_checkpoint(out: Path, *, resume: bool) -> Path | None:
    """The checkpoint to continue from; None for a new run.

    Raises:
        ConfigError: there is a run, but ``resume`` is not set.
    """
    checkpoint = checkpoints.latest(out / "checkpoints")
    if checkpoint and not resume:
        raise ConfigError(
            f"{out} already has a run", remedy="choose another --out, or continue it with --resume"
        )
    return checkpoint


def open_folder(config: Config, out: Path, data: DomainData, split: ChosenSplit) -> None:
    """Write config.yaml and the split.

    Raises:
        OutputError: they cannot be written.
    """
    write_text(out / "config.yaml", to_yaml(config))
    store_split(out, data, split.splits)


def require_same_run(config: Config, out: Path) -> None:
    """Raise CheckpointError if settings differ from those of the run in ``out``, except `FREE` ones."""
    before, now = (one.model_dump() for one in (load_config(out / "config.yaml"), config))
    bound = [
        f"{section}.{name}"
        for section, values in now.items()
        for name, value in values.items()
        if value != before[section][name] and name not in FREE.get(section, ())
    ]
    if bound:
        raise CheckpointError(
            f"the run in {out} was started with other settings: {', '.join(bound)}",
            remedy=f"resume with its own settings (sivae-translate train --out {out} --resume), "
            "or choose another --out",
        )


def require_same_domains(out: Path, checkpoint: Path, domains: Sequence[str]) -> None:
    """Raise CheckpointError if the data's domains or their order differ from those of the run in ``out``."""
    before = checkpoints.read_progress(checkpoint).domains or _domains_of_model(out)
    if before is None or list(before) == list(domains):
        return
    missing = [name for name in before if name not in domains]
    new = [name for name in domains if name not in before]
    differences = [
        f"{_quoted(names)} {what}" for names, what in ((missing, "missing"), (new, "new")) if names
    ]
    raise CheckpointError(
        f"the run in {out} has the domains {_quoted(before)}; the data has {_quoted(domains)} "
        f"({'; '.join(differences) or 'in another order'})",
        remedy="give the folders in --data FOLDER the names that the run has, or train a new run in "
        "another --out",
    )


def _quoted(domains: Sequence[str]) -> str:
    """The first names of domains, quoted."""
    return _listed([f"'{name}'" if name else "images without labels" for name in domains])


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _domains_of_model(out: Path) -> tuple[str, ...] | None:
    """Domains of the best model so far, since checkpoints of earlier versions do not have them."""
    for name in ("best.safetensors", "model.safetensors"):
        with suppress(CheckpointError):
            return load_model(out / name).domains
    return None


@dataclass(frozen=True)
class ChosenSplit:
    """The split of a run, and what has changed since it stopped.

    Attributes:
        splits: the split of each domain.
        changes: a line for each domain whose images have changed.
    """

    splits: tuple[Split, ...]
    changes: tuple[str, ...] = ()


def choose_split(config: Config, data: DomainData, out: Path, checkpoint: Path | None) -> ChosenSplit:
    """Create a new split, or restore that of a resumed run.

    Validation images of a resumed run are never trained on, and new images are only trained on. Earlier
    versions did not store the split; their runs get a new split of the current data.

    Args:
        config: settings.
        data: the data.
        out: the run folder.
        checkpoint: the checkpoint to resume from; None for a new run.

    Raises:
        CheckpointError: the run was started with other settings or domains, its split is damaged, or none of
            a domain's training images is left.
    """
    if checkpoint is not None:
        require_same_run(config, out)
        require_same_domains(out, checkpoint, data.domains)
    if checkpoint is None or not (out / SPLIT).exists():
        return ChosenSplit(split_training(data.train, config.training.validation))
    splits, changes = [], []
    stored = _read_split(out / SPLIT, data.domains)
    for domain, before, names in zip(data.domains, stored, data.training_names, strict=True):
        splits.append(before.find(names))
        present = set(names)
        if not present.intersection(before.train):
            raise CheckpointError(
                f"none of the {len(before.train)} training images of {_quoted([domain])} in {out} is in "
                f"the data, such as {before.train[0]}",
                remedy="name the folder that has them (--data FOLDER), or start a new run from its weights "
                f"(--training.fine-tune {out} and another --out)",
            )
        if change := _difference(before, names):
            changes.append(f"since the run stopped, {_quoted([domain])}: {change}")
    return ChosenSplit(tuple(splits), tuple(changes))


def _difference(before: NamedSplit, names: Sequence[str]) -> str:
    """Describe what has changed in a domain; empty if nothing has."""
    present = set(names)
    new = len(present - {*before.train, *before.validation})
    parts = [f"{new} new {'image' if new == 1 else 'images'}, for training"] if new else []
    for kind, stored in (("training", before.train), ("validation", before.validation)):
        if gone := [name for name in stored if name not in present]:
            images = "image is" if len(gone) == 1 else "images are"
            parts.append(f"{len(gone)} {kind} {images} gone: {_listed(gone)}")
    return "; ".join(parts)


def store_split(out: Path, data: DomainData, splits: Sequence[Split]) -> None:
    """Write the split by image names, for `choose_split`.

    Raises:
        OutputError: the file cannot be written.
    """
    named = {
        domain: asdict(NamedSplit.of(split, names))
        for domain, split, names in zip(data.domains, splits, data.training_names, strict=True)
    }
    write_text(out / SPLIT, json.dumps(named, indent=0) + "\n")  # in ASCII, since file names may not be UTF-8


def _read_split(path: Path, domains: Sequence[str]) -> list[NamedSplit]:
    """Read the stored split of each domain.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        parts = [[stored[domain][part] for part in PARTS] for domain in domains]
        if not all(
            isinstance(names, list) and {*map(type, names)} <= {str} for both in parts for names in both
        ):
            raise ValueError("names are missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"cannot read {path}, which lists the images that the run was trained on: {error}",
            remedy="restore the file, or train a new run in another --out; without the file, --resume may "
            "train on validation images",
        ) from error
    return [NamedSplit(tuple(train), tuple(validation)) for train, validation in parts]
