"""The page about data loaders: its script runs, and what it warns of is true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, blocks
from tests.docs.test_examples import workplace  # noqa: F401 - a fixture

SECONDS = 120


@pytest.mark.full
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_workers_load_a_translator_of_their_own(method: str, workplace: Path) -> None:  # noqa: F811
    if method == "fork" and sys.platform != "linux":
        pytest.skip("forks on Linux alone")
    (code,) = blocks(DOCS / "howto" / "data-loader.md", "python")
    script = workplace / "script.py"
    script.write_text(code.replace('"spawn"', f'"{method}"'), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "(1, 3, 32, 32)", "(2, 3, 32, 32)", "(2, 3, 32, 32)"]
