"""Modules and functions stay short enough to read; what is longer is listed, and the list only shrinks."""

from __future__ import annotations

import ast
from pathlib import Path

import sivae_translate

PACKAGE = Path(sivae_translate.__file__).parent
MODULE_LINES, FUNCTION_LINES = 350, 50
LONG = {
    # The class that most people import, with everything it can do; a third is docstrings and overloads.
    "inference/translator.py": 420,
    # To be split.
}
"""What may be longer, up to so many lines; nothing is added to it without a reason beside it."""


def functions_of(source: str) -> dict[str, int]:
    """Lines of every function and method by name, without decorators; the longest of equal names."""
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines[node.name] = max(lines.get(node.name, 0), node.end_lineno - node.lineno + 1)
    return lines


def long_parts() -> dict[str, int]:
    """Lines of what is longer than allowed: ``folder/module.py`` or ``folder/module.py:function``."""
    lines: dict[str, int] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        source, name = path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).as_posix()
        if (count := len(source.splitlines())) > MODULE_LINES:
            lines[name] = count
        long = {key: count for key, count in functions_of(source).items() if count > FUNCTION_LINES}
        lines |= {f"{name}:{key}": count for key, count in long.items()}
    return lines


def test_nothing_new_is_long() -> None:
    long = {name: count for name, count in long_parts().items() if count > LONG.get(name, 0)}
    assert not long, f"longer than {MODULE_LINES} lines a module, {FUNCTION_LINES} a function, or than listed"


def test_functions_are_measured_at_any_depth() -> None:
    source = "class A:\n    def f(self):\n        def g():\n            pass\n        return g"
    assert functions_of(source) == {"f": 4, "g": 2}
