"""``sivae-translate compare``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sivae_translate.cli.common import show
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Compare:
    """Compare the reports of several benchmark runs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Output folders of the command 'benchmark'."""


def run(command: Compare) -> int:
    """``sivae-translate compare``."""
    from sivae_translate.studies.benchmark_report import compare_reports

    if not command.runs:
        raise ConfigError(
            "no report is named", remedy="sivae-translate compare runs/benchmark-a runs/benchmark-b"
        )
    show(compare_reports(command.runs))
    return 0
