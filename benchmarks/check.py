"""How well the check of a model tells its training data from other data, without training a model.

    python -m benchmarks.check cars3d=CARS facades=FACADES emoji=EMOJI glyphs= digits=DIGITS
    python -m benchmarks.check cars3d=CARS emoji=EMOJI doom=DOOM scenes= charts= --stored 128

The check does not depend on the model, so it is calibrated as training would do it, with training images in
the size and channels of the set's configuration (`--size` for another). New images are the test images of
the set, foreign ones those of the other sets. A set is a shipped configuration, with its folder if it needs
one, or pictures drawn here (`benchmarks.drawn`). The results are results.json and results.md: AUROC
and images flagged at percentile 99 for each ordered pair, and false alarms with intervals, over groups where
test images are of new domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tyro.conf import Positional

from benchmarks.common import read_options
from benchmarks.drawn import KINDS, draw_many
from sivae_translate.config import DataConfig, load_config
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.data.loading import at_root, load_data
from sivae_translate.data.splits import split_training
from sivae_translate.data.tensors import read_batch, to_tensor
from sivae_translate.evaluation.intervals import Interval, proportion
from sivae_translate.evaluation.separation import auroc
from sivae_translate.models import neighbours
from sivae_translate.models.typicality import Look, NeighbourCalibration, look
from sivae_translate.training.calibrating import calibrate
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.progress import track
from sivae_translate.utils.resources import config_path
from sivae_translate.utils.tables import markdown_table

PERCENTILE = 99
VALIDATION = 0.05
DRAWN_TRAINING, DRAWN_TESTS = 3000, 1500
BATCH = 64
RESAMPLES = 1000


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    sets: Positional[tuple[str, ...]]
    """NAME=FOLDER for each set; without a folder for glyphs and drawn pictures."""
    size: int | None = None
    """Side of all images in pixels; default: that of each set's configuration, 64 without one."""
    stored: int = neighbours.STORED
    """Number of training images that are stored as neighbours."""
    components: int = neighbours.COMPONENTS
    """Number of principal components."""
    limit: int = 2000
    """Most test images of each set, chosen at random."""
    out: Path = Path("runs/check")


@dataclass(frozen=True)
class Form:
    """How a set is read: its configuration in its own size and channels, and its name."""

    name: str
    config: DataConfig

    def load(self, size: int, channels: int) -> DomainData:
        """The set in any size and channels."""
        config = self.config.model_copy(update={"image_size": size, "channels": channels})
        if self.name not in KINDS:
            return load_data(config)
        images = draw_many(self.name, DRAWN_TRAINING + DRAWN_TESTS, size, seed=0)
        if channels == 1:
            images = np.round(images @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)[..., None]
        train, test = (ArrayImages(some) for some in np.split(images, [DRAWN_TRAINING]))
        return DomainData((self.name,), (train,), (test,))


def run(options: Options) -> None:
    """Compare every set with every other one."""
    neighbours.STORED, neighbours.COMPONENTS = options.stored, options.components
    forms = [_form(text, options.size) for text in options.sets]
    rows: list[dict[str, Any]] = []
    for form in forms:
        size, channels = form.config.image_size, form.config.channels
        data = form.load(size, channels)
        calibration = _calibrate(data, (channels, size, size))
        known, groups = _tests(data, options.limit)
        own = calibration.scores(known).max(1)
        alarms = _alarms(own, calibration, groups if data.new_domains else None)
        for other in track([other for other in forms if other != form], form.name):
            foreign, _ = _tests(other.load(size, channels), options.limit)
            scores = calibration.scores(foreign).max(1)
            flagged = proportion(int(_flags(scores, calibration).sum()), len(scores))
            row = {"known": form.name, "foreign": other.name, "auroc": auroc(own, scores)}
            sizes = {"images": len(own), "ranked": len(calibration.levels)}
            rows.append({**row, "flagged": asdict(flagged), "false_alarms": asdict(alarms), **sizes})
        write_json(options.out / "results.json", rows)
        write_text(options.out / "results.md", table(rows))
    print(table(rows))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """AUROC and flagged images of each pair, with the mean and the worst, and false alarms of each set."""
    lines = [
        [
            row["known"],
            row["foreign"],
            f"{row['auroc']:.3f}",
            f"{row['flagged']['mean']:.1%}",
            "{mean:.1%} ({low:.1%} to {high:.1%})".format(**row["false_alarms"]),
            str(row["images"]),
            str(row["ranked"]),
        ]
        for row in rows
    ]
    values = [row["auroc"] for row in rows]
    header = ["known", "foreign", "AUROC", "flagged", "false alarms", "images", "ranked among"]
    closing = f"mean AUROC {np.mean(values):.4f}, worst {min(values):.3f}, {len(values)} pairs"
    return "\n".join([*markdown_table(header, lines), "", closing]) + "\n"


def _form(text: str, size: int | None) -> Form:
    name, _, folder = text.partition("=")
    config = DataConfig(image_size=64) if name in KINDS else load_config(config_path(name)).data
    config = at_root(config, Path(folder)) if folder else config
    return Form(name, config.model_copy(update={"image_size": size}) if size else config)


def _calibrate(data: DomainData, shape: tuple[int, ...]) -> NeighbourCalibration:
    """The calibration that training would store."""
    splits = split_training(data.train, VALIDATION)
    names = data.training_names
    calibration = calibrate(splits, names, lambda at, some: read_batch(data.train[at], some, shape, print))
    assert calibration is not None
    return calibration


def _tests(data: DomainData, limit: int) -> tuple[Look, np.ndarray]:
    """What is measured of test images, and the domain of each."""
    places = [(domain, place) for domain, source in enumerate(data.test) for place in range(len(source))]
    chosen = [places[index] for index in np.random.default_rng(0).permutation(len(places))[:limit]]
    images = [data.test[domain][place] for domain, place in chosen]
    parts = [look(to_tensor(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    looks = Look(*(torch.cat(some) for some in zip(*parts, strict=True)))
    return looks, np.array([domain for domain, _ in chosen])


def _flags(scores: np.ndarray, calibration: NeighbourCalibration) -> np.ndarray:
    """Whether each score reaches the percentile."""
    verdicts = calibration.ranked(scores, [""] * len(scores))
    return np.array([verdict.percentile >= PERCENTILE for verdict in verdicts])


def _alarms(scores: np.ndarray, calibration: NeighbourCalibration, groups: np.ndarray | None) -> Interval:
    """Share of known images that are flagged: Wilson's interval, or a bootstrap over groups."""
    flags = _flags(scores, calibration)
    if groups is None:
        return proportion(int(flags.sum()), len(flags))
    parts = [flags[groups == group] for group in np.unique(groups)]
    sums, sizes = np.array([part.sum() for part in parts]), np.array([len(part) for part in parts])
    drawn = np.random.default_rng(0).integers(len(parts), size=(RESAMPLES, len(parts)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return Interval(float(flags.mean()), float(low), float(high))


if __name__ == "__main__":
    run(read_options(Options, __doc__))
