"""The passes of a training step: real images, reconstructions, the other fakes, and what the encoders make of
them.

They are the same for every objective of the family (`sivae_translate.objectives.base`), which says what the
two halves minimise. The second kind of fakes are translations with some prior samples; a plain model, which
has no domains to translate between, makes prior samples alone.

The decoder's forward pass is shared: its weights are the same in both halves, so one graph serves the
encoders' gradient and, after the encoders have moved, the decoder's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.codes import Codes, Gaussian, Posterior
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import STRIDE, Lpips
from sivae_translate.models.published import has_batch_norm
from sivae_translate.objectives.encoder_augment import EncoderAugmentation
from sivae_translate.objectives.schedule import Weights
from sivae_translate.objectives.terms import reconstruction_error
from sivae_translate.utils.errors import ConfigError


@dataclass(frozen=True)
class Judgement:
    """What the encoders make of fakes.

    Attributes:
        content: q(c | f), or None where fakes are judged by their style alone.
        style: q(s | f).
        nats: KL under the prior that each fake claims, content weighed by ``fake_content_kl``; (2B,).
    """

    content: Gaussian | None
    style: Gaussian
    nats: Tensor


@dataclass(frozen=True)
class Forward:
    """What both halves of a step share.

    Attributes:
        posterior: q(c | x), q(s | x).
        codes: a draw from it, styles swapped within domains or replaced by their priors' means; what x was
            reconstructed from.
        error: L_rec(x), LPIPS with its weight included, (B,).
        fakes: reconstructions, then translations and prior samples, attached to the decoder; (2B, C, H, W),
            or None before introspection.
        claimed: prior style mean of the domain that each fake claims to be in, (2B, S).
        wanted: codes that each fake was decoded from, (2B, ...).
        back: L_back(x), (B,), or None when it takes no part.
        judged: what the encoders before their update make of the detached fakes, or None.
    """

    posterior: Posterior
    codes: Codes
    error: Tensor
    fakes: Tensor | None = None
    claimed: Tensor | None = None
    wanted: Codes | None = None
    back: Tensor | None = None
    judged: Judgement | None = None


class Passes:
    """Runs a model forwards as the objectives need it.

    Args:
        config: weights and times.
        model: translation or plain model.

    Raises:
        ConfigError: the configuration asks for something that this model has not.
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel) -> None:
        self.config = config
        self.model = model
        self.augment = EncoderAugmentation(config.augment_encoder)
        self.fake_content_kl = judged_content(config, model)
        if config.prior_style and model.domains < 2:
            raise ConfigError(
                "objective.prior_style takes the style of an image's domain, but there are no domains to tell apart",
                remedy="leave it out, or train with domain labels",
            )
        self.lpips = Lpips.load(device=model.style_prior.means.device) if config.perceptual else None
        # A BatchNorm would mix reconstructions and samples; other networks take both in one batch.
        self.batches = 2 if has_batch_norm(model) else 1

    def forward(self, batch: Batch, weights: Weights) -> Forward:
        """The passes that both halves share: posteriors of the real images, their reconstructions, fakes,
        back-translations.
        """
        model, domain = self.model, batch.domain
        posterior = model.encode(self.augment(batch.images))
        drawn = posterior.sample()
        codes = Codes(drawn.content, self.own_styles(drawn.style, domain))
        back = bool(weights.back_translation) and model.translates
        if not (weights.introspection or back):
            return Forward(posterior, codes, self.real_error(model.logits(codes), batch.images))
        styled, claimed = self._other_styles(drawn.style.detach(), domain)
        wanted = Codes(drawn.content.detach(), styled)
        if not weights.introspection:
            returned = self._back(wanted, codes, batch)
            return Forward(
                posterior, codes, self.real_error(model.logits(codes), batch.images), back=returned
            )
        return self._introspect(batch, posterior, codes, wanted, claimed, back)

    def _introspect(
        self, batch: Batch, posterior: Posterior, codes: Codes, wanted: Codes, claimed: Tensor, back: bool
    ) -> Forward:
        model, translated = self.model, wanted
        wanted, samples = self._mix_in_samples(wanted)
        logits = model.logits(codes)
        fakes = torch.cat([model.observed(logits), model.decode(wanted)])
        own = model.prior_style(batch.domain, len(batch.domain))
        claimed = torch.cat([own, claimed]).detach()
        judged = self.judge(fakes.detach(), claimed)
        returned = None
        if back and samples == len(batch.domain):  # no fake is a translation
            returned = self._back(translated, codes, batch)
        elif back:
            translations = slice(len(batch.domain) + samples, None)
            content = (
                judged.content[translations] if judged.content else self.content(fakes.detach()[translations])
            )
            shown = Codes(content.sample(), codes.style[samples:])
            returned = self.real_error(model.logits(shown), batch.images[samples:])
        return Forward(
            posterior=posterior,
            codes=codes,
            error=self.real_error(logits, batch.images),
            fakes=fakes,
            claimed=claimed,
            wanted=Codes(
                torch.cat([codes.content, wanted.content]), torch.cat([codes.style, wanted.style])
            ).detach(),
            back=returned,
            judged=judged,
        )

    def judge(self, fakes: Tensor, claimed: Tensor) -> Judgement:
        """Posteriors of fakes (N, C, H, W) under the encoders as they are, and their KL under the priors (N,
        S) they claim.
        """
        seen = self.augment(fakes)
        style = self.model.style_encoder(seen)
        nats = style.kl(claimed)
        if not self.fake_content_kl:
            return Judgement(None, style, nats)
        content = Gaussian.join([self.model.content_encoder(part) for part in seen.chunk(self.batches)])
        return Judgement(content, style, nats + self.fake_content_kl * self.model.content_prior.kl(content))

    def rebuild_error(
        self, fakes: Tensor, judged: Judgement, logits: Callable[[Codes], Tensor], target: Tensor
    ) -> Tensor:
        """L_rec of fakes: a draw from their posteriors, decoded, against ``target``; (N,).

        Args:
            fakes: (N, C, H, W).
            judged: their posteriors.
            logits: the decoder, or a frozen copy of it.
            target: (N, C, H, W).
        """
        codes = Posterior(judged.content or self.content(fakes), judged.style).sample()
        parts = zip(codes.content.chunk(self.batches), codes.style.chunk(self.batches), strict=True)
        return self.error(torch.cat([logits(Codes(content, style)) for content, style in parts]), target)

    def error(self, logits: Tensor, target: Tensor) -> Tensor:
        """L_rec, (B,), of decoded images before `LatentModel.observed`."""
        return reconstruction_error(logits, target, self.config.likelihood)

    def real_error(self, logits: Tensor, images: Tensor) -> Tensor:
        """L_rec, (B,), of real images (B, C, H, W): of their pixels, and their LPIPS as if every pixel had
        it.

        Fakes are judged without LPIPS: there it would say how alike a fake and its copy are, at twice the
        cost.
        """
        error = self.error(logits, images)
        if self.lpips is None:
            return error
        # AlexNet looks at every fourth pixel: were it always the same ones, a texture of that period would
        # cost nothing.
        shift = tuple(torch.randint(STRIDE, (2,)).tolist())
        made, real = (torch.roll(x, shift, (2, 3)) for x in (self.model.observed(logits), images))
        distance: Tensor = self.lpips(made, real, exact=False)
        return error + self.config.perceptual * images[0].numel() * distance

    def real_nats(self, batch: Batch, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """KL of real images' content, and of their style under their own domain's prior; (B,) each."""
        prior = self.model.prior_style(batch.domain, len(batch.domain))
        return self.model.content_prior.kl(posterior.content), posterior.style.kl(prior)

    def content(self, images: Tensor) -> Gaussian:
        """q(c | images) of what the encoders see of images (N, C, H, W)."""
        posterior: Gaussian = self.model.content_encoder(self.augment(images))
        return posterior

    def _back(self, wanted: Codes, codes: Codes, batch: Batch) -> Tensor:
        """L_back, (B,): images translated to ``wanted``, without a gradient, and back."""
        with torch.no_grad():
            translations = self.model.decode(wanted)
        content = self.content(translations).sample()
        return self.real_error(self.model.logits(Codes(content, codes.style)), batch.images)

    def own_styles(self, style: Tensor, domain: Tensor) -> Tensor:
        """Styles, (B, S), that images are reconstructed with: of another image of their domain, or its
        prior's mean.
        """
        swapped = swap_styles(style, domain, self.config.style_swap)
        if not self.config.prior_style:
            return swapped
        taken = torch.rand(len(domain), 1, device=domain.device) < self.config.prior_style
        return torch.where(taken, self.model.prior_style(domain, len(domain)), swapped)

    def _other_styles(self, style: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
        """Target styles for translations and the prior means of the domains they belong to; (B, S) each.

        With labels, half are draws from another domain's prior (what translating to a domain's style uses)
        and half are codes of other images of the batch (what translating to a reference uses). Without labels
        all are codes of other images.
        """
        count, domains = len(domain), self.model.domains
        order = torch.randperm(count, device=domain.device)
        target = domain[order]
        if domains < 2:
            return style[order], self.model.prior_style(target, count).detach()
        drawn = torch.arange(count, device=domain.device) % 2 == 0
        other = (domain + torch.randint(1, domains, (count,), device=domain.device)) % domains
        target = torch.where(drawn, other, target)
        mean = self.model.prior_style(target, count).detach()
        return torch.where(drawn[:, None], mean + torch.randn_like(mean), style[order]), mean

    def _mix_in_samples(self, wanted: Codes) -> tuple[Codes, int]:
        """Replace the content of the first few translations by draws from the prior, which makes them prior
        samples.
        """
        samples = round(self.config.prior_samples * len(wanted)) if self.model.translates else len(wanted)
        drawn = (
            self.model.content_prior.sample(samples, wanted.content.device).to(wanted.content.dtype).detach()
        )
        content = torch.cat([drawn, wanted.content[samples:]])
        return Codes(content, wanted.style), samples


def judged_content(config: ObjectiveConfig, model: LatentModel) -> float:
    """Weight of the content KL where fakes are judged: as configured, or by style alone where there are
    domains to tell.

    Raises:
        ConfigError: it is 0, but the model has no style.
    """
    if config.fake_content_kl is None:
        return 0.0 if model.domains > 1 else 1.0
    if config.fake_content_kl == 0 and not model.translates:
        raise ConfigError(
            "objective.fake_content_kl is 0, but a plain model has only its latent to judge by",
            remedy="leave it out",
        )
    return config.fake_content_kl


def swap_styles(style: Tensor, domain: Tensor, share: float) -> Tensor:
    """Give a share of the images the style of another image of their domain.

    Then the style code can hold only what the images of a domain have in common. Leave it out (share 0) where
    styles differ within a domain and the style code should tell them apart.

    Args:
        style: (B, S).
        domain: (B,), images of one domain side by side.
        share: 0 to 1.

    Returns:
        (B, S).
    """
    if share == 0:
        return style
    count = len(domain)
    position = torch.arange(count, device=domain.device)
    first = torch.searchsorted(domain, domain)
    size = torch.searchsorted(domain, domain, right=True) - first
    offset = 1 + (torch.rand(count, device=domain.device) * (size - 1)).long()
    partner = first + (position - first + offset) % size
    swapped = torch.rand(count, device=domain.device) < share
    return style[torch.where(swapped, partner, position)]
