"""The objective against independent transcriptions of its equations."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from sivae_translate.config import DataConfig, EncoderAugmentConfig, ModelConfig, ObjectiveConfig, RampConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Codes, Gaussian
from sivae_translate.models.lpips import Lpips
from sivae_translate.objectives import fakes as fakes_module
from sivae_translate.objectives import make_objective
from sivae_translate.objectives.base import Introspective
from sivae_translate.objectives.encoder_augment import EncoderAugmentation
from sivae_translate.objectives.fakes import GameState, Passes
from sivae_translate.objectives.schedule import balanced_beta_neg, weights_at
from sivae_translate.objectives.soft_intro import SoftIntroVAE
from sivae_translate.objectives.styles import reconstruction_styles, swap_styles
from sivae_translate.objectives.terms import exp_elbo, reconstruction_error, steeper_above
from sivae_translate.utils.errors import ConfigError

SIZE = 32
SCALE = 1 / SIZE**2


def tiny_model(domains: int = 3) -> Any:
    torch.manual_seed(0)
    config = ModelConfig(
        widths=(4, 6, 8),
        style_widths=(4, 4, 6),
        content_channels=3,
        style_dim=5,
        style_features=8,
        decoder_blocks=1,
    )
    return make_model(config, DataConfig(image_size=SIZE, channels=1), domains).double()


def tiny_batch(count: int = 6) -> Any:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, SIZE, SIZE, generator=generator, dtype=torch.float64)
    return Batch(images, torch.arange(count) * 3 // count)


def fixed_sample(self: Any, generator: Any = None) -> Any:
    """A reparametrised draw whose noise depends on the position alone, so that two computations can share
    it."""
    noise = torch.sin(torch.arange(self.mean.numel(), dtype=self.mean.dtype) * 1.7).reshape(self.mean.shape)
    return self.mean + torch.exp(0.5 * self.logvar) * noise


# ---- terms


def test_bernoulli_error_is_the_kl_of_each_pixel_summed() -> None:
    logits, target = torch.randn(3, 1, 4, 4, dtype=torch.float64), torch.rand(3, 1, 4, 4, dtype=torch.float64)
    expected = kl_divergence(Bernoulli(target), Bernoulli(logits=logits)).flatten(1).sum(1)
    torch.testing.assert_close(reconstruction_error(logits, target, "bernoulli"), expected)


@pytest.mark.parametrize(("likelihood", "power"), [("gaussian", 2), ("laplace", 1)])
def test_gaussian_and_laplace_errors_are_summed_powers(likelihood: str, power: Any) -> None:
    logits, target = torch.randn(3, 2, 4, 4), torch.rand(3, 2, 4, 4)
    expected = ((logits.sigmoid() - target).abs() ** power).sum((1, 2, 3))
    torch.testing.assert_close(reconstruction_error(logits, target, likelihood), expected)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace"])
def test_the_error_of_a_perfect_reconstruction_is_zero(likelihood: str) -> None:
    target = torch.rand(2, 1, 4, 4, dtype=torch.float64) * 0.98 + 0.01
    assert reconstruction_error(target.logit(), target, likelihood).abs().max() < 1e-12


def test_bernoulli_error_is_finite_for_pure_black_and_white() -> None:
    target = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    error = reconstruction_error(torch.tensor([50.0, -50.0]).view(1, 1, 1, 2), target, "bernoulli")
    torch.testing.assert_close(error, torch.tensor([100.0]))


def test_exp_elbo_is_the_mean_of_exponentials_not_the_exponential_of_the_mean() -> None:
    error, kl = torch.tensor([10.0, 0.0]), torch.tensor([4.0, 1.0])
    expected = (
        torch.exp(torch.tensor(-2 * 0.01 * (0.5 * 10 + 3 * 4))) + torch.exp(torch.tensor(-2 * 0.01 * 3.0))
    ) / 2
    torch.testing.assert_close(exp_elbo(0.5 * error + 3.0 * kl, 0.01), expected)


def test_kl_weighs_content_and_style_and_takes_style_under_the_own_domains_prior() -> None:
    model, batch = tiny_model(), tiny_batch()
    posterior = model.encode(batch.images)
    means = model.style_prior.means[batch.domain]
    content = kl_divergence(
        Independent(Normal(posterior.content.mean, (posterior.content.logvar / 2).exp()), 3),
        Independent(Normal(torch.zeros_like(posterior.content.mean), 1.0), 3),
    )
    style = kl_divergence(
        Independent(Normal(posterior.style.mean, (posterior.style.logvar / 2).exp()), 1),
        Independent(Normal(means, 1.0), 1),
    )
    kl = Passes(ObjectiveConfig(), model).real_kl(batch, posterior)
    torch.testing.assert_close(2 * kl[0] + 4 * kl[1], 2 * content + 4 * style)


# ---- the two halves


def transcription(model: Any, config: Any, batch: Batch, shared: Any, weights: Any) -> Any:
    """Both losses of the objective written out plainly: every pass separate, nothing shared between the
    halves."""
    count = len(batch.images)
    own = model.prior_style(batch.domain, count)

    def bce(logits: Any, target: Any) -> Any:
        per_pixel = (
            F.softplus(logits)
            - target * logits
            + torch.xlogy(target, target)
            + torch.xlogy(1 - target, 1 - target)
        )
        return per_pixel.sum((1, 2, 3))

    def gauss_kl(gaussian: Any, mean: Any) -> Any:
        return 0.5 * ((gaussian.mean - mean) ** 2 + gaussian.logvar.exp() - gaussian.logvar - 1).flatten(
            1
        ).sum(1)

    def real_terms() -> Any:
        posterior = model.encode(batch.images)
        codes = Codes(fixed_sample(posterior.content), fixed_sample(posterior.style))
        loss = weights.beta_rec * bce(model.logits(codes), batch.images).mean()
        loss = (
            loss
            + (
                weights.beta_kl * gauss_kl(posterior.content, 0)
                + config.beta_style * gauss_kl(posterior.style, own)
            ).mean()
        )
        fakes = torch.cat([model.decode(codes.detach()), model.decode(shared.fakes.codes[count:])])
        samples = round(config.prior_samples * count)
        content = fixed_sample(model.encode(fakes.detach()).content[slice(count + samples, None)])
        back = bce(model.logits(Codes(content, codes.style[samples:])), batch.images[samples:]).mean()
        return SCALE * (loss + weights.back_translation * weights.beta_rec * back)

    def fake_terms_of_encoders() -> Any:
        with torch.no_grad():
            fakes = torch.cat(
                [model.decode(shared.fakes.codes[:count]), model.decode(shared.fakes.codes[count:])]
            )
        posterior = model.encode(fakes)
        kl = config.fake_content_kl * gauss_kl(posterior.content, 0) + gauss_kl(
            posterior.style, shared.fakes.claimed_prior
        )
        error = 0.0
        if config.fake_reconstruction:
            drawn = Codes(fixed_sample(posterior.content), fixed_sample(posterior.style))
            error = bce(model.logits(drawn), fakes)
        value = torch.exp(-2 * SCALE * (config.beta_rec * error + config.beta_neg * kl))
        return 0.25 * (value[:count].mean() + value[count:].mean())

    def fake_terms_of_decoder() -> Any:
        fakes = torch.cat(
            [model.decode(shared.fakes.codes[:count]), model.decode(shared.fakes.codes[count:])]
        )
        posterior = model.encode(fakes)
        kl = weights.beta_kl_fake * (
            config.fake_content_kl * gauss_kl(posterior.content, 0)
            + gauss_kl(posterior.style, shared.fakes.claimed_prior)
        )
        gap = (posterior.content.mean - shared.fakes.codes.content).square().sum((1, 2, 3)).mean()
        loss = 0.5 * (kl[:count].mean() + kl[count:].mean()) + config.content_consistency * gap
        return SCALE * loss

    return real_terms, fake_terms_of_encoders, fake_terms_of_decoder


@pytest.mark.parametrize(
    ("fake_reconstruction", "fake_content_kl"), [(False, 1.0), (True, 1.0), (False, 0.0), (False, 0.5)]
)
def test_gradients_of_the_shared_step_equal_those_of_a_plain_transcription(
    monkeypatch: pytest.MonkeyPatch, fake_reconstruction: Any, fake_content_kl: Any
) -> None:
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    config = ObjectiveConfig(
        likelihood="bernoulli",
        beta_rec=1.3,
        introspection_from=0,
        back_translation_from=0,
        back_translation=0.7,
        content_open_at=0,
        style_swap=0,
        beta_neg=20,
        prior_samples=0.34,
        content_consistency=0.3,
        fake_reconstruction=fake_reconstruction,
        fake_content_kl=fake_content_kl,
    )
    model, batch = tiny_model(), tiny_batch()
    objective, weights = SoftIntroVAE(config, model), weights_at(config, 0.5)
    encoders, decoders = model.encoder_parameters(), model.decoder_parameters()
    torch.manual_seed(3)
    shared: Any = objective.forward(batch, weights)
    fast = torch.autograd.grad(objective.encoder_loss(shared, weights), encoders, retain_graph=True)
    real, fake_encoders, fake_decoder = transcription(model, config, batch, shared, weights)
    plain = torch.autograd.grad(real() + fake_encoders(), encoders)
    for a, b in zip(fast, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)

    # The decoder's half sees the encoders after their step; its share of the reconstruction does not.
    reconstruction = torch.autograd.grad(real(), decoders, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(encoders, fast, strict=True):
            parameter.sub_(0.1 * gradient)
    fast = torch.autograd.grad(objective.decoder_loss(shared, weights), decoders)
    fake = torch.autograd.grad(fake_decoder(), decoders, allow_unused=True)
    for a, b, c in zip(fast, reconstruction, fake, strict=True):
        torch.testing.assert_close(a, b + (0 if c is None else c), rtol=1e-8, atol=1e-12)


def test_before_introspection_both_losses_are_minus_the_elbo_of_a_vae(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    config = ObjectiveConfig(
        likelihood="gaussian",
        introspection_from=1,
        back_translation=0,
        content_open_at=0,
        beta_kl=0.3,
        style_swap=0,
    )
    model, batch = tiny_model(), tiny_batch()
    objective, weights = SoftIntroVAE(config, model), weights_at(config, 0.5)
    shared: Any = objective.forward(batch, weights)
    posterior = model.encode(batch.images)
    rebuilt = model.decode(Codes(fixed_sample(posterior.content), fixed_sample(posterior.style)))
    kl = 0.3 * posterior.content.kl() + posterior.style.kl(model.prior_style(batch.domain, 6))
    expected = SCALE * ((rebuilt - batch.images).square().sum((1, 2, 3)) + kl).mean()
    assert not isinstance(shared, GameState)
    torch.testing.assert_close(objective.encoder_loss(shared, weights), expected)
    torch.testing.assert_close(objective.decoder_loss(shared, weights), expected)


def test_fakes_pass_no_gradient_to_the_decoder_in_the_encoders_half() -> None:
    config = ObjectiveConfig(
        introspection_from=0,
        back_translation=0,
        beta_rec=1e-12,
        beta_kl=1e-12,
        beta_style=1e-12,
        content_open_at=0,
    )
    model, batch = tiny_model(), tiny_batch()
    objective, weights = SoftIntroVAE(config, model), weights_at(config, 0.5)
    shared: Any = objective.forward(batch, weights)
    loss = objective.encoder_loss(shared, weights)
    gradients = torch.autograd.grad(loss, model.decoder_parameters(), allow_unused=True)
    assert all(gradient is None or gradient.abs().max() < 1e-9 for gradient in gradients)


def test_the_encoders_raise_the_kl_of_fakes_and_the_decoder_lowers_it() -> None:
    config = ObjectiveConfig(
        introspection_from=0,
        back_translation=0,
        beta_rec=1e-6,
        beta_kl=1e-6,
        beta_style=1e-6,
        content_open_at=0,
        beta_neg=8,
    )
    model, batch = tiny_model(), tiny_batch()
    objective, weights = SoftIntroVAE(config, model), weights_at(config, 0.5)
    shared: Any = objective.forward(batch, weights)

    def fake_kl(fakes: Any) -> Any:
        return objective.passes.encode_fakes(fakes, shared.fakes.claimed_prior).kl.mean().item()

    def descend(parameters: Any, loss: Any) -> None:
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(0 if gradient is None else 0.5 * gradient)

    before = fake_kl(shared.fakes.images.detach())
    descend(model.encoder_parameters(), objective.encoder_loss(shared, weights))
    raised = fake_kl(shared.fakes.images.detach())
    descend(model.decoder_parameters(), objective.decoder_loss(shared, weights))
    lowered = fake_kl(
        torch.cat([model.decode(shared.fakes.codes[:6]), model.decode(shared.fakes.codes[6:])]).detach()
    )
    assert raised > before
    assert lowered < raised


def test_translations_claim_another_domain_and_are_scored_under_its_prior() -> None:
    config = ObjectiveConfig(introspection_from=0, prior_samples=0)
    model, batch = tiny_model(), tiny_batch()
    shared: Any = SoftIntroVAE(config, model).forward(batch, weights_at(config, 1.0))
    means = model.style_prior.means.detach()
    claimed = [int(torch.cdist(row[None], means).argmin()) for row in shared.fakes.claimed_prior]
    assert claimed[:6] == batch.domain.tolist()
    assert all(claimed[6 + index] != batch.domain[index] for index in (0, 2, 4))  # those drawn from a prior
    torch.testing.assert_close(shared.fakes.claimed_prior, means[claimed])


def test_translations_are_translated_back_also_where_no_fake_is_a_translation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    styles = {}

    def flipped(style: Any, domain: torch.Tensor, model: Any) -> Any:
        styles["own"] = style
        return style.flip(0), model.prior_style(domain.flip(0), len(domain)), domain.flip(0)

    monkeypatch.setattr(fakes_module, "translation_styles", flipped)
    config = ObjectiveConfig(
        likelihood="gaussian", introspection_from=0, back_translation_from=0, prior_samples=1, style_swap=0
    )
    model, batch = tiny_model(), tiny_batch()
    shared: Any = SoftIntroVAE(config, model).forward(batch, weights_at(config, 1.0))
    translations = model.decode(Codes(shared.codes.content, styles["own"].flip(0)))
    content = fixed_sample(model.content_encoder(translations))
    expected = (model.decode(Codes(content, styles["own"])) - batch.images).square().sum((1, 2, 3))
    torch.testing.assert_close(shared.errors["back_translation"], expected)
    assert len(shared.fakes.images) == 12
    assert not torch.allclose(shared.fakes.images[6:], translations)  # their content is drawn from the prior


def test_without_labels_every_style_is_scored_under_the_standard_normal() -> None:
    config = ObjectiveConfig(introspection_from=0)
    model, batch = tiny_model(domains=0), tiny_batch()
    batch = Batch(batch.images, torch.zeros(6, dtype=torch.long))
    shared: Any = SoftIntroVAE(config, model).forward(batch, weights_at(config, 1.0))
    assert shared.fakes.claimed_prior.abs().max() == 0


# ---- the rest of the family


def plain_terms(monkeypatch: pytest.MonkeyPatch, name: str, **settings: Any) -> Any:
    """A tiny model, a batch, and the fake terms of both halves, whose decoder's half is taken before the
    encoders move."""
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    config = ObjectiveConfig(
        name=name,
        likelihood="gaussian",
        introspection_from=0,
        back_translation=0,
        content_open_at=0,
        style_swap=0,
        **{"fake_content_kl": 1.0, **settings},
    )
    model, batch = tiny_model(), tiny_batch()
    objective: Any = make_objective(config, model)
    weights = objective.weights(0.5)
    torch.manual_seed(3)
    shared: Any = objective.forward(batch, weights)
    return objective, model, batch, shared, weights


def squared(a: Any, b: Any) -> Any:
    return (a - b).square().sum((1, 2, 3))


def test_introvae_is_a_hinge_on_the_kl_of_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, model, _batch, shared, weights = plain_terms(monkeypatch, "introvae", margin=6.0, beta_neg=3.0)
    elbo = objective.negative_elbo(shared, weights)
    posterior = model.encode(shared.fakes.images.detach())
    kl = posterior.content.kl() + posterior.style.kl(shared.fakes.claimed_prior)
    assert kl.min() < 6 < kl.max()  # both sides of the hinge are tried
    hinge = (
        SCALE
        * 3.0
        / 2
        * sum(torch.clamp(6.0 - kl[half], min=0).mean() for half in (slice(0, 6), slice(6, 12)))
    )
    torch.testing.assert_close(objective.encoder_loss(shared, weights) - elbo, hinge)
    torch.testing.assert_close(
        objective.decoder_loss(shared, weights) - elbo,
        SCALE * 0.5 * (kl[:6].mean() + kl[6:].mean()),
    )


def test_a_margin_left_out_is_a_little_more_than_real_images_have_without_fakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, model, batch, *_ = plain_terms(monkeypatch, "introvae")
    posterior = model.encode(batch.images)
    usual = (posterior.content.kl() + posterior.style.kl(model.style_prior.means[batch.domain])).mean()
    torch.testing.assert_close(torch.tensor(objective.margin), 1.2 * usual.detach(), check_dtype=False)
    other = plain_terms(monkeypatch, "introvae", fake_content_kl=0.0)[0]
    style = posterior.style.kl(model.style_prior.means[batch.domain]).mean()
    torch.testing.assert_close(torch.tensor(other.margin), 1.2 * style.detach(), check_dtype=False)


def test_fakes_are_scored_by_style_alone_only_where_there_are_domains() -> None:
    batch, claimed = tiny_batch(), torch.zeros(6, 5, dtype=torch.float64)
    assert Passes(ObjectiveConfig(), tiny_model()).encode_fakes(batch.images, claimed).content is None
    assert (
        Passes(ObjectiveConfig(), tiny_model(domains=0)).encode_fakes(batch.images, claimed).content
        is not None
    )
    assert (
        Passes(ObjectiveConfig(fake_content_kl=0.5), tiny_model()).encode_fakes(batch.images, claimed).content
        is not None
    )
    with pytest.raises(ConfigError, match="only score fakes by its latent"):
        Passes(ObjectiveConfig(fake_content_kl=0), tiny_plain())


def test_vae_never_has_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, _, _batch, shared, weights = plain_terms(monkeypatch, "elbo")
    assert not isinstance(shared, GameState)
    torch.testing.assert_close(
        objective.encoder_loss(shared, weights),
        objective.decoder_loss(shared, weights),
        rtol=0,
        atol=0,
    )


def test_gamma_r_gives_the_decoder_its_own_reconstruction_of_given_fakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, model, _batch, shared, weights = plain_terms(
        monkeypatch, "soft_introvae", gamma_r=0.7, beta_rec=1.3, beta_neg=5
    )
    without, _, _, _, lighter = plain_terms(monkeypatch, "soft_introvae", beta_rec=1.3, beta_neg=5)
    without.model, without.passes.model = model, model
    decoders = model.decoder_parameters()
    ours = torch.autograd.grad(
        objective.decoder_loss(shared, weights) - without.decoder_loss(shared, lighter),
        decoders,
        allow_unused=True,
    )
    fakes = shared.fakes.images.detach()
    posterior = model.encode(fakes)
    codes = Codes(fixed_sample(posterior.content), fixed_sample(posterior.style)).detach()
    error = squared(model.decode(codes), fakes)
    plain = torch.autograd.grad(
        SCALE * 0.7 * 1.3 / 2 * (error[:6].mean() + error[6:].mean()), decoders, allow_unused=True
    )
    for a, b in zip(ours, plain, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-12)


def test_bootstrap_without_lag_has_the_losses_of_soft_introvae(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, model, _batch, shared, weights = plain_terms(monkeypatch, "bootstrap", gamma_r=1.0, beta_neg=5)
    soft = SoftIntroVAE(objective.config, model)
    torch.testing.assert_close(
        objective.encoder_loss(shared, weights),
        soft.encoder_loss(shared, weights),
        rtol=0,
        atol=0,
    )
    torch.testing.assert_close(
        objective.decoder_loss(shared, weights),
        soft.decoder_loss(shared, weights),
        rtol=1e-12,
        atol=0,
    )


def test_bootstraps_gradient_flows_into_the_fakes_through_the_lagging_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, model, _batch, shared, weights = plain_terms(monkeypatch, "bootstrap", gamma_r=1.0, beta_neg=5)
    with torch.no_grad():
        for parameter in objective.target.parameters():
            parameter.mul_(0.9)
    decoders = model.decoder_parameters()
    ours = torch.autograd.grad(
        objective.decoder_loss(shared, weights), decoders, retain_graph=True, allow_unused=True
    )
    fakes = shared.fakes.images
    posterior = model.encode(fakes)
    codes = Codes(fixed_sample(posterior.content), fixed_sample(posterior.style))
    error = squared(torch.sigmoid(objective.target(codes.content, codes.style)), fakes)
    kl = posterior.content.kl() + posterior.style.kl(shared.fakes.claimed_prior)
    terms = 0.5 * SCALE * (error[:6].mean() + error[6:].mean() + kl[:6].mean() + kl[6:].mean())
    plain = torch.autograd.grad(objective.negative_elbo(shared, weights) + terms, decoders, allow_unused=True)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_the_lagging_decoder_is_renewed_at_its_time_and_stays_in_between() -> None:
    objective: Any = make_objective(ObjectiveConfig(name="bootstrap", target_steps=3), tiny_model())
    before = {
        name: value.clone() for name, value in objective.companions()["target_decoder"].state_dict().items()
    }
    with torch.no_grad():
        for parameter in objective.model.decoder.parameters():
            parameter.add_(1)
    for step in (1, 2):
        objective.after_step(step)
        assert all(torch.equal(value, before[name]) for name, value in objective.target.state_dict().items())
    objective.after_step(3)
    current = objective.model.decoder.state_dict()
    assert all(torch.equal(value, current[name]) for name, value in objective.target.state_dict().items())
    assert not any(parameter.requires_grad for parameter in objective.target.parameters())


def test_hinge_and_expelbo_push_the_same_way() -> None:
    kl = torch.linspace(0.5, 9.0, 12, dtype=torch.float64, requires_grad=True)
    for name in ("introvae", "soft_introvae", "bootstrap"):
        config = ObjectiveConfig(name=name, margin=10, beta_neg=20, introspection_from=0)
        objective: Any = make_objective(config, tiny_model())
        assert isinstance(objective, Introspective)
        weights = objective.weights(1.0)
        state: Any = objective.forward(tiny_batch(), weights)
        assert isinstance(state, GameState)
        state = replace(state, fake_posterior=replace(state.fake_posterior, kl=kl))
        gradient = torch.autograd.grad(objective.push(state, weights), kl)[0]
        assert (gradient < 0).all(), name  # descending raises the KL of fakes below the margin


# ---- plain models


def tiny_plain() -> Any:
    torch.manual_seed(0)
    config = ModelConfig(
        kind="plain", latent_dim=7, widths=(4, 6, 8), style_widths=(4, 4, 6), style_features=8
    )
    return make_model(config, DataConfig(image_size=SIZE, channels=1), 1).double()


@pytest.mark.parametrize("name", ["elbo", "introvae", "soft_introvae", "bootstrap"])
def test_a_plain_models_fakes_are_reconstructions_and_prior_samples(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    config = ObjectiveConfig(
        name=name,
        introspection_from=0,
        back_translation=1,
        back_translation_from=0,
        content_open_at=0,
        gamma_r=0.5,
        margin=9,
    )
    model, batch = tiny_plain(), tiny_batch()
    objective: Any = make_objective(config, model)
    weights = objective.weights(0.5)
    torch.manual_seed(5)
    shared: Any = objective.forward(batch, weights)
    kl = model.encode(batch.images).content.kl()
    error = squared(
        model.decode(Codes(fixed_sample(model.encode(batch.images).content), torch.zeros(6, 0))), batch.images
    )
    expected = SCALE * (error + config.beta_kl * kl).mean()
    torch.testing.assert_close(objective.negative_elbo(shared, weights), expected)
    assert "back_translation" not in shared.errors
    if name == "elbo":
        assert not isinstance(shared, GameState)
        return
    assert shared.fakes.images.shape == (12, 1, SIZE, SIZE)
    assert shared.fakes.codes.style.shape == (12, 0)
    spread = shared.fakes.codes.content[6:].flatten()  # draws from N(0, I), no codes of the batch
    assert abs(spread.mean()) < 0.5
    assert 0.6 < spread.std() < 1.4
    assert torch.isfinite(objective.encoder_loss(shared, weights))
    gradients = torch.autograd.grad(
        objective.decoder_loss(shared, weights), model.decoder_parameters(), allow_unused=True
    )
    assert any(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


# ---- pieces


def test_swapped_styles_come_from_another_image_of_the_same_domain() -> None:
    domain = torch.tensor([0, 0, 0, 2, 2, 5, 5, 5, 5])
    style = torch.arange(9.0)[:, None]
    for seed in range(20):
        torch.manual_seed(seed)
        partner = swap_styles(style, domain, 1.0)[:, 0].long()
        assert torch.equal(domain[partner], domain)
        assert (partner != torch.arange(9)).all()


def test_a_lone_image_and_a_share_of_zero_keep_their_own_style() -> None:
    style = torch.arange(3.0)[:, None]
    assert torch.equal(swap_styles(style, torch.tensor([0, 1, 2]), 1.0), style)
    assert swap_styles(style, torch.tensor([0, 0, 0]), 0.0) is style


def test_the_content_weight_falls_geometrically_then_stays() -> None:
    config = ObjectiveConfig(beta_kl_start=8, beta_kl=2, content_open_at=0.5)
    assert [round(weights_at(config, t).beta_kl, 6) for t in (0, 0.25, 0.5, 1)] == [8, 4, 2, 2]


@pytest.mark.parametrize(
    ("kl", "weight", "values", "dimensions", "point"),
    [
        (40.0, 1.0, 3072, 256, 30.0),  # three quarters of the real images' KL
        (0.8, 0.4, 1024, 32, 6.0),  # never below 6 nats
        (400.0, 0.5, 12288, 288, 300.0),
    ],
)
def test_balanced_beta_neg_makes_push_and_pull_equal_at_its_point(
    kl: Any, weight: Any, values: Any, dimensions: Any, point: Any
) -> None:
    scale = 1 / values
    beta_neg = balanced_beta_neg(kl, weight * kl, scale, dimensions)
    k = torch.tensor([point], dtype=torch.float64, requires_grad=True)
    push = torch.autograd.grad(2 * 0.25 * exp_elbo(beta_neg * k, scale), k)[0]  # two kinds of fakes
    assert -push.item() == pytest.approx(scale * weight, rel=1e-6)
    assert (
        2 * scale * beta_neg * point > 1
    )  # the larger solution: the expELBO has fallen by more than a factor e there


def test_balanced_beta_neg_stays_finite_where_no_balance_exists() -> None:
    assert balanced_beta_neg(4.0, 1.2, 0.5, 2) == pytest.approx(1 / (2 * 0.5 * 3.0))
    assert balanced_beta_neg(0.0, 0.0, 1 / 1024, 32) > 0


def test_beta_neg_is_balanced_on_the_kl_that_real_images_had_before_fakes_entered() -> None:
    model, batch = tiny_model(), tiny_batch()
    config = ObjectiveConfig(
        introspection_from=0.5,
        back_translation=0,
        fake_content_kl=1.0,
        beta_kl=0.5,
        beta_style=2.0,
        content_open_at=0,
    )
    objective: Any = make_objective(config, model)
    with torch.no_grad():
        kl = [part.mean().item() for part in objective.passes.real_kl(batch, model.encode(batch.images))]
    for _ in range(3):
        objective.forward(batch, objective.weights(0.0))
    size = model.style_dim + math.prod(model.content_shape)
    expected = balanced_beta_neg(sum(kl), 0.5 * kl[0] + 2 * kl[1], SCALE, size)
    assert objective.beta_neg(objective.weights(1.0)) == pytest.approx(expected, rel=1e-5)
    objective.forward(
        Batch(1 - batch.images**4, batch.domain), objective.weights(1.0)
    )  # another KL, and fakes
    assert objective.beta_neg(objective.weights(1.0)) == pytest.approx(expected, rel=1e-5)
    resumed: Any = make_objective(config, model)
    for name, module in resumed.companions().items():
        module.load_state_dict(objective.companions()[name].state_dict())
    assert resumed.beta_neg(objective.weights(1.0)) == objective.beta_neg(objective.weights(1.0))
    started: Any = make_objective(config, model)  # as after training.fine_tune: no phase without fakes
    started.forward(batch, started.weights(1.0))
    assert started.beta_neg(started.weights(1.0)) == pytest.approx(expected, rel=1e-5)


def test_every_weight_can_move() -> None:
    names = ("beta_rec", "beta_kl", "beta_style", "beta_neg", "beta_kl_fake", "back_translation", "gamma_r")
    ramps = tuple(RampConfig(name=name, start=1, end=100, begin=0.2, until=0.6) for name in names)
    config = ObjectiveConfig(ramps=ramps)
    for progress, value in ((0.0, 1), (0.2, 1), (0.4, 10), (0.6, 100), (1.0, 100)):
        weights = weights_at(config, progress)
        assert [getattr(weights, name) for name in names] == [pytest.approx(value)] * len(names)
    from_zero = ObjectiveConfig(ramps=(RampConfig(name="gamma_r", start=0, end=4, until=0.5),))
    assert weights_at(from_zero, 0.25).gamma_r == pytest.approx(2)
    sudden = ObjectiveConfig(
        ramps=(RampConfig(name="back_translation", start=0, end=4, begin=0.5, until=0.5),)
    )
    assert [weights_at(sudden, t).back_translation for t in (0.49, 0.5)] == [0, 4]


def test_the_losses_use_the_moving_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    _, model, _batch, shared, _ = plain_terms(monkeypatch, "soft_introvae", beta_neg=5)
    fixed = SoftIntroVAE(
        ObjectiveConfig(
            beta_rec=2, beta_kl=3, beta_style=4, beta_neg=50, content_open_at=0, back_translation=0
        ),
        model,
    )
    ramps = tuple(
        RampConfig(name=name, start=value, end=value)
        for name, value in (("beta_rec", 2), ("beta_kl", 3), ("beta_style", 4), ("beta_neg", 50))
    )
    moving = SoftIntroVAE(ObjectiveConfig(ramps=ramps, content_open_at=0, back_translation=0), model)
    for half in ("encoder_loss", "decoder_loss"):
        losses = [getattr(objective, half)(shared, objective.weights(1.0)) for objective in (fixed, moving)]
        torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)


def test_each_part_enters_at_its_time() -> None:
    config = ObjectiveConfig(back_translation=0.5, back_translation_from=0.2, introspection_from=0.6)
    seen = [
        (weights_at(config, t).back_translation, weights_at(config, t).introspection) for t in (0.1, 0.2, 0.6)
    ]
    assert seen == [(0.0, False), (0.5, False), (0.5, True)]


def test_encoder_augmentation_is_off_by_default_and_differentiable_when_on() -> None:
    images = torch.rand(4, 1, 32, 32, requires_grad=True)
    assert EncoderAugmentation(EncoderAugmentConfig())(images) is images
    torch.manual_seed(0)
    changed = EncoderAugmentation(EncoderAugmentConfig(shift=0.2, cutout=0.3))(images)
    assert changed.shape == images.shape
    assert (changed - images).abs().max() > 0.1
    changed.sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad.abs().sum() > 0


def test_style_beyond_its_capacity_costs_ten_times_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    kl = torch.tensor([0.0, 5.0, 8.0, 11.0], dtype=torch.float64)
    torch.testing.assert_close(
        steeper_above(kl, 8.0), torch.tensor([0.0, 5.0, 8.0, 38.0], dtype=torch.float64)
    )
    assert steeper_above(kl, None) is kl
    monkeypatch.setattr(Gaussian, "sample", fixed_sample)
    batch, losses = tiny_batch(), []
    for capacity in (None, 1e-3):
        objective: Any = make_objective(
            ObjectiveConfig(name="elbo", style_capacity=capacity, style_swap=0.0), tiny_model()
        )
        weights = objective.weights(1.0)
        shared: Any = objective.forward(batch, weights)
        losses.append(objective.encoder_loss(shared, weights))
    _, style = objective.passes.real_kl(batch, shared.posterior)
    torch.testing.assert_close(losses[1] - losses[0], SCALE * 9 * (style - 1e-3).mean())


def test_lpips_joins_the_error_of_real_images_as_if_every_pixel_had_it() -> None:
    model, batch = tiny_model(), tiny_batch()
    plain, both = (
        Passes(ObjectiveConfig(likelihood="laplace", perceptual=weight), model) for weight in (0.0, 0.5)
    )
    logits = torch.randn(batch.images.shape, dtype=torch.float64, requires_grad=True)
    lpips, pixels, made = Lpips.load(), plain.real_error(logits, batch.images), logits.sigmoid()
    rolled = [
        tuple(torch.roll(x, (down, right), (2, 3)) for x in (made, batch.images))
        for down in range(4)
        for right in range(4)
    ]
    expected = torch.stack([pixels + 0.5 * SIZE**2 * lpips(*pair) for pair in rolled])
    found = torch.stack([both.real_error(logits, batch.images) for _ in range(12)])
    nearest = (
        (found[:, None] - expected).abs().sum(2).min(1)
    )  # each draw is one of the sixteen places of the stride
    assert nearest.values.max() < 1e-3
    assert len(set(nearest.indices.tolist())) > 3
    assert torch.autograd.grad(found.sum() - 12 * pixels.sum(), logits)[0].any()
    torch.testing.assert_close(both.error(logits, batch.images), plain.error(logits, batch.images))


def test_prior_means_as_styles_are_learnt_by_reconstruction_alone() -> None:
    model, batch = tiny_model(), tiny_batch()
    shared = Passes(ObjectiveConfig(prior_style=1.0), model).forward(
        batch, weights_at(ObjectiveConfig(), 0.0, introspective=True)
    )
    torch.testing.assert_close(shared.codes.style, model.style_prior.means[batch.domain])
    encoder, means = torch.autograd.grad(
        shared.errors["reconstruction"].sum(),
        [model.style_encoder.head.weight, model.style_prior.means],
        allow_unused=True,
    )
    assert encoder is None or not encoder.any()
    assert means.abs().sum(1).gt(0).all()  # of every domain of the batch


def test_a_share_of_the_images_takes_its_style_from_the_prior() -> None:
    model, batch = (
        tiny_model(),
        Batch(torch.rand(400, 1, SIZE, SIZE, dtype=torch.float64), torch.arange(400) * 3 // 400),
    )
    config = ObjectiveConfig(prior_style=0.25, style_swap=0.0)
    posterior = model.encode(batch.images)
    torch.manual_seed(2)
    styles = reconstruction_styles(posterior.style.mean, batch.domain, model, config)
    assert 0.15 < (styles != posterior.style.mean).any(1).double().mean() < 0.35
    with pytest.raises(ConfigError, match="prior_style"):
        Passes(config, tiny_model(domains=0))
