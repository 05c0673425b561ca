"""TranslationVAE: shapes, independence of images in a batch, errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sivae_translate.config import DataConfig, ModelConfig
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Codes
from sivae_translate.models.growing import grown
from sivae_translate.models.networks import Trunk
from sivae_translate.utils.errors import ConfigError, InputError

SMALL = {"style_dim": 6, "style_features": 16, "content_channels": 5, "decoder_blocks": 1}


def build(
    size: int = 32, channels: int = 1, domains: int = 3, content_size: int = 4, resampling: Any = "shuffle"
) -> Any:
    torch.manual_seed(0)
    widths = {"widths": (4, 4, 8, 8, 8, 8), "style_widths": (4, 4, 4, 8, 8, 8)}
    config = ModelConfig(**widths, content_size=content_size, resampling=resampling, **SMALL)
    return make_model(config, DataConfig(image_size=size, channels=channels), domains)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (32, 3), (64, 3), (128, 1), (256, 3)])
def test_every_size_encodes_and_decodes_to_the_documented_shapes(size: int, channels: int) -> None:
    model, images = build(size, channels), torch.rand(2, channels, size, size)
    posterior = model.encode(images)
    assert posterior.content.mean.shape == posterior.content.logvar.shape == (2, 5, 4, 4)
    assert posterior.style.mean.shape == posterior.style.logvar.shape == (2, 6)
    decoded = model.decode(posterior.sample())
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.float32
    assert 0 <= decoded.min() <= decoded.max() <= 1


@pytest.mark.parametrize("content_size", [2, 4, 8, 16])
def test_the_content_code_may_have_any_power_of_two(content_size: Any) -> None:
    model = build(content_size=content_size)
    assert model.encode(torch.rand(1, 1, 32, 32)).content.mean.shape == (1, 5, content_size, content_size)
    assert model.sample(2, 0).shape == (2, 1, 32, 32)


def test_decode_is_the_sigmoid_of_the_logits() -> None:
    model = build()
    codes = Codes(torch.randn(2, 5, 4, 4), torch.randn(2, 6))
    torch.testing.assert_close(model.decode(codes), model.logits(codes).sigmoid())


def test_an_image_is_encoded_alike_whatever_its_neighbours_are() -> None:
    model, images = build(), torch.rand(4, 1, 32, 32)
    alone = model.encode(images[:1])
    together = model.encode(images)[:1]
    torch.testing.assert_close(alone.content.mean, together.content.mean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.style.mean, together.style.mean, atol=1e-5, rtol=1e-5)


def test_the_style_changes_what_is_decoded() -> None:
    model, content = build(), torch.randn(1, 5, 4, 4)
    a, b = (model.decode(Codes(content, model.prior_style(torch.tensor([d]), 1))) for d in (0, 1))
    assert (a - b).abs().max() > 1e-3


def test_prior_style_is_the_domains_mean_and_zero_without_labels() -> None:
    model = build()
    index = torch.tensor([2, 0])
    assert torch.equal(model.prior_style(index, 2), model.style_prior.means[index])
    assert torch.equal(build(domains=0).prior_style(index, 2), torch.zeros(2, 6))


def test_samples_repeat_with_the_same_generator() -> None:
    model = build()
    first, second = (model.sample(3, 1, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 3, 32, 32), (2, 1, 64, 64)])
def test_images_of_another_shape_are_refused_with_both_shapes(shape: Any) -> None:
    with pytest.raises(InputError, match=r"1, 32, 32"):
        build().encode(torch.rand(shape))


def test_too_few_widths_and_impossible_content_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="widths has length 1"):
        make_model(ModelConfig(widths=(8,)), DataConfig(image_size=32), 2)
    with pytest.raises(ConfigError, match="content_size = 5"):
        build(content_size=5)


def test_log_variances_stay_bounded_however_large_the_features() -> None:
    model = build()
    with torch.no_grad():
        model.content_encoder.head.weight.mul_(1e4)
    assert model.encode(torch.rand(1, 1, 32, 32)).content.logvar.abs().max() <= 8


# ---- growing


def output_of(module: Any, run: Any) -> Any:
    """What a module gives while ``run`` runs."""
    seen = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
    run()
    handle.remove()
    return seen[0]


def coarse(trunk: Trunk, skipped: Any, features: Any) -> Any:
    """A trunk's features from the outputs of its first resolution but for some."""
    features = trunk.levels[skipped](features)
    for down, level in zip(trunk.downs[skipped:], trunk.levels[skipped + 1 :], strict=True):
        features = level(down(features))
    return features


@pytest.mark.parametrize("resampling", ["shuffle", "smooth"])
@pytest.mark.parametrize("times", [2, 4])
def test_a_grown_model_computes_at_the_old_resolutions_what_the_small_one_does(
    times: Any, resampling: str
) -> None:
    small, large = (build(size, resampling=resampling) for size in (32, 32 * times))
    own = {name: value.clone() for name, value in large.state_dict().items()}
    large.load_state_dict(grown(small.state_dict(), own), strict=True)
    added = times // 2
    for name in ("content_encoder", "style_encoder"):
        trunks = getattr(small, name).trunk, getattr(large, name).trunk
        width = trunks[0].levels[0][0].conv1.in_channels
        features = torch.rand(2, width, 16, 16)
        assert torch.equal(coarse(trunks[0], 0, features), coarse(trunks[1], added, features))
    codes = small.draw(2, torch.tensor([0, 1]))
    shared = len(small.decoder.levels)
    inner = [
        output_of(model.decoder.levels[shared - 1][-1], lambda m=model: m.decode(codes))
        for model in (small, large)
    ]
    assert torch.equal(*inner)
    for name, weight in small.state_dict().items():
        if ".head." in name or ".mapping." in name or "means" in name or ".canvas." in name:
            assert torch.equal(large.state_dict()[name], weight), name
    for name in (
        f"content_encoder.trunk.stem{'.conv' if resampling == 'smooth' else ''}.weight",
        f"decoder.exit{'.exit' if resampling == 'smooth' else ''}.weight",
        "style_encoder.trunk.levels.0.0.conv1.weight",
    ):
        assert torch.equal(large.state_dict()[name], own[name])


def test_a_plain_model_grows_as_well() -> None:
    config = ModelConfig(kind="plain", latent_dim=8, widths=(4, 6, 8, 10))
    small, large = (make_model(config, DataConfig(image_size=size, channels=1), 1) for size in (32, 64))
    large.load_state_dict(grown(small.state_dict(), large.state_dict()), strict=True)
    latent = torch.randn(2, 8)
    inner = [
        output_of(
            model.decoder.decoder.levels[2][-1], lambda m=model: m.decode(Codes(latent, torch.empty(2, 0)))
        )
        for model in (small, large)
    ]
    assert torch.equal(*inner)
