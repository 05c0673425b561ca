"""Resuming: what must agree between a run and the settings and data that it is continued with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sivae_translate.config import Config, load_config
from sivae_translate.data.domains import DomainData
from sivae_translate.data.splits import NamedSplit, Split, split_training
from sivae_translate.models.weights import load_model
from sivae_translate.training import checkpoints
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import write_text

FREE = {
    "data": {"root", "cache", "cache_megabytes", "workers", "max_unreadable", "pairs", "seconds_per_file"},
    "objective": {"beta_neg"},
    "training": {
        *("steps", "epochs", "minutes", "device", "precision", "channels_last", "log_every", "picture_every"),
        *("checkpoint_every", "keep_checkpoints", "tensorboard", "max_rollbacks", "learning_rate", "batch"),
    },
}
"""Settings that may change when a run is resumed: where the data lies, how long and how fast, and what the
remedies of errors name."""
SPLIT = "split.json"
"""File of a run folder with the names of each domain's training and validation images."""
SHOWN = 6
"""Names that a message lists before it counts the rest."""
PARTS = ("train", "validation")
"""Of a `NamedSplit`, as the file names them."""


def require_same_run(config: Config, out: Path) -> None:
    """Raises CheckpointError when the run in ``out`` had other settings than may change (`FREE`)."""
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
    """Raises CheckpointError when the data has other domains than the run in ``out``, or in another order."""
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
        f"({'; '.join(differences) or 'their order is another'})",
        remedy="give the folders the names that the run knows, in --data FOLDER, or train a new run in "
        "another --out",
    )


def _quoted(domains: Sequence[str]) -> str:
    """The first domains' names."""
    return _listed([f"'{name}'" if name else "images without labels" for name in domains])


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many there are more."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _domains_of_model(out: Path) -> tuple[str, ...] | None:
    """Of the best model so far: checkpoints of earlier versions do not name the domains."""
    for name in ("best.safetensors", "model.safetensors"):
        with suppress(CheckpointError):
            return load_model(out / name).domains
    return None


@dataclass(frozen=True)
class ChosenSplit:
    """Which images a run trains on, and what has changed since it stopped.

    Attributes:
        splits: one a domain.
        changes: a line for each domain whose images have changed.
    """

    splits: tuple[Split, ...]
    changes: tuple[str, ...] = ()


def choose_split(config: Config, data: DomainData, out: Path, checkpoint: Path | None) -> ChosenSplit:
    """A new split, or that of a run that is resumed: none of its validation images is ever trained on, and
    new images are only trained on. Earlier versions stored none; their runs get the split of the data as it
    is.

    Args:
        config: settings.
        data: the data.
        out: the run folder.
        checkpoint: the one that the run resumes from; None for a new run.

    Raises:
        CheckpointError: the run was started with other settings or domains; its split is damaged; or no
            training image of a domain is left.
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
                remedy="name the folder that holds them (--data FOLDER), or start a new run from its weights "
                f"(--training.fine-tune {out} and another --out)",
            )
        if change := _difference(before, names):
            changes.append(f"since the run stopped, {_quoted([domain])}: {change}")
    return ChosenSplit(tuple(splits), tuple(changes))


def _difference(before: NamedSplit, names: Sequence[str]) -> str:
    """What has changed in a domain, in words; empty where nothing has."""
    present = set(names)
    new = len(present - {*before.train, *before.validation})
    parts = [f"{new} new {'image' if new == 1 else 'images'}, for training"] if new else []
    for kind, stored in (("training", before.train), ("validation", before.validation)):
        if gone := [name for name in stored if name not in present]:
            images = "image is" if len(gone) == 1 else "images are"
            parts.append(f"{len(gone)} {kind} {images} gone: {_listed(gone)}")
    return "; ".join(parts)


def store_split(out: Path, data: DomainData, splits: Sequence[Split]) -> None:
    """Write the split by the images' names, for `choose_split`.

    Raises:
        OutputError: the file cannot be written.
    """
    named = {
        domain: asdict(NamedSplit.of(split, names))
        for domain, split, names in zip(data.domains, splits, data.training_names, strict=True)
    }
    write_text(out / SPLIT, json.dumps(named, indent=0) + "\n")  # in ASCII: file names may be no UTF-8


def _read_split(path: Path, domains: Sequence[str]) -> list[NamedSplit]:
    """Each domain's stored split.

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
            f"cannot read {path}, which says what the run was trained on: {error}",
            remedy="restore the file, or train a new run in another --out; without the file, --resume may "
            "train on validation images",
        ) from error
    return [NamedSplit(tuple(train), tuple(validation)) for train, validation in parts]
