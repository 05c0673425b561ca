"""The engine in bfloat16: weights cast once, results those of autocast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.operators import Operators
from sivae_translate.config import from_dict
from sivae_translate.inference.engine import Engine
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.weights import load_model
from sivae_translate.utils.devices import autocast

CPU = torch.device("cpu")


def published() -> LatentModel:
    settings = {
        "data": {"image_size": 32, "channels": 1},
        "model": {"kind": "published", "widths": [8, 8, 8], "latent_dim": 4},
    }
    config = from_dict(settings, "the test")
    torch.manual_seed(0)
    return make_model(config.model, config.data, 1).eval()


@pytest.mark.parametrize("kind", ["ours", "published"])
def test_weights_that_are_cast_once_give_what_autocast_gives(kind: str) -> None:
    model = Translator.from_pretrained("glyphs", device="cpu").model if kind == "ours" else published()
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    engine = Engine(model, device="cpu", dtype="bfloat16")
    placed = engine.place(images)
    with torch.inference_mode(), autocast(CPU, torch.bfloat16):
        expected = engine.model.decode(engine.model.encode(placed).mean)
    exact = Engine(model, device="cpu", dtype="float32").reconstruct(images)
    made = engine.reconstruct(images)
    torch.testing.assert_close(made, expected, atol=2e-2, rtol=0)
    assert 0 < (made - exact).abs().max() < 5e-2  # it is bfloat16 indeed


def test_bfloat16_dispatches_no_more_operators_than_float32() -> None:
    counts = {}
    for dtype in ("bfloat16", "float32"):
        engine = Translator.from_pretrained("glyphs", device="cpu", dtype=dtype).engine  # type: ignore[arg-type]
        images, style = torch.rand(2, 1, 32, 32), engine.prior_mean(1).expand(2, -1)
        with Operators() as operators:
            engine.translate(images, style)
        counts[dtype] = operators.count
    assert counts["bfloat16"].total() <= counts["float32"].total() < 300
    assert counts["bfloat16"]["to"] + counts["bfloat16"]["_to_copy"] < 20


def test_a_model_keeps_its_weights_in_float32(tmp_path: Path) -> None:
    translator = Translator.from_pretrained("glyphs", device="cpu", dtype="bfloat16")
    before = {name: value.clone() for name, value in translator.model.state_dict().items()}
    translator.to("cpu")
    translator.save(tmp_path / "model.safetensors")
    after = load_model(tmp_path / "model.safetensors").model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert {value.dtype for value in translator.model.parameters()} == {torch.float32}
