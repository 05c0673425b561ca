"""The public names, written down: none comes, moves or vanishes unnoticed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sivae_translate

ROOT = Path(__file__).resolve().parent.parent

PUBLIC = (ROOT / "tests" / "public_names.txt").read_text(encoding="utf-8").split()


def test_no_public_name_has_vanished() -> None:
    assert set(PUBLIC) <= set(sivae_translate.__all__), "removed from the public interface"


@pytest.mark.parametrize("name", sivae_translate.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    assert getattr(sivae_translate, name).__doc__
    assert name in dir(sivae_translate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = sivae_translate.Nothing


def test_the_import_is_light() -> None:
    probe = "import sys, sivae_translate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_the_version_has_one_home() -> None:
    setup = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    call = next(node for node in ast.walk(setup) if isinstance(node, ast.Call) and _name(node) == "setup")
    version = next(keyword.value for keyword in call.keywords if keyword.arg == "version")
    assert isinstance(version, ast.Call)
    assert f"version: {sivae_translate.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{sivae_translate.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""
