r"""Moves the content of an image to where the target domain has such content.

Content codes should not depend on the domain, but they do: two fonts do not agree on where in its space the
content of a letter lies. With s and t running over domains,

.. math::
    c' = c + \sum_{s,t} p(s | x)\,p(t | style)\,(A_{st}\,c + b_{st})

A linear classifier of both codes tells the domain of the image, since styles of similar domains overlap; the
nearest prior mean tells that of the style. The maps are fitted after training, to mutual nearest neighbours
between domains (`training.aligning`). They act on the active numbers of the code, those that carry
information.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

ALIGNMENT = "alignment."
"""Prefix of its tensors in model files."""
MOST_DOMAINS = 16
"""Most domains that there are maps for: their number grows with the square of it."""
MOST_NUMBERS = 512
"""Most numbers of the content code that the maps act on."""


class Alignment(nn.Module):
    """Linear maps of contents between domains; none moves anything at first.

    Args:
        domains: D.
        numbers: number n of active numbers of a content code.
        style_dim: S.

    Attributes:
        places: positions of the active numbers in the flattened code, (n,).
        maps: A_st, from numbers to their changes, (D, D, n, n); zero on the diagonal of s and t.
        offsets: b_st, (D, D, n).
        weights: of the classifier, (D, n + S).
        bias: of the classifier, (D,).
    """

    places: Tensor
    maps: Tensor
    offsets: Tensor
    weights: Tensor
    bias: Tensor

    def __init__(self, domains: int, numbers: int, style_dim: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.arange(float(numbers)))
        self.register_buffer("maps", torch.zeros(domains, domains, numbers, numbers))
        self.register_buffer("offsets", torch.zeros(domains, domains, numbers))
        self.register_buffer("weights", torch.zeros(domains, numbers + style_dim))
        self.register_buffer("bias", torch.zeros(domains))

    def forward(self, content: Tensor, style: Tensor, target: Tensor) -> Tensor:
        """Move contents.

        Args:
            content: means of the images' contents, (B, Cc, h, w).
            style: means of the images' own styles, (B, S).
            target: probabilities of the domains that the new styles belong to, (B, D).

        Returns:
            (B, Cc, h, w), float32.
        """
        flat, places = content.float().flatten(1), self.places.long()
        numbers = flat[:, places]
        with torch.autocast(content.device.type, enabled=False):  # which would lower the precision
            codes = torch.cat([numbers, style.float()], 1)
            source = torch.softmax(codes @ self.weights.T + self.bias, 1)
            pairs = (source[:, :, None] * target.float()[:, None]).flatten(1)
            maps = (pairs @ self.maps.flatten(0, 1).flatten(1)).view(-1, *self.maps.shape[2:])
            change = (numbers[:, None] @ maps)[:, 0] + pairs @ self.offsets.flatten(0, 1)
        return flat.index_add(1, places, change).view_as(content)

    @property
    def kept(self) -> int:
        """Number of ordered pairs of domains that have a map."""
        return int((self.maps.flatten(2).any(2) | self.offsets.any(2)).sum())

    def fits(self, domains: int, size: int, style_dim: int) -> bool:
        """Whether it is for this many domains, and for codes of ``size`` and ``style_dim`` numbers."""
        places = self.places
        inside = bool(((places >= 0) & (places < size) & (places == places.round())).all())
        sizes = (self.maps.shape[0], self.weights.shape[1] - len(places))
        return sizes == (domains, style_dim) and inside and len(set(places.tolist())) == len(places)


def alignment_like(shapes: Mapping[str, tuple[int, ...]]) -> Alignment | None:
    """An alignment of the sizes of one in a model file, whose tensors have these names and shapes.

    Returns:
        None if there are none.

    Raises:
        ValueError: the shapes are not those of an alignment.
    """
    if not shapes:
        return None
    sizes = tuple(shapes.get("maps", ()))
    domains, numbers = (sizes[0], sizes[-1]) if len(sizes) == 4 else (0, 0)
    weights = tuple(shapes.get("weights", ()))
    style_dim = weights[-1] - numbers if len(weights) == 2 else 0
    expected = {
        "places": (numbers,),
        "maps": (domains, domains, numbers, numbers),
        "offsets": (domains, domains, numbers),
        "weights": (domains, numbers + style_dim),
        "bias": (domains,),
    }
    if {name: tuple(shape) for name, shape in shapes.items()} != expected:
        raise ValueError("its tensors do not fit each other")
    if not (2 <= domains <= MOST_DOMAINS and 1 <= numbers <= MOST_NUMBERS and style_dim > 0):
        raise ValueError(f"it has {domains} domains and {numbers} numbers")
    return Alignment(domains, numbers, style_dim)
