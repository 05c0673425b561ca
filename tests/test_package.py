"""The wheel works outside the checkout, assets included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

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
    out = tmp_path_factory.mktemp("wheel")
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
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(out.glob("*.whl"))


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
