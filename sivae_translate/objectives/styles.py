"""The styles that images are decoded with in training: of their own domain, or of another."""

from __future__ import annotations

import torch
from torch import Tensor

from sivae_translate.config import ObjectiveConfig
from sivae_translate.models.latent import LatentModel


def reconstruction_styles(
    style: Tensor, domain: Tensor, model: LatentModel, config: ObjectiveConfig
) -> Tensor:
    """Styles for reconstructions: swapped with other images of the domain, or replaced by prior means.

    Args:
        style: draws from the images' own posteriors, (B, S).
        domain: (B,); images of a domain are adjacent.
        model: gives the prior means.
        config: ``style_swap`` and ``prior_style``.

    Returns:
        (B, S).
    """
    swapped = swap_styles(style, domain, config.style_swap)
    if not config.prior_style:
        return swapped
    replaced = torch.rand(len(domain), 1, device=domain.device) < config.prior_style
    return torch.where(replaced, model.prior_style(domain, len(domain)), swapped)


def swap_styles(style: Tensor, domain: Tensor, share: float) -> Tensor:
    """Give a fraction of the images the style of another image of their domain.

    Then the style code can only contain what the images of a domain have in common. Turn it off (share 0) if
    styles differ within a domain and the style code should distinguish them.

    Args:
        style: (B, S).
        domain: (B,); images of a domain are adjacent.
        share: fraction, 0 to 1.

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


def translation_styles(style: Tensor, domain: Tensor, model: LatentModel) -> tuple[Tensor, Tensor, Tensor]:
    """Target styles of translations, the prior means of their domains, and these domains.

    With labels, half are draws from another domain's prior (as in translation to a domain) and half are codes
    of other images of the batch (as in translation to a reference). Without labels, all are codes of other
    images.

    Args:
        style: detached draws from the images' own posteriors, (B, S).
        domain: (B,).
        model: gives the prior means.

    Returns:
        (B, S), (B, S) and (B,).
    """
    count, domains = len(domain), model.domains
    order = torch.randperm(count, device=domain.device)
    target = domain[order]
    if domains < 2:
        return style[order], model.prior_style(target, count).detach(), target
    from_prior = torch.arange(count, device=domain.device) % 2 == 0
    other = (domain + torch.randint(1, domains, (count,), device=domain.device)) % domains
    target = torch.where(from_prior, other, target)
    mean = model.prior_style(target, count).detach()
    return torch.where(from_prior[:, None], mean + torch.randn_like(mean), style[order]), mean, target
