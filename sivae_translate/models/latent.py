"""The interface of models: two codes, their posteriors and priors, and a decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sivae_translate.models.alignment import Alignment
from sivae_translate.models.codes import Codes, Posterior
from sivae_translate.models.networks import StylePrior
from sivae_translate.models.priors import MixturePrior, StandardPrior
from sivae_translate.models.spaces import Pixels, Space
from sivae_translate.models.windows import Windows
from sivae_translate.utils.errors import InputError


class LatentModel(nn.Module):
    """The interface of models that objectives, training and evaluation use.

    A plain model has a style code without dimensions, so every equation with two codes holds for it. The
    networks compute on views: the images themselves, or their latents under an autoencoder.

    Args:
        image_shape: (C, H, W).
        space: between images and views; None is pixels.

    Attributes:
        image_shape: (C, H, W).
        view_shape: (K, h, w), of what the networks take and make.
        content_shape: shape of the content code.
        style_dim: S.
        domains: number of labelled domains; 0 without labels.
        translates: whether there is a style to exchange.
        alignment: moves contents between domains in `translate`; None if none was fitted.
        variance: variance of a pixel around its decoded value, for likelihoods; a scalar, 0 until it is
            fitted by `fit_variance`.
    """

    image_shape: tuple[int, ...]
    content_shape: tuple[int, ...]
    style_dim: int
    domains: int
    translates: bool
    content_encoder: nn.Module
    content_prior: StandardPrior | MixturePrior
    style_encoder: nn.Module
    style_prior: StylePrior
    decoder: nn.Module
    variance: Tensor
    alignment: Alignment | None

    def __init__(self, image_shape: tuple[int, ...], space: Space | None = None) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.space = Pixels() if space is None else space
        self.view_shape = self.space.shape(image_shape)
        self.alignment = None
        self.register_buffer("variance", torch.tensor(0.0))

    @property
    def flat(self) -> bool:
        """Whether the networks compute on an autoencoder's views."""
        return self.space.factor > 1

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that the encoders' half of a step updates."""
        return [*self.content_encoder.parameters(), *self.style_encoder.parameters()]

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Parameters that the decoder's half of a step updates: the decoder and the learned priors."""
        parts = (self.decoder, self.style_prior, self.content_prior)
        return [
            p for part in parts for p in part.parameters() if p.numel()
        ]  # without domains there are no style means

    def encode(self, images: Tensor) -> Posterior:
        """Map images (B, C, H, W) in [0, 1] to the posteriors of content (B, Cc, h, w) and style (B, S).

        Raises:
            InputError: the images do not have the model's shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape:
            raise InputError(
                f"images have shape {tuple(images.shape)}, the model takes (B, "
                f"{', '.join(map(str, self.image_shape))})",
                remedy="let Translator prepare the images, or resize them and convert their channels",
            )
        return self.read(self.space.encode(images))

    def read(self, views: Tensor) -> Posterior:
        """Views (B, K, h, w) in [0, 1] to the posteriors of content and style."""
        return Posterior(self.content_encoder(views), self.style_encoder(views))

    def decode(self, codes: Codes) -> Tensor:
        """Decode codes to images (B, C, H, W) in [0, 1]."""
        return self.space.decode(self.draw_views(codes))

    def draw_views(self, codes: Codes) -> Tensor:
        """Decode codes to views (B, K, h, w) in [0, 1]."""
        return self.observed(self.logits(codes))

    def observed(self, logits: Tensor) -> Tensor:
        """Turn the decoder's outputs into data: their sigmoid."""
        return torch.sigmoid(logits)

    def logits(self, codes: Codes) -> Tensor:
        """Decode codes to views (B, K, h, w) before the sigmoid, in float32.

        The Bernoulli reconstruction error is exact on these.
        """
        views: Tensor = self.decoder(codes.content, codes.style)
        return views

    def prior_style(self, domain: Tensor | None, batch: int) -> Tensor:
        """Mean of p(s | d): (B, S), for domain indices (B,); zeros without labels."""
        return self.style_prior(domain if self.domains else None, batch)  # type: ignore[no-any-return]

    def translate(self, images: Tensor, style: Tensor) -> Tensor:
        """decode(content mean of the images (B, C, H, W), style (B, S)): (B, C, H, W) in [0, 1].

        The contents are moved by the `alignment` first, if there is one.
        """
        views = self.space.encode(images)
        content = self.content_encoder(views).mean
        if self.alignment is not None:
            own, target = self.style_encoder(views).mean, self.style_prior.membership(style)
            content = self.alignment(content, own, target)
        return self.decode(Codes(content, style))

    def content(self, images: Tensor) -> Tensor:
        """Mean of q(c | x) of images (B, C, H, W) of any size that is a multiple of `cell`: (B, Cc, h, w)."""
        mean: Tensor = self.content_encoder(self.space.encode(images)).mean
        return mean

    def draw_windows(self, content: Tensor, style: Tensor, windows: Windows) -> Tensor:
        """Decode parts (B, Cc, h, w) of one picture's content with styles (B, S): (B, C, H, W) in [0, 1]."""
        return self.space.decode(self.observed(self.decoder(content, style, windows)))

    @property
    def cell(self) -> int:
        """Side in pixels of what one place of a spatial content code describes."""
        return self.image_shape[-1] // self.content_shape[-1]

    def style(self, images: Tensor) -> Tensor:
        """Mean of q(s | x) of images (B, C, H, W): (B, S)."""
        mean: Tensor = self.style_encoder(self.space.encode(images)).mean
        return mean

    def sample(
        self, count: int, domain: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw content and style from their priors: images (count, C, H, W) in [0, 1].

        Args:
            count: number of images.
            domain: domain index; None only without labels.
            generator: random generator on the model's device.
        """
        index = None if domain is None else torch.full((count,), domain, device=self.style_prior.means.device)
        return self.decode(self.draw(count, index, generator))

    def draw(
        self, count: int, domain: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Codes:
        """Draw codes from their priors; see `sample`, with a domain index (count,) for each."""
        device = self.style_prior.means.device
        content = self.content_prior.sample(count, device, generator)
        noise = torch.randn(count, self.style_dim, device=device, generator=generator)
        return Codes(content, self.prior_style(domain, count) + noise)

    @torch.no_grad()
    def fit_variance(self, images: Tensor, generator: torch.Generator | None = None) -> None:
        """Set `variance` to its maximum likelihood value.

        It is the mean squared error of images (B, C, H, W) decoded from drawn codes.
        """
        rebuilt = self.decode(self.encode(images).sample(generator))
        self.variance.copy_((rebuilt.float() - images).square().mean())

    @torch.no_grad()
    def log_likelihood(self, images: Tensor, samples: int = 16, domain: Tensor | None = None) -> Tensor:
        r"""A lower bound of log p(x): importance-weighted, and tighter with more samples.

        .. math::
            \log \tfrac1K \sum_k \frac{\mathcal N(x; \mathrm{decode}(c_k, s_k), \sigma^2 I)\, p(c_k)\, p(s_k)}
            {q(c_k | x)\, q(s_k | x)}, \quad c_k, s_k \sim q

        This is eq. 8 of arXiv 1509.00519.

        Args:
            images: (B, C, H, W) in [0, 1].
            samples: K; 1 estimates the ELBO.
            domain: (B,) domains whose style priors are used; None is all domains with equal weight.

        Returns:
            (B,) in nats, of densities over [0, 1]; `bits_per_dimension` converts them to the usual unit.

        Raises:
            InputError: the images have a wrong shape, ``samples`` is below 1, or the variance is not fitted.
        """
        if samples < 1:
            raise InputError(f"samples is {samples}", remedy="give 1 or more")
        if not self.variance > 0:
            raise InputError(
                "the model's pixel variance is not fitted", remedy="call fit_variance on training images"
            )
        posterior = self.encode(images)
        weights = torch.stack([self.log_weight(images, posterior, domain) for _ in range(samples)])
        return torch.logsumexp(weights, 0) - math.log(samples)

    def log_weight(self, images: Tensor, posterior: Posterior, domain: Tensor | None = None) -> Tensor:
        """Log of p(x, c, s) / q(c, s | x) for one draw of the codes, (B,) nats; its mean is the ELBO."""
        codes = posterior.sample()
        error = (self.decode(codes).float() - images).square().flatten(1).sum(1)
        pixels = -0.5 * (error / self.variance + images[0].numel() * torch.log(2 * math.pi * self.variance))
        prior = self.content_prior.log_prob(codes.content) + self.style_log_prob(codes.style, domain)
        return (
            pixels + prior - posterior.content.log_prob(codes.content) - posterior.style.log_prob(codes.style)
        )

    def style_log_prob(self, style: Tensor, domain: Tensor | None = None) -> Tensor:
        """Log density in nats, (B,), of styles (B, S) under the priors of their domains (B,).

        Without ``domain``, the density is the mixture of all domains with equal weights.
        """
        if domain is not None or not self.domains:
            return _standard_log_prob(style - self.prior_style(domain, len(style)))
        each = _standard_log_prob(style[:, None] - self.style_prior.means)
        return torch.logsumexp(each, 1) - math.log(self.domains)


def _standard_log_prob(value: Tensor) -> Tensor:
    """Log density of N(0, I) over the last dimension."""
    return -0.5 * (value.square() + math.log(2 * math.pi)).sum(-1)


def bits_per_dimension(log_likelihood: Tensor, dimensions: int, levels: int = 256) -> Tensor:
    """Convert log likelihoods of densities over [0, 1] to bits per pixel and channel; lower is better.

    Args:
        log_likelihood: (B,) in nats.
        dimensions: C * H * W.
        levels: grey levels of the image files.
    """
    return math.log2(levels) - log_likelihood / (dimensions * math.log(2))
