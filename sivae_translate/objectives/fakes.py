"""The passes of a step: real images, reconstructions, other fakes, and their posteriors.

They are the same for every objective. The second kind of fakes are translations with some prior samples; a
plain model, which has no domains to translate between, only has prior samples.

The decoder's forward pass is shared: its weights are the same in both halves of a step, so one graph gives
the encoders' gradient and, after the encoders are updated, the decoder's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.codes import Codes, Gaussian, Posterior
from sivae_translate.models.fused import rolled
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import STRIDE, Lpips
from sivae_translate.models.published import has_batch_norm
from sivae_translate.objectives.encoder_augment import EncoderAugmentation
from sivae_translate.objectives.schedule import Weights, takes_part
from sivae_translate.objectives.styles import reconstruction_styles, translation_styles
from sivae_translate.objectives.terms import reconstruction_error
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Reconstructions:
    """The first kind of fakes: images decoded from their own content.

    Attributes:
        images: (B, C, H, W), attached to the decoder.
        codes: the codes they were decoded from, (B, ...).
        claimed_prior: prior style means of the domains they claim to be in, (B, S).
        claimed_domain: these domains, (B,).
    """

    images: Tensor
    codes: Codes
    claimed_prior: Tensor
    claimed_domain: Tensor


@dataclass(frozen=True)
class Translations:
    """The second kind of fakes: images decoded with the style of another domain or image.

    Attributes:
        images: (B, C, H, W), attached to the decoder.
        codes: the codes they were decoded from, (B, ...).
        claimed_prior: prior style means of the domains they claim to be in, (B, S).
        claimed_domain: these domains, (B,).
        samples: the number of prior samples, which come first: their content is drawn from the prior.
    """

    images: Tensor
    codes: Codes
    claimed_prior: Tensor
    claimed_domain: Tensor
    samples: int


@dataclass(frozen=True)
class Fakes:
    """Both kinds in one batch: reconstructions, then translations.

    Attributes:
        images: (2B, C, H, W), attached to the decoder.
        codes: the codes they were decoded from, detached; (2B, ...).
        claimed_prior: detached; (2B, S).
        claimed_domain: (2B,).
    """

    images: Tensor
    codes: Codes
    claimed_prior: Tensor
    claimed_domain: Tensor

    @classmethod
    def join(cls, first: Reconstructions, second: Translations) -> Fakes:
        """Concatenate both kinds."""
        content = torch.cat([first.codes.content, second.codes.content])
        style = torch.cat([first.codes.style, second.codes.style])
        return cls(
            images=torch.cat([first.images, second.images]),
            codes=Codes(content, style).detach(),
            claimed_prior=torch.cat([first.claimed_prior, second.claimed_prior]).detach(),
            claimed_domain=torch.cat([first.claimed_domain, second.claimed_domain]),
        )

    @property
    def kinds(self) -> tuple[slice, slice]:
        """Slices of the two kinds."""
        half = len(self.images) // 2
        return slice(0, half), slice(half, None)


@dataclass(frozen=True)
class FakePosterior:
    """Posteriors of fakes.

    Attributes:
    content: q(c | f), or None if ``fake_content_kl`` is 0 and fakes are scored by their style alone.
        style: q(s | f).
        kl: KL under the prior that each fake claims, the content's weighted by ``fake_content_kl``; (2B,).
    """

    content: Gaussian | None
    style: Gaussian
    kl: Tensor


@dataclass(frozen=True)
class PlaceKL:
    """KLs of places of real images and of detached fakes, before the critic is updated.

    Attributes:
        real: (B, h, w), in nats.
        fake: (2B, h, w).
    """

    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class RealState:
    """The passes that both halves of a step share, without fakes.

    Attributes:
    posterior: q(c | x), q(s | x).
    codes: the codes that x was reconstructed from: a draw from the posterior, with styles swapped within
    domains or replaced by prior means.
        kl_content: KL of the content posteriors under the prior, (B,).
        kl_style: KL of the style posteriors under the images' own domains' priors, (B,).
        errors: (B,) by metric name: ``reconstruction`` is L_rec(x), including weighted LPIPS;
        ``back_translation`` is L_back(x), if its weight is not 0.
    """

    posterior: Posterior
    codes: Codes
    kl_content: Tensor
    kl_style: Tensor
    errors: dict[str, Tensor]


@dataclass(frozen=True)
class GameState(RealState):
    """The passes that both halves share, with fakes.

    Attributes:
        fakes: both kinds, attached to the decoder.
        fake_posterior: posteriors of the detached fakes, before the encoders are updated.
        places: KLs of places, if there is a critic of places.
    """

    fakes: Fakes
    fake_posterior: FakePosterior
    places: PlaceKL | None = None


class Passes:
    """Runs the forward passes of a model that the objectives need.

    Args:
        config: weights and times.
        model: a translation or plain model.

    Raises:
        ConfigError: a setting does not apply to this model.
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel) -> None:
        self.config, self.model = config, model
        self.augment = EncoderAugmentation(config.augment_encoder)
        self.fake_content_kl = fake_content_weight(config, model)
        if config.prior_style and model.domains < 2:
            raise ConfigError(
                "objective.prior_style uses the style of an image's domain, but there is only one domain",
                remedy="omit it, or train with domain labels",
            )
        if config.perceptual and model.flat:
            raise ConfigError(
                "objective.perceptual compares images, but the networks compute on an autoencoder's latents",
                remedy="leave objective.perceptual or model.autoencoder out",
            )
        self.lpips = Lpips.load(device=model.style_prior.means.device) if config.perceptual else None
        # BatchNorm would mix reconstructions and samples; other networks take both in one batch.
        self.parts = 2 if has_batch_norm(model) else 1

    def forward(self, batch: Batch, weights: Weights) -> RealState:
        """The passes that both halves share; a `GameState` once fakes take part."""
        model, domain = self.model, batch.domain
        posterior = model.read(self.augment(batch.images))
        draw = posterior.sample()
        codes = Codes(draw.content, reconstruction_styles(draw.style, domain, model, self.config))
        back = takes_part(weights.back_translation) and model.translates
        if not (weights.introspection or back):
            errors = self._errors(batch, model.logits(codes), None)
            return RealState(posterior, codes, *self.real_kl(batch, posterior), errors)
        style, claimed_prior, target_domain = translation_styles(draw.style.detach(), domain, model)
        target = Codes(draw.content.detach(), style)
        if weights.introspection:
            return self._game(batch, posterior, codes, target, (claimed_prior, target_domain), back=back)
        errors = self._errors(batch, *self._decode_and_return(codes, self._content_elsewhere(target)))
        return RealState(posterior, codes, *self.real_kl(batch, posterior), errors)

    def _game(
        self,
        batch: Batch,
        posterior: Posterior,
        codes: Codes,
        target: Codes,
        claimed: tuple[Tensor, Tensor],
        *,
        back: bool,
    ) -> GameState:
        model, count = self.model, len(batch.domain)
        mixed, samples = self._mix_in_samples(target)
        translations = Translations(model.draw_views(mixed), mixed, *claimed, samples)
        # If the content of fakes is scored, all fakes are encoded in one pass, including reconstructions.
        later = back and bool(self.fake_content_kl) and samples < count
        if later or not back:
            logits, returned = model.logits(codes), None
        else:
            translated = translations.images[samples:].detach()
            content = self._content_elsewhere(target) if samples == count else self.content(translated)
            logits, returned = self._decode_and_return(codes, content)
        own_prior = model.prior_style(batch.domain, count)
        reconstructions = Reconstructions(model.observed(logits), codes, own_prior, batch.domain)
        fakes = Fakes.join(reconstructions, translations)
        reading = self.encode_fakes(fakes.images.detach(), fakes.claimed_prior)
        if later and reading.content:
            content = reading.content[count + samples :]
            returned = model.logits(Codes(content.sample(), codes.style[samples:]))
        errors = self._errors(batch, logits, returned)
        return GameState(posterior, codes, *self.real_kl(batch, posterior), errors, fakes, reading)

    def _content_elsewhere(self, target: Codes) -> Gaussian:
        """Content posteriors of all images, translated to ``target`` without gradients."""
        with torch.no_grad():
            translations = self.model.draw_views(target)
        return self.content(translations)

    def _decode_and_return(self, codes: Codes, content: Gaussian) -> tuple[Tensor, Tensor]:
        """Logits of the reconstructions, and of the last images translated back, in one pass.

        Args:
            codes: codes of the reconstructions, (B, ...).
            content: content posteriors of the translations of the last N images.

        Returns:
            (B, C, H, W) and (N, C, H, W).
        """
        count, returning = len(codes), len(content.mean)
        style = torch.cat([codes.style, codes.style[count - returning :]])
        both = Codes(torch.cat([codes.content, content.sample()]), style)
        logits, returned = torch.split(self.model.logits(both), [count, returning])
        return logits, returned

    def _errors(self, batch: Batch, logits: Tensor, returned: Tensor | None) -> dict[str, Tensor]:
        """L_rec, and L_back of the images that were translated back, if any."""
        back = {}
        if returned is not None:
            images = batch.images[len(batch.images) - len(returned) :]
            back = {"back_translation": self.real_error(returned, images)}
        return {"reconstruction": self.real_error(logits, batch.images), **back}

    def encode_fakes(self, images: Tensor, claimed_prior: Tensor) -> FakePosterior:
        """Posteriors of fakes (N, C, H, W) and their KL under the priors (N, S) they claim."""
        views = self.augment(images)
        style = self.model.style_encoder(views)
        kl = style.kl(claimed_prior)
        if not self.fake_content_kl:
            return FakePosterior(None, style, kl)
        content = Gaussian.join([self.model.content_encoder(part) for part in views.chunk(self.parts)])
        return FakePosterior(content, style, kl + self.fake_content_kl * self.model.content_prior.kl(content))

    def fake_error(
        self, images: Tensor, reading: FakePosterior, logits: Callable[[Codes], Tensor], target: Tensor
    ) -> Tensor:
        """L_rec of fakes: a draw from their posteriors, decoded, against ``target``; (N,).

        Args:
            images: the fakes, (N, C, H, W).
            reading: their posteriors.
            logits: the decoder, or a frozen copy of it.
            target: (N, C, H, W).
        """
        codes = Posterior(reading.content or self.content(images), reading.style).sample()
        parts = zip(codes.content.chunk(self.parts), codes.style.chunk(self.parts), strict=True)
        return self.error(torch.cat([logits(Codes(content, style)) for content, style in parts]), target)

    def error(self, logits: Tensor, target: Tensor) -> Tensor:
        """L_rec, (B,), of decoded images before `LatentModel.observed`."""
        return reconstruction_error(logits, target, self.config.likelihood)

    def real_error(self, logits: Tensor, images: Tensor) -> Tensor:
        """L_rec, (B,), of real images (B, C, H, W): pixel error, plus LPIPS times the number of pixels.

        Fakes are scored without LPIPS, which would compare a fake with its copy at twice the cost.
        """
        error = self.error(logits, images)
        if self.lpips is None:
            return error
        # AlexNet samples every fourth pixel: without random shifts, a texture of that period would cost
        # nothing.
        shift = torch.randint(STRIDE, (2,), device=images.device)
        decoded, real = (rolled(x, shift) for x in (self.model.observed(logits), images))
        distance: Tensor = self.lpips(decoded, real, exact=False)
        return error + self.config.perceptual * images[0].numel() * distance

    def real_kl(self, batch: Batch, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """KL of real images' content, and of their style under their own domain's prior; (B,) each."""
        prior = self.model.prior_style(batch.domain, len(batch.domain))
        return self.model.content_prior.kl(posterior.content), posterior.style.kl(prior)

    def content(self, images: Tensor) -> Gaussian:
        """q(c | images), (B, C, H, W), after the encoders' augmentation."""
        posterior: Gaussian = self.model.content_encoder(self.augment(images))
        return posterior

    def _mix_in_samples(self, target: Codes) -> tuple[Codes, int]:
        """Replace the content of the first few translations by draws from the prior: prior samples."""
        samples = round(self.config.prior_samples * len(target)) if self.model.translates else len(target)
        draws = self.model.content_prior.sample(samples, target.content.device)
        content = torch.cat([draws.to(target.content.dtype).detach(), target.content[samples:]])
        return Codes(content, target.style), samples


def fake_content_weight(config: ObjectiveConfig, model: LatentModel) -> float:
    """Weight of the content KL of fakes: as configured, or 0 if there are several domains, else 1.

    Raises:
        ConfigError: it is 0 but the model has no style.
    """
    if config.fake_content_kl is None:
        return 0.0 if model.domains > 1 else 1.0
    if config.fake_content_kl == 0 and not model.translates:
        raise ConfigError(
            "objective.fake_content_kl is 0, but a plain model can only score fakes by its latent",
            remedy="omit it",
        )
    return config.fake_content_kl
