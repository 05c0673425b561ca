"""Packages that only some of the library needs, and what to install for them."""

from __future__ import annotations

from sivae_translate.utils.errors import ConfigError

TRAINING = frozenset({"albumentations", "kornia", "lpips", "matplotlib", "scipy", "torchvision"})
"""What the extra ``train`` brings: training, evaluation and research need it, translating does not."""


def missing_package(error: ModuleNotFoundError) -> ConfigError | None:
    """The error to show for a package of the extra ``train`` that is not installed; None for any other.

    >>> print(missing_package(ModuleNotFoundError("No module named 'scipy.stats'", name="scipy.stats")))
    this needs scipy, which is not installed: training and evaluation have an extra
      remedy: pip install 'sivae-translate[train]'
    """
    package = (error.name or "").partition(".")[0]
    if package not in TRAINING:
        return None
    return ConfigError(
        f"this needs {package}, which is not installed: training and evaluation have an extra",
        remedy="pip install 'sivae-translate[train]'",
    )
