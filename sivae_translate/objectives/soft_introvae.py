r"""Soft-IntroVAE for translation: the encoders tell real images from fakes, and translations are among the fakes.

With ``scale`` = 1 / (C H W), the encoders minimise

.. math:: scale\,(\beta_{rec} L_{rec}(x) + KL(x) + \gamma_{back} L_{back}(x)) + \tfrac14 \sum_f E[expELBO(f)]

and the decoder and the prior means minimise

.. math:: scale\,(\beta_{rec} L_{rec}(x) + KL_s(x) + \gamma_{back} L_{back}(x) + \tfrac12 \sum_f KL(f) + consistency(f))

where f runs over the two kinds of fakes: reconstructions, and translations with some prior samples. (Soft-IntroVAE,
arXiv 2012.13253, eqs. 5 and 6 with alpha = 2 and gamma_r = 0, extended to two codes. KL(f) is taken under the prior of the
domain that f claims to be in.) In the encoders' half fakes are detached; in the decoder's half the encoders are frozen.

L_back is the back-translation error: a translation f of x, taken as a given image, is translated back and compared with x.
Since f is detached, the model cannot hide x in it, as it can with a cycle loss that is differentiated through f.

The decoder's forward pass is shared: its weights are the same in both halves, so one graph serves the encoders' gradient and,
after the encoders have moved, the decoder's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sivae_translate.codes import Codes, Gaussian, Posterior
from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.model import TranslationVAE
from sivae_translate.objectives.augment import EncoderAugmentation
from sivae_translate.objectives.elbo import exp_elbo, kl, reconstruction_error
from sivae_translate.objectives.schedule import Weights


@dataclass(frozen=True)
class Judgement:
    """What the encoders make of fakes.

    Attributes:
        content: q(c | f), or None where fakes are judged by their style alone.
        style: q(s | f).
    """

    content: Gaussian | None
    style: Gaussian


@dataclass(frozen=True)
class Forward:
    """What both halves of a step share.

    Attributes:
        posterior: q(c | x), q(s | x).
        codes: a draw from it, styles swapped within domains; what x was reconstructed from.
        error: L_rec(x), (B,).
        fakes: reconstructions, then translations and prior samples, in [0, 1] and attached to the decoder; (2B, C, H, W), or
            None before introspection.
        claimed: prior style mean of the domain that each fake claims to be in, (2B, S).
        wanted: codes that each fake was decoded from, (2B, ...).
        back: L_back(x), (B,), or None when it takes no part.
        judged: posterior of the detached fakes under the encoders before their update, or None.
    """

    posterior: Posterior
    codes: Codes
    error: Tensor
    fakes: Tensor | None = None
    claimed: Tensor | None = None
    wanted: Codes | None = None
    back: Tensor | None = None
    judged: Judgement | None = None


class SoftIntroVAE:
    """The objective: `forward` first, then `encoder_loss`, then, after the encoders have moved, `decoder_loss`.

    Until ``config.introspection_from`` there are no fakes, and both losses are minus the ELBO: a VAE whose content code opens
    gradually.

    Args:
        config: weights and times.
        model: what is trained.
    """

    def __init__(self, config: ObjectiveConfig, model: TranslationVAE) -> None:
        self.config = config
        self.model = model
        channels, height, width = model.image_shape
        self.scale = 1.0 / (channels * height * width)
        self.augment = EncoderAugmentation(config.augment_encoder)

    def forward(self, batch: Batch, weights: Weights) -> Forward:
        """The passes that both halves share: posteriors of the real images, their reconstructions, fakes, back-translations."""
        model, domain = self.model, batch.domain
        posterior = model.encode(self.augment(batch.images))
        drawn = posterior.sample()
        codes = Codes(drawn.content, swap_styles(drawn.style, domain, self.config.style_swap))
        if not (weights.introspection or weights.back):
            return Forward(posterior, codes, self._error(model.logits(codes), batch.images))
        styled, claimed = self._other_styles(drawn.style.detach(), domain)
        wanted = Codes(drawn.content.detach(), styled)
        if not weights.introspection:
            with torch.no_grad():
                translations = model.decode(wanted)
            back = self._back(model.content_encoder(translations).sample(), codes, batch)
            return Forward(posterior, codes, self._error(model.logits(codes), batch.images), back=back)
        return self._introspect(batch, posterior, codes, wanted, claimed, weights)

    def _introspect(
        self, batch: Batch, posterior: Posterior, codes: Codes, wanted: Codes, claimed: Tensor, weights: Weights
    ) -> Forward:
        model = self.model
        wanted, samples = self._mix_in_samples(wanted)
        logits = model.logits(codes)
        fakes = torch.cat([torch.sigmoid(logits), model.decode(wanted)])
        seen = self.augment(fakes.detach())
        judged = Judgement(self._content_if_judged(seen), model.style_encoder(seen))
        own = model.prior_style(batch.domain, len(batch.domain))
        back = None
        if weights.back:
            translations = slice(len(batch.domain) + samples, None)
            content = judged.content[translations] if judged.content else model.content_encoder(seen[translations])
            returned = Codes(content.sample(), codes.style[samples:])
            back = self._error(model.logits(returned), batch.images[samples:])
        return Forward(
            posterior=posterior,
            codes=codes,
            error=self._error(logits, batch.images),
            fakes=fakes,
            claimed=torch.cat([own, claimed]).detach(),
            wanted=Codes(torch.cat([codes.content, wanted.content]), torch.cat([codes.style, wanted.style])).detach(),
            back=back,
            judged=judged,
        )

    def encoder_loss(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """What the content and the style encoder minimise; scalar."""
        loss = self._elbo(batch, shared, weights)
        if shared.judged is None or shared.claimed is None:
            return loss
        count = len(batch.domain)
        nats = self._judged_kl(shared.judged, shared.claimed)
        error = self._fake_error(shared)
        config = self.config
        halves = (slice(0, count), slice(count, None))
        terms = [exp_elbo(error[half], nats[half], self.scale, config.beta_rec, weights.beta_neg) for half in halves]
        return loss + 0.25 * sum(terms, start=torch.zeros_like(loss))

    def decoder_loss(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """What the decoder and the prior means minimise, with the encoders as they are now; scalar."""
        loss = self._elbo(batch, shared, weights)
        if shared.fakes is None or shared.claimed is None or shared.wanted is None:
            return loss
        config, count = self.config, len(batch.domain)
        seen = self.augment(shared.fakes)
        judged = Judgement(self._content_if_judged(seen), self.model.style_encoder(seen))
        nats = weights.beta_kl_fake * self._judged_kl(judged, shared.claimed)
        loss = loss + self.scale * 0.5 * (nats[:count].mean() + nats[count:].mean())
        if config.content_consistency:
            content = judged.content or self.model.content_encoder(seen)
            gap = (content.mean - shared.wanted.content).square().flatten(1).sum(1).mean()
            loss = loss + self.scale * config.content_consistency * gap
        if config.style_consistency:
            gap = (judged.style.mean - shared.wanted.style).square().sum(1).mean()
            loss = loss + self.scale * config.style_consistency * gap
        return loss

    @torch.no_grad()
    def figures(self, batch: Batch, shared: Forward, weights: Weights) -> dict[str, float]:
        """What tells whether training is healthy; means over the batch, errors summed over pixels, KLs in nats."""
        prior = self.model.prior_style(batch.domain, len(batch.domain))
        figures = {
            "reconstruction": shared.error.mean().item(),
            "kl_content": shared.posterior.content.kl().mean().item(),
            "kl_style": shared.posterior.style.kl(prior).mean().item(),
        }
        if shared.back is not None:
            figures["back_translation"] = shared.back.mean().item()
        if shared.judged is not None and shared.claimed is not None:
            count = len(batch.domain)
            nats = self._judged_kl(shared.judged, shared.claimed)[count:]
            figures["kl_real"] = self.config.judge_content * figures["kl_content"] + figures["kl_style"]
            figures["kl_fake"] = nats.mean().item()
            figures["kl_fake_style"] = shared.judged.style.kl(shared.claimed)[count:].mean().item()
            figures["kl_difference"] = figures["kl_fake"] - figures["kl_real"]
            error = self._fake_error(shared)[count:]
            figures["exp_elbo"] = exp_elbo(error, nats, self.scale, self.config.beta_rec, weights.beta_neg).item()
        return figures

    def _elbo(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """Scale * (beta_rec * L_rec + KL + gamma_back * L_back) of the real images."""
        prior = self.model.prior_style(batch.domain, len(batch.domain))
        nats = kl(shared.posterior, prior, weights.beta_kl, self.config.beta_style)
        loss = self.config.beta_rec * shared.error.mean() + nats.mean()
        if shared.back is not None:
            loss = loss + weights.back * self.config.beta_rec * shared.back.mean()
        return self.scale * loss

    def _error(self, logits: Tensor, target: Tensor) -> Tensor:
        return reconstruction_error(logits, target, self.config.likelihood)

    def _back(self, content: Tensor, codes: Codes, batch: Batch) -> Tensor:
        return self._error(self.model.logits(Codes(content, codes.style)), batch.images)

    def _fake_error(self, shared: Forward) -> Tensor:
        """L_rec of the detached fakes, or zeros where the configuration leaves it out (one decoder pass less)."""
        assert shared.judged is not None and shared.fakes is not None
        if not self.config.judge_reconstruction:
            return shared.fakes.new_zeros(len(shared.fakes))
        content = shared.judged.content or self.model.content_encoder(self.augment(shared.fakes.detach()))
        drawn = Posterior(content, shared.judged.style).sample()
        return self._error(self.model.logits(drawn), shared.fakes.detach())

    def _content_if_judged(self, images: Tensor) -> Gaussian | None:
        """q(c | fakes), or None where fakes are judged by their style alone: then the pass is left out."""
        return self.model.content_encoder(images) if self.config.judge_content else None

    def _judged_kl(self, judged: Judgement, claimed: Tensor) -> Tensor:
        """KL of fakes under the priors that they claim, (B,)."""
        nats = judged.style.kl(claimed)
        return nats if judged.content is None else nats + self.config.judge_content * judged.content.kl()

    def _other_styles(self, style: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
        """Target styles for translations and the prior means of the domains they belong to; (B, S) each.

        With labels, half are draws from another domain's prior (what translating to a domain's style uses) and half are codes
        of other images of the batch (what translating to a reference uses). Without labels all are codes of other images.
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
        """Replace the content of the first few translations by draws from the prior, which makes them prior samples."""
        samples = round(self.config.prior_samples * len(wanted))
        content = torch.cat([torch.randn_like(wanted.content[:samples]), wanted.content[samples:]])
        return Codes(content, wanted.style), samples


def swap_styles(style: Tensor, domain: Tensor, share: float) -> Tensor:
    """Give a share of the images the style of another image of their domain.

    Then the style code can hold only what the images of a domain have in common. Leave it out (share 0) where styles differ
    within a domain and the style code should tell them apart.

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
