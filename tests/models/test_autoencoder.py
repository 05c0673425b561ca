"""Autoencoders: their latents as views, and the layouts of files that they are read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sivae_translate.models.autoencoder import (
    CHANNELS,
    DEVIATIONS,
    WIDTHS,
    Autoencoder,
    small_autoencoder,
)
from sivae_translate.models.autoencoder_files import (
    FILE,
    autoencoder_like,
    has_statistics,
    load_autoencoder,
    save_autoencoder,
)
from sivae_translate.models.spaces import Pixels
from sivae_translate.models.tiny_autoencoder import TinyBlock, tiny_autoencoder
from sivae_translate.utils.errors import CheckpointError, ConfigError
from sivae_translate.utils.tensor_files import write_tensors

Builder = Any


@pytest.fixture
def small() -> Autoencoder:
    torch.manual_seed(0)
    autoencoder = small_autoencoder(3, 5, (4, 6, 8)).eval().requires_grad_(False)
    autoencoder.fit_statistics(autoencoder.latents(torch.rand(8, 3, 32, 32)))
    return autoencoder


def test_pixels_are_their_own_views() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert Pixels().encode(images) is images
    assert Pixels().decode(images) is images
    assert Pixels().shape((3, 8, 8)) == (3, 8, 8)
    assert not Pixels().state_dict()


@pytest.mark.parametrize("factor", [4, 8])
def test_latents_are_a_factor_smaller(factor: int) -> None:
    autoencoder = small_autoencoder(3, CHANNELS[factor], WIDTHS[factor])
    assert autoencoder.factor == factor
    views = autoencoder.encode(torch.rand(2, 3, 64, 32))
    assert views.shape == (2, CHANNELS[factor], 64 // factor, 32 // factor)
    assert autoencoder.shape((3, 64, 32)) == views.shape[1:]
    assert autoencoder.decode(views).shape == (2, 3, 64, 32)
    with pytest.raises(ConfigError, match="30 x 64") as caught:
        autoencoder.shape((3, 30, 64))
    assert f"multiple of {factor}" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("autoencoder", "channels"),
    [
        (small_autoencoder(3, 4, (4, 4)), 1),
        (small_autoencoder(1, 4, (4, 4)), 3),
        (tiny_autoencoder(4, pooled=False), 1),
    ],
)
def test_images_of_other_channels_are_refused(autoencoder: Autoencoder, channels: int) -> None:
    with pytest.raises(ConfigError, match=f"data.channels is {channels}, but"):
        autoencoder.shape((channels, 32, 32))


@pytest.mark.parametrize(
    ("image_channels", "channels", "factor"), [(3, 16, 4), (3, 32, 8), (1, 16, 4), (3, 5, 4)]
)
def test_the_linear_path_starts_as_low_frequencies_of_a_patch(
    image_channels: int, channels: int, factor: int
) -> None:
    autoencoder = small_autoencoder(image_channels, channels, (4,) * (factor.bit_length()))
    assert autoencoder.factor == factor
    images = torch.rand(2, image_channels, 16, 16)
    with torch.no_grad():
        for name in ("encoder.head.weight", "decoder.exit.weight"):
            autoencoder.get_parameter(name).zero_()
        once = autoencoder.rebuilt(autoencoder.latents(images))
        twice = autoencoder.rebuilt(autoencoder.latents(once))
        torch.testing.assert_close(twice, once, atol=1e-5, rtol=0)  # a projection
        patches = torch.rand(2, image_channels, 16 // factor, 16 // factor)
        flat = patches.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        torch.testing.assert_close(autoencoder.rebuilt(autoencoder.latents(flat)), flat, atol=1e-5, rtol=0)
        if channels == image_channels * factor**2:
            torch.testing.assert_close(once, images, atol=1e-5, rtol=0)  # nothing is left out


def test_views_have_the_middle_as_mean_and_deviations_of_a_fixed_share(small: Autoencoder) -> None:
    latents = small.latents(torch.rand(16, 3, 32, 32))
    small.fit_statistics(latents)
    unclamped = 0.5 + (latents - small.mean) / small.deviation / (2 * DEVIATIONS)
    torch.testing.assert_close(unclamped.mean((0, 2, 3)), torch.full((5,), 0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(unclamped.std((0, 2, 3)), torch.full((5,), 1 / (2 * DEVIATIONS)))
    torch.testing.assert_close(small.squeezed(latents), unclamped.clamp(0, 1))


def test_decoded_views_are_the_rebuilt_images(small: Autoencoder) -> None:
    images = torch.rand(3, 3, 32, 32)
    latents = small.latents(images)
    near = small.mean + (latents - small.mean).clamp(-3.9, 3.9) * small.deviation.clamp(max=1)
    torch.testing.assert_close(
        small.decode(small.squeezed(near)), small.rebuilt(near).clamp(0, 1), atol=1e-5, rtol=0
    )


def test_latents_beyond_the_ends_are_cut_off(small: Autoencoder) -> None:
    views = small.squeezed(
        small.mean + 100 * small.deviation * torch.tensor([1.0, -1, 1, -1, 1])[:, None, None]
    )
    assert views[:, 0, 0].tolist() == [1, 0, 1, 0, 1]


LAYOUTS: dict[str, Builder] = {
    "small": lambda: small_autoencoder(3, 5, (4, 6, 8)),
    "grey": lambda: small_autoencoder(1, 2, (4, 6, 8, 10)),
    "tiny": lambda: tiny_autoencoder(4, pooled=False),
    "pooled": lambda: tiny_autoencoder(6, pooled=True),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_gives_the_same_autoencoder_back(layout: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = LAYOUTS[layout]().eval()
    images = torch.rand(2, 1 if layout == "grey" else 3, 32, 32)
    with torch.no_grad():
        before.fit_statistics(before.latents(images))
        save_autoencoder(tmp_path / FILE, before)
        for source in (tmp_path, tmp_path / FILE):
            after = load_autoencoder(source)
            assert has_statistics(after)
            assert not any(value.requires_grad for value in after.parameters())
            assert after.factor == before.factor
            assert torch.equal(after.encode(images), before.encode(images))
            assert torch.equal(after.decode(after.encode(images)), before.decode(before.encode(images)))


def test_a_foreign_pair_of_files_has_no_statistics(tmp_path: Path) -> None:
    tiny = tiny_autoencoder(4, pooled=False)
    for half in ("encoder", "decoder"):
        write_tensors(tmp_path / f"any_{half}.safetensors", getattr(tiny, half).half().state_dict())
    loaded = load_autoencoder(tmp_path)
    assert not has_statistics(loaded)
    latents = torch.rand(1, 4, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(loaded.rebuilt(latents), tiny.float().rebuilt(latents))


def test_names_of_diffusers_are_understood(tmp_path: Path) -> None:
    """Its decoder counts from the convolution after the bound, which is a layer of its own here."""
    tiny = tiny_autoencoder(4, pooled=False)
    renamed = {}
    for name, value in tiny.state_dict().items():
        half, _, rest = name.partition(".")
        number, _, rest = rest.partition(".")
        if rest:
            renamed[f"{half}.layers.{int(number) - (half == 'decoder')}.{rest}"] = value
    assert "decoder.layers.0.weight" in renamed
    write_tensors(tmp_path / "diffusion_pytorch_model.safetensors", renamed)
    loaded, images = load_autoencoder(tmp_path), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.rebuilt(loaded.latents(images)), tiny.rebuilt(tiny.latents(images)))


def test_a_block_is_what_its_formula_says() -> None:
    block, x = TinyBlock(pooled=True), torch.randn(1, 64, 4, 4)
    assert block.pool is not None
    conv, pool = [block.conv[i] for i in (0, 2, 4)], block.pool
    with torch.no_grad():
        start = x + pool[3](torch.relu(pool[1](pool[0](x))))
        expected = torch.relu(conv[2](torch.relu(conv[1](torch.relu(conv[0](start))))) + start)
        torch.testing.assert_close(block(x), expected)


def test_what_is_no_autoencoder_is_one_clear_error(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(CheckpointError, match="no autoencoder 'nowhere'"):
        load_autoencoder("nowhere")
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        load_autoencoder(tmp_path)
    with pytest.raises(CheckpointError, match="computes on pixels"):
        load_autoencoder(tiny_run)
    (tmp_path / "odd.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot read an autoencoder"):
        load_autoencoder(tmp_path / "odd.safetensors")
    state = small_autoencoder(3, 5, (4, 6, 8)).state_dict()
    for name, change in {
        "without": {name: value for name, value in state.items() if name != "decoder.exit.bias"},
        "shape": {**state, "decoder.exit.bias": torch.zeros(4)},
        "more": {**state, "decoder.extra": torch.zeros(4)},
        "headless": {name: value for name, value in state.items() if name != "encoder.stem.weight"},
        "nan": {**state, "encoder.stem.bias": torch.full((4,), float("nan"))},
        "mean": {**state, "mean": torch.zeros(7, 1, 1)},
        "deviation": {**state, "deviation": torch.zeros(5, 1, 1)},
    }.items():
        write_tensors(tmp_path / f"{name}.safetensors", change)
        with pytest.raises(CheckpointError, match="cannot read an autoencoder"):
            load_autoencoder(tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"no tensor 'encoder\.downs"):
        autoencoder_like({"encoder.stem.weight": (4, 3, 3, 3), "encoder.head.weight": (5, 4, 3, 3)})


STEM, HEAD, DOWN = "encoder.stem.weight", "encoder.head.weight", "encoder.downs.{}.weight"
WHOLE = {STEM: (4, 3, 3, 3), HEAD: (5, 8, 3, 3), DOWN.format(0): (8, 4, 4, 4)}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({STEM: ()}, r"'encoder.stem.weight' has the shape \(\)"),
        ({HEAD: (0, 8, 3, 3)}, "'encoder.head.weight' has the shape"),
        ({HEAD: (10**9, 8, 3, 3)}, "'encoder.head.weight' has the shape"),
        ({DOWN.format(0): (0, 4, 4, 4)}, "'encoder.downs.0.weight' has the shape"),
        ({DOWN.format(number): (4, 4, 4, 4) for number in range(1, 40)}, "more than 7 resolutions"),
        ({STEM: (4096, 3, 3, 3), DOWN.format(0): (4096, 4096, 4, 4)}, "is missing, unexpected or of another"),
        ({"encoder.0.weight": (64, 3, 3, 3)}, "no tensor 'encoder.14.weight'"),
    ],
)
def test_impossible_sizes_in_a_file_are_refused_before_anything_is_allocated(
    change: dict[str, tuple[int, ...]], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        autoencoder_like({**WHOLE, **change})
