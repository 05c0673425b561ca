"""Contents are moved between domains: the maps themselves, and model files that hold them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sivae_translate.inference.translator import Translator
from sivae_translate.models.alignment import Alignment
from sivae_translate.models.codes import Codes
from sivae_translate.models.weights import SavedModel, load_model, save_model
from sivae_translate.utils.errors import CheckpointError

DOMAINS, STYLE = 3, 4


def random_alignment(domains: int = DOMAINS, numbers: int = 5, style_dim: int = STYLE) -> Alignment:
    """Random maps, none within a domain; the numbers are every other one of the code."""
    torch.manual_seed(0)
    alignment = Alignment(domains, numbers, style_dim)
    for tensor in (alignment.maps, alignment.offsets, alignment.weights, alignment.bias):
        tensor.normal_()
    for domain in range(domains):
        alignment.maps[domain, domain] = 0
        alignment.offsets[domain, domain] = 0
    alignment.places.copy_(2.0 * torch.arange(numbers))
    return alignment


def test_contents_move_by_the_maps_weighted_by_the_domains() -> None:
    alignment = random_alignment()
    content, style = torch.randn(2, 3, 2, 2), torch.randn(2, STYLE)
    target = torch.softmax(torch.randn(2, DOMAINS), 1)

    moved = alignment(content, style, target)

    for image in range(2):
        expected = content[image].flatten().clone()
        numbers = expected[::2][:5].clone()
        scores = alignment.weights @ torch.cat([numbers, style[image]]) + alignment.bias
        source = scores.exp() / scores.exp().sum()
        for s in range(DOMAINS):
            for t in range(DOMAINS):
                change = numbers @ alignment.maps[s, t] + alignment.offsets[s, t]
                expected[[0, 2, 4, 6, 8]] += source[s] * target[image, t] * change
        torch.testing.assert_close(moved[image].flatten(), expected)


def test_nothing_moves_within_a_domain() -> None:
    alignment = random_alignment()
    alignment.weights.zero_()
    alignment.bias.copy_(torch.tensor([0.0, 200.0, 0.0]))  # certainly the second
    content, second = torch.randn(2, 3, 2, 2), torch.tensor([[0.0, 1.0, 0.0]])
    torch.testing.assert_close(alignment(content, torch.randn(2, STYLE), second.expand(2, -1)), content)


@pytest.fixture
def saved(tiny_run: Path) -> SavedModel:
    """An untrained model with random maps."""
    saved = load_model(tiny_run / "model.safetensors")
    model = saved.model
    model.alignment = random_alignment(model.domains, 5, model.style_dim)
    return saved


def save(saved: SavedModel, path: Path) -> Path:
    save_model(path, saved.model, saved.config, saved.domains, saved.facts, saved.calibration)
    return path


def test_a_model_file_keeps_its_alignment(saved: SavedModel, tmp_path: Path) -> None:
    translator = Translator.from_pretrained(
        save(saved, tmp_path / "a.safetensors"), device="cpu", dtype="float32"
    )
    model, images = saved.model, torch.rand(2, *saved.model.image_shape)
    style = model.prior_style(torch.tensor([2, 2]), 2)
    with torch.no_grad():
        posterior = model.encode(images)
        target = torch.tensor([[0.0, 0.0, 1.0]]).expand(2, -1)
        assert model.alignment is not None
        content = model.alignment(posterior.content.mean, posterior.style.mean, target)
        expected = model.decode(Codes(content, style))
        unmoved = model.decode(Codes(posterior.content.mean, style))
    made = translator.engine.translate(images, style)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    assert (made - unmoved).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda a: a.places.fill_(3.0), "other domains or another content code"),
        (lambda a: a.places.add_(1e6), "other domains or another content code"),
        (lambda a: a.places.add_(0.5), "other domains or another content code"),
        (lambda a: a.maps.fill_(torch.nan), "not finite"),
        (lambda a: setattr(a, "bias", torch.zeros(7)), "do not fit each other"),
        (lambda a: setattr(a, "offsets", torch.zeros(7)), "do not fit each other"),
    ],
)
def test_a_damaged_alignment_is_refused(
    saved: SavedModel, tmp_path: Path, fault: object, message: str
) -> None:
    fault(saved.model.alignment)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=message):
        load_model(save(saved, tmp_path / "a.safetensors"))


@pytest.mark.parametrize("sizes", [(2, 5, None), (3, 5, 1), (17, 2, None)])
def test_an_alignment_of_another_model_is_refused(
    saved: SavedModel, tmp_path: Path, sizes: tuple[int, int, int | None]
) -> None:
    domains, numbers, style_dim = sizes
    saved.model.alignment = random_alignment(domains, numbers, style_dim or saved.model.style_dim)
    with pytest.raises(CheckpointError, match="its alignment"):
        load_model(save(saved, tmp_path / "a.safetensors"))
