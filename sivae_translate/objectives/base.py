r"""The introspective family: what the encoders and the decoder minimise. Four objectives, one screen of
differences.

With ``scale`` = 1 / (C H W) and f running over the two kinds of fakes, reconstructions and translations or
prior samples,

.. math::
    encoders &: scale\,(\beta_{rec} L_{rec}(x) + KL(x) + \gamma_{back} \beta_{rec} L_{back}(x)) + push(f) \\
    decoder &: scale\,(\beta_{rec} L_{rec}(x) + KL_s(x) + \gamma_{back} \beta_{rec} L_{back}(x)) + pull(f)

and the members of the family differ in push and pull alone:

================== ==========================================
=============================================================== objective          push                                       pull
================== ==========================================
=============================================================== ``vae``            0                                          0
``introvae``       scale beta_neg/2 sum_f [margin - KL(f)]_+  scale/2 sum_f (beta_kl_fake KL(f) + gamma_r beta_rec L_rec(f))
``soft_introvae``  1/4 sum_f expELBO(f)                       the same
``bootstrap``      1/4 sum_f expELBO(f)                       the same, with L_rec(f) under a decoder that lags
================== ==========================================
===============================================================

KL(f) is taken under the prior of the domain that f claims to be in. In the encoders' half fakes are detached;
in the decoder's half the encoders are frozen.

L_back is the back-translation error: a translation f of x, taken as a given image, is translated back and
compared with x. Since f is detached, the model cannot hide x in it, as it can with a cycle loss that is
differentiated through f.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn

from sivae_translate.config import ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.codes import Codes
from sivae_translate.models.latent import LatentModel
from sivae_translate.objectives.fakes import Forward, Judgement, Passes
from sivae_translate.objectives.schedule import MARGIN, UsualNats, Weights, balanced_beta_neg, weights_at
from sivae_translate.objectives.terms import dearer_beyond, exp_elbo


class VAE:
    """Minus the ELBO for both halves (Kingma and Welling, arXiv 1312.6114, eq. 3, with weights): no fakes.

    The base of the family: `forward` first, then `encoder_loss`, then, after the encoders have moved,
    `decoder_loss`. The introspective members, too, are this until ``config.introspection_from``.

    Args:
        config: weights and times.
        model: what is trained.
        scale: 1 / (C H W) when left out; the 2D laboratory sets the paper's 1/2.
    """

    introspective: ClassVar[bool] = False

    def __init__(self, config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> None:
        self.config, self.model = config, model
        self.passes = Passes(config, model)
        self.scale = 1.0 / math.prod(model.image_shape) if scale is None else scale
        self.usual = UsualNats().to(model.style_prior.means.device)

    # -- what the members of the family differ in

    def push(self, error: Tensor | float, nats: Tensor, beta_rec: float, beta_neg: float) -> Tensor:
        """What pushes the encoders' KL of one kind of fakes upwards; scalar.

        Args:
            error: L_rec(f), (B,), or 0 where it takes no part.
            nats: KL(f), (B,).
            beta_rec: weight of the error.
            beta_neg: weight of the KL.
        """
        return nats.new_zeros(())

    def rebuild(self, fakes: Tensor, judged: Judgement) -> Tensor:
        """L_rec(f) in the decoder's half, (2B,), with the fakes and their codes as given; see ``gamma_r``."""
        return self.passes.rebuild_error(
            fakes, judged, lambda codes: self.model.logits(codes.detach()), fakes.detach()
        )

    def companions(self) -> dict[str, nn.Module]:
        """What belongs into a checkpoint beside the model."""
        return {"usual": self.usual} if self.introspective else {}

    def after_step(self, step: int) -> None:
        """Called when both halves have moved for the ``step``-th time, counted from 1."""

    # -- what they share

    def weights(self, progress: float) -> Weights:
        """Weights in force at a share ``progress`` of the training."""
        return weights_at(self.config, progress, introspective=self.introspective)

    def forward(self, batch: Batch, weights: Weights) -> Forward:
        """The passes that both halves share."""
        shared = self.passes.forward(batch, weights)
        # Without a phase of its own, as after training.fine_tune, the VAE's KL is that of the first batch.
        if self.introspective and (not weights.introspection or not self.usual.steps):
            self.usual.watch(*self.passes.real_nats(batch, shared.posterior))
        return shared

    def encoder_loss(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """What the encoders minimise; scalar."""
        loss = self._elbo(batch, shared, weights)
        if shared.judged is None or shared.fakes is None:
            return loss
        error = self._fake_error(shared)
        beta_neg = self.beta_neg(weights)
        return loss + sum(
            (
                self.push(error[kind], shared.judged.nats[kind], weights.beta_rec, beta_neg)
                for kind in kinds(shared.fakes)
            ),
            start=torch.zeros_like(loss),
        )

    def decoder_loss(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """What the decoder and the prior means minimise, with the encoders as they are now; scalar."""
        loss = self._elbo(batch, shared, weights)
        if shared.fakes is None or shared.claimed is None or shared.wanted is None:
            return loss
        judged = self.passes.judge(shared.fakes, shared.claimed)
        pull = weights.beta_kl_fake * judged.nats
        if weights.gamma_r:
            pull = pull + weights.gamma_r * weights.beta_rec * self.rebuild(shared.fakes, judged)
        loss = loss + self.scale * 0.5 * sum(
            (pull[kind].mean() for kind in kinds(pull)), start=torch.zeros_like(loss)
        )
        return loss + self._consistency(shared.fakes, judged, shared.wanted)

    def beta_neg(self, weights: Weights) -> float:
        """The weight of a fake's KL in the push: as configured, or balanced on the KL that real images had
        (`UsualNats`).
        """
        if weights.beta_neg is not None:
            return weights.beta_neg
        judged = self.passes.fake_content_kl
        # A content code that is not judged is not pulled against the push either.
        pulled = (
            weights.beta_kl * judged * self.usual.content.item()
            + weights.beta_style * self.usual.style.item()
        )
        dimensions = self.model.style_dim + (math.prod(self.model.content_shape) if judged else 0)
        return balanced_beta_neg(self._usual_nats(), pulled, self.scale, dimensions)

    def _usual_nats(self) -> float:
        """KL of real images while no fakes took part, as fakes are judged."""
        return self.passes.fake_content_kl * self.usual.content.item() + self.usual.style.item()

    @torch.no_grad()
    def figures(self, batch: Batch, shared: Forward, weights: Weights) -> dict[str, float]:
        """What tells whether training is healthy; means over the batch, errors summed over pixels, KLs in
        nats.
        """
        content, style = self.passes.real_nats(batch, shared.posterior)
        figures = {
            "reconstruction": shared.error.mean().item(),
            "kl_content": content.mean().item(),
            "kl_style": style.mean().item(),
        }
        if shared.back is not None:
            figures["back_translation"] = shared.back.mean().item()
        if shared.judged is not None and shared.claimed is not None and shared.fakes is not None:
            made = kinds(shared.fakes)[1]
            nats, beta_neg = shared.judged.nats[made], self.beta_neg(weights)
            figures["kl_real"] = self.passes.fake_content_kl * figures["kl_content"] + figures["kl_style"]
            figures["kl_fake"] = nats.mean().item()
            figures["kl_fake_style"] = shared.judged.style.kl(shared.claimed)[made].mean().item()
            figures["kl_difference"] = figures["kl_fake"] - figures["kl_real"]
            figures["beta_neg"] = beta_neg
            error = self._fake_error(shared)[made]
            figures["exp_elbo"] = exp_elbo(error, nats, self.scale, weights.beta_rec, beta_neg).item()
        return figures

    def _elbo(self, batch: Batch, shared: Forward, weights: Weights) -> Tensor:
        """Scale * (beta_rec * (L_rec + gamma_back * L_back) + KL) of the real images."""
        content, style = self.passes.real_nats(batch, shared.posterior)
        nats = weights.beta_kl * content + weights.beta_style * dearer_beyond(
            style, self.config.style_capacity
        )
        loss = weights.beta_rec * shared.error.mean() + nats.mean()
        if shared.back is not None:
            loss = loss + weights.back_translation * weights.beta_rec * shared.back.mean()
        return self.scale * loss

    def _fake_error(self, shared: Forward) -> Tensor:
        """L_rec of the detached fakes, or zeros where the configuration leaves it out (one decoder pass
        less).
        """
        assert shared.judged is not None and shared.fakes is not None
        fakes = shared.fakes.detach()
        if not self.config.fake_reconstruction:
            return torch.zeros_like(shared.judged.nats)
        return self.passes.rebuild_error(fakes, shared.judged, self.model.logits, fakes)

    def _consistency(self, fakes: Tensor, judged: Judgement, wanted: Codes) -> Tensor:
        """Scale * weighted squared distance between the codes that fakes were decoded from and those read off
        them.
        """
        config, total = self.config, fakes.new_zeros((), dtype=torch.float32)
        if config.content_consistency:
            content = judged.content or self.passes.content(fakes)
            gap = (content.mean - wanted.content).square().flatten(1).sum(1).mean()
            total = total + self.scale * config.content_consistency * gap
        if config.style_consistency:
            gap = (judged.style.mean - wanted.style).square().sum(1).mean()
            total = total + self.scale * config.style_consistency * gap
        return total


class IntroVAE(VAE):
    """Fakes are pushed to a KL of at least `margin` nats by a hinge (IntroVAE, arXiv 1807.06358, eqs. 11 and
    12).
    """

    introspective = True

    @property
    def margin(self) -> float:
        """Nats: as configured, or a little more than real images had while no fakes took part (`MARGIN`)."""
        return MARGIN * self._usual_nats() if self.config.margin is None else self.config.margin

    def push(self, error: Tensor | float, nats: Tensor, beta_rec: float, beta_neg: float) -> Tensor:
        """Scale * beta_neg/2 * mean of max(0, margin - KL(f)); the reconstruction error takes no part."""
        return self.scale * 0.5 * beta_neg * torch.relu(self.margin - nats).mean()

    def beta_neg(self, weights: Weights) -> float:
        """As configured; 1 when left out, since the hinge's reach is set by its margin."""
        return 1.0 if weights.beta_neg is None else weights.beta_neg


class SoftIntroVAE(VAE):
    """Fakes are pushed by their expELBO, which needs no margin (Soft-IntroVAE, arXiv 2012.13253, eqs. 5 and
    6, alpha = 2).
    """

    introspective = True

    def push(self, error: Tensor | float, nats: Tensor, beta_rec: float, beta_neg: float) -> Tensor:
        """A quarter of the mean expELBO."""
        return 0.25 * exp_elbo(error, nats, self.scale, beta_rec, beta_neg)


class BootstrapSoftIntroVAE(SoftIntroVAE):
    """Soft-IntroVAE whose decoder maximises the whole ELBO of fakes, under a decoder that lags (arXiv
    2012.13253, section 4).

    A fake is decoded again by a copy of the decoder that is renewed every ``target_steps`` steps; the
    gradient of L_rec(f) flows into the fake itself, through the frozen encoders and the frozen copy.
    ``gamma_r`` is 0.5 to 1 in the paper.
    """

    def __init__(self, config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> None:
        super().__init__(config, model, scale)
        self.target: nn.Module = deepcopy(model.decoder).requires_grad_(False)

    def rebuild(self, fakes: Tensor, judged: Judgement) -> Tensor:
        """L_rec(f) under the lagging decoder, attached to the fakes on both sides."""
        return self.passes.rebuild_error(fakes, judged, self._target_logits, fakes)

    def companions(self) -> dict[str, nn.Module]:
        """The lagging decoder, and what is usual."""
        return {**super().companions(), "target_decoder": self.target}

    def after_step(self, step: int) -> None:
        """Renew the lagging decoder every ``target_steps`` steps."""
        if step % self.config.target_steps == 0:
            self.target.load_state_dict(self.model.decoder.state_dict())

    def _target_logits(self, codes: Codes) -> Tensor:
        images: Tensor = self.target(codes.content, codes.style)
        return images


def kinds(fakes: Tensor) -> tuple[slice, slice]:
    """The two kinds of fakes in a tensor of 2B: reconstructions, then translations and prior samples."""
    half = len(fakes) // 2
    return slice(0, half), slice(half, None)


def make_objective(config: ObjectiveConfig, model: LatentModel, scale: float | None = None) -> VAE:
    """The objective that ``config.name`` names."""
    members: dict[str, type[VAE]] = {
        "elbo": VAE,
        "introvae": IntroVAE,
        "soft_introvae": SoftIntroVAE,
        "bootstrap": BootstrapSoftIntroVAE,
    }
    return members[config.name](config, model, scale)
