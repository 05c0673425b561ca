"""Packages that only some of the library needs, and what to install for them."""

from __future__ import annotations

import importlib
from types import ModuleType

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


def import_optional(module: str, message: str, install: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: its name.
        message: what is wrong if the package is not installed.
        install: what pip installs then.

    Raises:
        ConfigError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(message, remedy=f"pip install {install}") from error
