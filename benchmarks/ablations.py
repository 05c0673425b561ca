"""Ablations: the same benchmark, network, seed and budget, with one part of the method removed at a time.

    python -m benchmarks.ablations --config demo --minutes 5
    python -m benchmarks.ablations --config cars3d --data FOLDER --minutes 10

Every arm has the same minutes, so a part that costs time has to be worth it. Parts that the configuration
does not use have no arm. A repeated call continues. The results are results.json and results.md. Run it on an
otherwise idle machine, or on a core that nothing else uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.common import read_options_and_settings
from sivae_translate.config import load_config
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import StyleKind
from sivae_translate.evaluation.suite import MetricSuite
from sivae_translate.evaluation.translation import evaluate
from sivae_translate.inference.translator import Translator
from sivae_translate.models.lpips import Lpips
from sivae_translate.training.launch import train
from sivae_translate.utils.files import write_json, write_text
from sivae_translate.utils.resources import config_path
from sivae_translate.utils.tables import markdown_table

ArmName = Literal[
    "everything",
    "no introspection",
    "no translations among the fakes",
    "no capacity schedule",
    "no back-translation",
    "no prior means as styles",
    "no rate of their own for prior means",
    "no consistency of fakes' codes",
    "no LPIPS in the error",
]
ARMS: dict[str, dict[str, object]] = {
    "everything": {},
    "no introspection": {"objective.introspection_from": 1.0},
    "no translations among the fakes": {"objective.prior_samples": 1.0},
    "no capacity schedule": {"objective.content_open_at": 0.0},
    "no back-translation": {"objective.back_translation": 0.0},
    "no prior means as styles": {"objective.prior_style": 0.0},
    "no rate of their own for prior means": {"training.means_rate": 1.0},
    "no consistency of fakes' codes": {
        "objective.content_consistency": 0.0,
        "objective.style_consistency": 0.0,
    },
    "no LPIPS in the error": {"objective.perceptual": 0.0},
}
"""Settings that remove each part."""


def run(
    name: str,
    out: Path,
    *,
    minutes: float,
    style: StyleKind,
    overrides: dict[str, object],
    arms: Sequence[str] | None,
    limit: int | None,
) -> None:
    """Train and evaluate every arm; results are written after each."""
    data = load_data(load_config(config_path(name), overrides).data)
    suite = MetricSuite(Lpips.load())
    rows: list[dict[str, Any]] = []
    for arm in arms or used(name, overrides):
        settings = {**overrides, **ARMS[arm], "training.minutes": minutes, "training.picture_every": 0}
        folder = train(
            load_config(config_path(name), settings), out / arm.replace(" ", "-"), data=data, resume=True
        )
        translator = Translator.from_pretrained(folder)
        result = evaluate(translator, data, style=style, suite=suite, limit=limit)
        row: dict[str, Any] = {
            "arm": arm,
            "steps": translator.facts["steps"],
            "minutes": translator.facts["minutes"],
        }
        row |= {name: interval.mean for name, interval in result.overall.items()}
        row |= {name: probe.accuracy for name, probe in result.probes.items()}
        rows.append(row)
        write_json(out / "results.json", {"config": name, "style": style, "rows": rows})
        write_text(out / "results.md", table(rows))
        print(table(rows[-1:]), flush=True)


def used(name: str, overrides: dict[str, object]) -> list[str]:
    """The arms that remove a part that the configuration has."""
    configs = {arm: load_config(config_path(name), overrides | settings) for arm, settings in ARMS.items()}
    whole = configs["everything"]
    return ["everything", *(arm for arm, config in configs.items() if config != whole)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table with one row per arm and every metric that all arms have."""
    columns = [key for key in rows[0] if key != "arm" and all(key in row for row in rows)]
    cells = ([row["arm"], *(f"{row[key]:.4g}" for key in columns)] for row in rows)
    return "\n".join(markdown_table(["left out", *columns], cells)) + "\n"


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    config: str = "demo"
    data: Path | None = None
    """Folder or zip file, if the configuration needs one."""
    minutes: float = 5
    style: StyleKind = "domain"
    arms: tuple[ArmName, ...] | None = None
    """Parts to remove; default: every part that the configuration has."""
    limit: int | None = None
    """Test images per domain."""
    out: Path = Path("runs/ablations")


if __name__ == "__main__":
    given, settings = read_options_and_settings(Options, __doc__)
    run(
        given.config,
        given.out,
        minutes=given.minutes,
        style=given.style,
        overrides=settings,
        arms=given.arms,
        limit=given.limit,
    )
