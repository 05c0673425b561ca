"""Names that users choose from; nothing is imported here, so that the command line lists them at once."""

from typing import Literal

ObjectiveName = Literal["elbo", "introvae", "soft_introvae", "bootstrap"]
"""Members of the introspective family."""

PlaneName = Literal["8gaussians", "spiral", "checkerboard", "rings"]
"""Data sets of the 2D laboratory."""

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Precision of matrix products; auto is bfloat16 where that is fast, and float16 on GPUs without it."""

ImageFormat = Literal["png", "jpg", "webp"]
"""Of the images that are written."""

Check = Literal["off", "warn", "raise"]
"""What to do with an input that is unlike the training data."""
