"""What the networks of a model compute on: pixels, or the views that an autoencoder makes of images.

Training treats a view like an image: numbers in [0, 1], with channels, height and width. An objective on
12,288 pixels is mostly about texture; on the latents of an autoencoder that takes care of textures, it is
about what is where (as in latent diffusion, arXiv 2112.10752).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Space(nn.Module, ABC):
    """Turns images into views and back.

    Attributes:
        factor: the side of an image divided by that of its view.
    """

    factor: int

    @abstractmethod
    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape (K, h, w) of the view of an image (C, H, W)."""

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
        """The shape of the image."""
        return image_shape

    def encode(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    def decode(self, views: Tensor) -> Tensor:
        """The views themselves."""
        return views
