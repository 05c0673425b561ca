"""What the networks of a model compute on: pixels, or the views that an autoencoder makes of images.

To everything that trains a model, a view is an image: numbers in [0, 1], with channels and a side. An
objective on 12,288 pixels is mostly about texture; on the latents of an autoencoder that knows textures, it
is about what is where (as in latent diffusion, arXiv 2112.10752).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Space(nn.Module, ABC):
    """From images to views and back.

    Attributes:
        factor: the side of an image divided by that of its view.
    """

    factor: int

    @abstractmethod
    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a view, (K, h, w), of an image (C, H, W)."""

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] to views (B, K, h, w) in [0, 1]."""

    @abstractmethod
    def decode(self, views: Tensor) -> Tensor:
        """Views (B, K, h, w) in [0, 1] to images (B, C, H, W) in [0, 1]."""


class Pixels(Space):
    """Views are the images themselves."""

    factor = 1

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The image's own."""
        return image_shape

    def encode(self, images: Tensor) -> Tensor:
        """The images."""
        return images

    def decode(self, views: Tensor) -> Tensor:
        """The views."""
        return views
