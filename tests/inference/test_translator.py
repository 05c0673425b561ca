"""The Translator as its users call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.data.processor import FitPolicy
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.translator import Translator
from sivae_translate.models.codes import Codes
from sivae_translate.utils.errors import CheckpointError, ConfigError, InputError
from tests.conftest import with_fit


def same(a: Any, b: Any) -> Any:
    return np.array_equal(np.asarray(a), np.asarray(b))


def test_every_kind_of_input_with_the_same_pixels_gives_the_same_result(
    translator: Translator, pixels: np.ndarray, tmp_path: Path
) -> None:
    array = pixels[0]
    image = Image.fromarray(array)
    image.save(tmp_path / "a.png")
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    expected = translator(image, "dogs")
    kinds = [
        str(tmp_path / "a.png"),
        tmp_path / "a.png",
        array,
        array / 255.0,
        tensor,
        tensor.float() / 255,
        image.convert("RGBA"),
    ]
    for kind in kinds:
        assert same(translator(kind, "dogs"), expected)


@pytest.mark.parametrize("most", [1, 2 * 32 * 32, 3 * 32 * 32])
def test_parts_of_a_batch_are_translated_as_the_whole(
    translator: Translator, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, most: Any
) -> None:
    styles = ["cats", "dogs", "foxes", "cats", "dogs"]
    codes = torch.cat([translator.style_code(name) for name in styles])
    whole = translator(pixels[:5], codes, output="tensor")
    sizes: list[int] = []
    forward = translator.model.translate

    def counted(images: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return forward(images, style)

    monkeypatch.setattr(translator.model, "translate", counted)
    monkeypatch.setattr("sivae_translate.inference.engine.CPU_PIXELS", most)
    torch.testing.assert_close(translator(pixels[:5], codes, output="tensor"), whole, atol=1e-4, rtol=0)
    assert sizes == {1: [1] * 5, 2: [2, 2, 1], 3: [3, 2]}[max(1, most // 1024)]


def test_one_image_gives_one_a_list_a_list_and_a_tensor_a_tensor(
    translator: Translator, pixels: np.ndarray
) -> None:
    images = list(pixels)
    one, many = translator(images[0], "cats"), translator(images, "cats", batch_size=2)
    tensor = translator(images, "cats", output="tensor")
    assert isinstance(one, Image.Image)
    assert len(many) == 5
    assert same(many[0], one)
    assert tensor.shape == (5, 3, 32, 32)
    assert 0 <= tensor.min() <= tensor.max() <= 1
    assert same(to_pil(tensor[3]), many[3])
    assert len(translator(pixels, "cats")) == 5


def test_styles_by_name_draw_reference_references_and_code(
    translator: Translator, pixels: np.ndarray
) -> None:
    mean = translator.style_code("dogs")
    assert torch.equal(mean[0], translator.model.style_prior.means[1])
    assert torch.equal(translator.style_code(("dogs", 3)), translator.style_code(("dogs", 3)))
    assert not torch.equal(translator.style_code(("dogs", 3)), translator.style_code(("dogs", 4)))
    single = [translator.style_code(image) for image in pixels[:2]]
    torch.testing.assert_close(translator.style_code(list(pixels[:2])), (single[0] + single[1]) / 2)
    assert same(translator(pixels[0], mean), translator(pixels[0], "dogs"))
    assert same(translator(pixels[0], pixels[1]), translator(pixels[0], single[1]))


def test_one_style_code_an_image_is_accepted_and_another_number_refused(
    translator: Translator, pixels: np.ndarray
) -> None:
    codes = torch.cat([translator.style_code("cats"), translator.style_code("dogs")])
    results = translator(list(pixels[:2]), codes)
    assert same(results[1], translator(pixels[1], "dogs"))
    with pytest.raises(InputError, match="2 style codes for 3 images"):
        translator(list(pixels[:3]), codes)


def test_swap_exchanges_styles(translator: Translator, pixels: np.ndarray) -> None:
    a, b = translator.swap(pixels[0], pixels[1])
    assert same(a, translator(pixels[0], pixels[1]))
    assert same(b, translator(pixels[1], pixels[0]))


def test_interpolation_begins_and_ends_at_the_reconstructions(
    translator: Translator, pixels: np.ndarray
) -> None:
    path = translator.interpolate(pixels[0], pixels[1], steps=4)
    assert len(path) == 4
    assert same(path[0], translator.reconstruct(pixels[0]))
    assert same(path[-1], translator.reconstruct(pixels[1]))
    by_style = translator.interpolate(pixels[0], pixels[1], steps=3, what="style")
    assert same(by_style[-1], translator(pixels[0], pixels[1]))
    with pytest.raises(InputError, match="steps is 1"):
        translator.interpolate(pixels[0], pixels[1], steps=1)
    with pytest.raises(InputError, match="'codes' cannot be interpolated"):
        translator.interpolate(pixels[0], pixels[1], what="codes")


def test_encode_then_decode_is_reconstruct(translator: Translator, pixels: np.ndarray) -> None:
    posterior = translator.encode(list(pixels), batch_size=2)
    assert posterior.content.mean.shape == (5, 4, 4, 4)
    assert posterior.style.mean.shape == (5, 8)
    rebuilt = translator.decode(Codes(posterior.content.mean, posterior.style.mean))
    assert same(to_pil(rebuilt[2]), translator.reconstruct(list(pixels))[2])


def test_samples_repeat_with_their_seed(translator: Translator) -> None:
    first, again, other = (translator.sample("foxes", 2, seed=seed) for seed in (0, 0, 1))
    assert same(first[0], again[0])
    assert not same(first[0], other[0])
    with pytest.raises(InputError, match="needs a domain"):
        translator.sample()


def test_odd_sizes_and_grey_are_prepared_as_in_training(translator: Translator, pixels: np.ndarray) -> None:
    wide = Image.fromarray(pixels[0]).resize((90, 41))
    assert translator(wide, "cats").size == (32, 32)
    assert translator(wide.convert("L"), "cats").mode == "RGB"


@pytest.mark.parametrize("fit", ["contain", "stretch"])
def test_results_have_the_shape_of_their_inputs_on_request(
    translator: Translator, pixels: np.ndarray, fit: FitPolicy
) -> None:
    wide = Image.fromarray(pixels[0]).resize((90, 41))
    fitting = with_fit(translator, fit)
    square = fitting(wide, "cats", output="tensor")
    restored = fitting([wide], "cats", size="input")[0]
    assert restored.size == (90, 41)
    # Without the padding: the rows of the square that show the picture, scaled to its shape.
    rows = slice(8, 23) if fit == "contain" else slice(None)
    expected = to_pil(square[0][:, rows]).resize((90, 41), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(restored), np.asarray(expected))


@pytest.mark.parametrize(
    ("images", "style", "options", "message"),
    [
        (np.zeros((4, 4), np.uint8), "dosg", {}, "did you mean 'dogs'"),
        (np.zeros((4, 4, 7), np.uint8), "dogs", {}, "shape"),
        (np.full((4, 4), 2.0), "dogs", {}, "0, 1"),
        (3.5, "dogs", {}, "float"),
        ([], "dogs", {}, "empty list"),
        (np.zeros((4, 4), np.uint8), "dogs", {"output": "jpg"}, "output"),
        (np.zeros((4, 4), np.uint8), "dogs", {"batch_size": 0}, "batch_size"),
        (np.zeros((4, 4), np.uint8), "dogs", {"batch_size": 2.5}, "batch_size is 2.5"),
        (np.zeros((4, 4), np.uint8), "dogs", {"batch_size": "8"}, "batch_size is '8'"),
        (np.zeros((4, 4), np.uint8), "dogs", {"percentile": "99", "check": "warn"}, "percentile is 99"),
        (np.zeros((4, 4), np.uint8), "dogs", {"percentile": np.nan, "check": "warn"}, "percentile is nan"),
        (np.zeros((4, 4), np.uint8), "dogs", {"tile": 32.0, "size": "input"}, "tile is 32.0"),
        (np.zeros((4, 4), np.uint8), "dogs", {"tile": 64, "overlap": 0.5, "size": "input"}, "overlap is 0.5"),
        (np.zeros((4, 4), np.uint8), "dogs", {"keep_detail": "no", "size": "input"}, "keep_detail is 'no'"),
        (np.zeros((4, 4), np.uint8), ("dogs", 1.5), {}, "the seed is 1.5"),
        (np.zeros((4, 4), np.uint8), "dogs", {"output": "tensor", "size": "input"}, "several sizes"),
    ],
)
def test_wrong_arguments_are_explained(
    translator: Translator, images: Any, style: Any, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        translator(images, style, **options)


def test_counts_of_other_types_are_explained(translator: Translator, pixels: np.ndarray) -> None:
    for work in (
        lambda: translator.typicality(pixels[0], batch_size=0),
        lambda: translator.encode(pixels[0], batch_size=1.5),  # type: ignore[arg-type]
        lambda: translator.interpolate(pixels[0], pixels[1], 2.5),  # type: ignore[arg-type]
        lambda: translator.sample("dogs", 0),
        lambda: translator.sample("dogs", 1.5),  # type: ignore[arg-type]
        lambda: translator.sample(3),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError):
            work()


def test_seeds_may_be_those_of_numpy(translator: Translator, pixels: np.ndarray) -> None:
    assert same(translator(pixels[0], ("dogs", np.int64(3))), translator(pixels[0], ("dogs", 3)))


def test_models_load_from_a_run_a_file_and_a_name_alike(tiny_run: Path, pixels: np.ndarray) -> None:
    by_run, by_file = (
        Translator.from_pretrained(tiny_run),
        Translator.from_pretrained(tiny_run / "model.safetensors"),
    )
    assert same(by_run(pixels[0], "dogs"), by_file(pixels[0], "dogs"))
    assert by_run.domains == ("cats", "dogs", "foxes")


def test_the_number_format_is_the_users_choice(tiny_run: Path, pixels: np.ndarray) -> None:
    formats = {
        name: Translator.from_pretrained(tiny_run, device="cpu", dtype=name)
        for name in ("float32", "bfloat16")
    }
    exact, short = (t(pixels[:2], "dogs", output="tensor") for t in formats.values())
    assert not torch.equal(exact, short)
    torch.testing.assert_close(exact, short, rtol=0, atol=0.05)
    with pytest.raises(ConfigError, match="auto, float32, bfloat16"):
        Translator.from_pretrained(tiny_run, dtype="int8")


def test_missing_foreign_and_damaged_models_are_explained(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="glyphs"):
        Translator.from_pretrained("nothing-here")
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        Translator.from_pretrained(tmp_path)
    whole = (tiny_run / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        Translator.from_pretrained(tmp_path / "cut.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(CheckpointError, match="not a model of this library"):
        Translator.from_pretrained(foreign)


def test_the_shipped_model_writes_a_held_out_letter_in_another_font() -> None:
    from sivae_translate.data.sources import glyphs

    translator, letter = Translator.from_pretrained("glyphs"), ord("E")
    assert letter in glyphs.split().test
    source = glyphs.draw("dejavu-sans", letter, 32) / 255.0
    for target in ("dejavu-sans-bold-oblique", "dejavu-serif"):
        made = translator(source, target, output="tensor")[0, 0].numpy()
        truth = glyphs.draw(target, letter, 32) / 255.0
        assert np.abs(made - truth).mean() < 0.7 * np.abs(source - truth).mean()
