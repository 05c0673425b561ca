"""The package is layered: an import may only point left, and nothing new lies at its root."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sivae_translate

PACKAGE = Path(sivae_translate.__file__).parent
LAYERS = (
    {"utils"},
    {"config"},
    {"data"},
    {"models"},
    {"objectives", "inference"},
    {"training", "evaluation"},
    {"studies", "lab"},
    {"cli"},
)
"""From left to right. Rooms of one layer do not import each other."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
AT_THE_ROOT = {"__init__", "__main__"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imports_of(source: str) -> Iterator[str]:
    """Every module of the package that a source imports, at any depth, for types too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str | None:
    """``sivae_translate.data.image`` is in ``data``; None for what is no room of the package."""
    parts = module.split(".")
    return parts[1] if parts[0] == "sivae_translate" and len(parts) > 1 and parts[1] in LEVEL else None


def forbidden(room: str, source: str) -> list[str]:
    """Imports of a source in a room that do not point left."""
    targets = {module: room_of(module) for module in imports_of(source)}
    return sorted(
        module
        for module, target in targets.items()
        if target is not None and target != room and LEVEL[target] >= LEVEL[room]
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_left(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    assert forbidden(room, path.read_text(encoding="utf-8")) == []


def test_the_rule_sees_imports_that_point_right() -> None:
    inside = "def f():\n    from sivae_translate.training.step import Stepper"
    assert forbidden("models", f"{inside}\nimport sivae_translate.inference.export") == [
        "sivae_translate.inference.export",
        "sivae_translate.training.step",
        "sivae_translate.training.step.Stepper",
    ]
    assert forbidden("objectives", "from sivae_translate.inference import engine")
    assert forbidden("training", "from sivae_translate.models.codes import Codes") == []


def test_nothing_new_lies_at_the_root() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == AT_THE_ROOT
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms - {"assets", "configs"} == set(LEVEL)
