"""Exported graphs compute what the model computes, for any number of images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from sivae_translate.cli import main
from sivae_translate.config import from_dict
from sivae_translate.inference import export
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Codes
from sivae_translate.utils.errors import InputError


@pytest.fixture(scope="module", params=["onnx", "torch"])
def exported(request: pytest.FixtureRequest, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    translator = Translator.from_pretrained(tiny_run, device="cpu", dtype="float32")
    return request.param, export.export(
        translator, tmp_path_factory.mktemp(request.param) / "out", request.param
    )


def run(form: Any, path: Path, *inputs: Any) -> Any:
    if form == "torch":
        return torch.export.load(path.with_suffix(".pt2")).module()(*inputs).detach().numpy()
    session = onnxruntime.InferenceSession(str(path.with_suffix(".onnx")))
    names = [node.name for node in session.get_inputs()]
    return session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})[0]


@pytest.mark.parametrize("count", [1, 5])
def test_translations_are_the_models(
    exported: Any, translator: Translator, pixels: np.ndarray, count: int
) -> None:
    form, folder = exported
    images = torch.from_numpy(pixels[:count]).permute(0, 3, 1, 2).contiguous() / 255
    about = json.loads((folder / "model.json").read_text())
    style = torch.tensor(about["styles"]["dogs"]).expand(count, -1).contiguous()
    expected = translator(images, "dogs", output="tensor").numpy()
    np.testing.assert_allclose(run(form, folder / "translate", images, style), expected, atol=1e-4)


def test_styles_are_the_models(exported: Any, translator: Translator, pixels: np.ndarray) -> None:
    form, folder = exported
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous() / 255
    found = run(form, folder / "style", images)
    np.testing.assert_allclose(found, translator.encode(images).style.mean.numpy(), atol=1e-4)
    codes = Codes(translator.encode(images).content.mean, torch.from_numpy(found))
    made = run(form, folder / "translate", images, torch.from_numpy(found))
    np.testing.assert_allclose(made, translator.decode(codes).numpy(), atol=1e-4)


def test_what_an_input_must_look_like_is_written_down(exported: Any) -> None:
    about = json.loads((exported[1] / "model.json").read_text())
    assert about["image"] == {"channels": 3, "size": 32, "range": [0, 1], "fit": "cover"}
    assert sorted(about["styles"]) == ["cats", "dogs", "foxes"]
    assert len(about["styles"]["cats"]) == about["style_dim"] == 8


def test_a_wrong_graph_is_not_kept(
    translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_torch", lambda *given: lambda inputs: torch.zeros(3, 3, 32, 32))
    with pytest.raises(export.ExportError, match="'translate' differs"):
        export.export(translator, tmp_path / "out", "torch")
    assert not list(tmp_path.iterdir())


def test_wrong_calls_say_what_to_do(translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        export.export(translator, tmp_path)
    settings = {"model": {"kind": "plain", "widths": [4, 4, 4, 4]}, "data": {"image_size": 32}}
    config = from_dict(settings, "test")
    plain = Translator(make_model(config.model, config.data, 1), config, ("",), device="cpu")
    with pytest.raises(InputError, match="plain"):
        export.export(plain, tmp_path / "out")


def test_the_command(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tiny_run), "--format", "torch", "--out", str(tmp_path / "out")])
    assert stop.value.code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "translate.pt2",
        "style.pt2",
        "model.json",
    }
    assert "translate.pt2" in capsys.readouterr().err


def test_onnxruntime_is_told_not_to_report(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    with pytest.raises(SystemExit):
        main(["export", str(tiny_run), "--out", str(tmp_path / "out")])
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_folder_that_the_runtimes_cannot_name_is_refused(translator: Translator, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no UTF-8"):
        export.export(translator, tmp_path / "caf\udce9")
    assert not list(tmp_path.iterdir())
