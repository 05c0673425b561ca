"""Python in the documentation runs."""

from __future__ import annotations

import doctest
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.inference.cluster import write_manifest
from sivae_translate.inference.export import export
from sivae_translate.inference.translator import Translator
from sivae_translate.models.alexnet import FEATURES
from sivae_translate.models.typicality import Look, NeighbourCalibration
from tests.docs.pages import DOCS, ROOT, blocks, name

RUN = [
    ROOT / "README.md",
    DOCS / "tutorial.md",
    DOCS / "data.md",
    DOCS / "training.md",
    DOCS / "translating.md",
    DOCS / "export.md",
    DOCS / "howto" / "translate-a-folder.md",
    DOCS / "howto" / "references-and-seeds.md",
    DOCS / "howto" / "calibrate-the-check.md",
    DOCS / "howto" / "ray-cluster.md",
    DOCS / "howto" / "share-a-model.md",
]
"""Pages whose Python is run from top to bottom, in a folder as the tutorial lays it out."""
BUDGET, SHORT = (
    '"training.minutes": 60',
    '"training.steps": 2, "model.widths": [8, 8, 8, 8], "data.workers": 0',
)
"""An hour of training in an example, and what the test does instead."""
PACKAGE = ROOT / "sivae_translate"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
"""Modules with examples in their docstrings."""


@pytest.fixture
def workplace(
    tmp_path: Path, translator: Translator, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """images/{train,test}/{day,night}/00N.png and runs/mine, an untrained model of both domains."""
    for domain, shift in (("day", 0), ("night", 100)):
        for part in ("train", "test"):
            folder = tmp_path / "images" / part / domain
            folder.mkdir(parents=True)
            for number, image in enumerate(pixels, 1):
                Image.fromarray(image // 2 + shift).save(folder / f"{number:03d}.png")
    generator = torch.Generator().manual_seed(0)
    looks = [Look(torch.rand(40, FEATURES, generator=generator), torch.rand(40).double()) for _ in range(2)]
    calibration = NeighbourCalibration.fit(*looks)
    domains = ("day", "night", "dusk")
    model = Translator(translator.model, translator.config, domains, device="cpu", calibration=calibration)
    Image.fromarray(pixels[0]).save(tmp_path / "letter.png")
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    model.save(tmp_path / "runs" / "mine" / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(page: Path, workplace: Path) -> None:
    """What a page's commands leave behind before its Python runs."""
    if page.stem == "export":
        export(Translator.from_pretrained("runs/mine", device="cpu"), workplace / "exported")
    if page.stem == "training":
        shutil.rmtree(workplace / "runs" / "mine")
    if page.stem == "ray-cluster":
        row = {"source": "day/001.png", "target": "night/001.png", "reason": "", "unusual": ""}
        rows = [{**row, "status": "written"}, {**row, "source": "day/002.png", "status": "unreadable"}]
        write_manifest(str(workplace / "night" / "manifest.parquet"), rows)


@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_python_of_a_page_runs(page: Path, workplace: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    assert code
    assert (BUDGET in code) == (page.stem == "training")
    code = code.replace(BUDGET, SHORT)
    prepare(page, workplace)
    exec(compile(code, str(page), "exec"), {"__name__": page.stem})


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_are_right(module: str, workplace: Path) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted, "no example any more"
    assert not result.failed
