"""Log of a run's metrics, as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sivae_translate.utils.files import cannot_write, write_text


class MetricsLog:
    """Appends to metrics.jsonl.

    Lines after the step that a run resumes from or rolls back to are removed, so that no step occurs twice.

    Args:
        folder: the run folder.
        resumed_step: step of the checkpoint; 0 for a new run.
    """

    def __init__(self, folder: Path, resumed_step: int) -> None:
        self.path = folder / "metrics.jsonl"
        self.forget_after(resumed_step)

    def forget_after(self, step: int) -> None:
        """Remove lines after a step, and damaged lines."""
        earlier = [line for line in read_metrics(self.path.parent) if line["step"] <= step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in earlier))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a line.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """All lines of a run's metrics.jsonl except damaged ones."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = map(_parsed, path.read_text(encoding="utf-8", errors="replace").splitlines())
    return [line for line in lines if line is not None]


def _parsed(line: str) -> dict[str, float] | None:
    """The numbers of a line by name, including an integer "step"; None for anything else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    return values if all(isinstance(value, int | float) for value in values.values()) else None
