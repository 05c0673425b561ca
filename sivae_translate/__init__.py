"""sivae-translate: unpaired image-to-image translation with a content/style Soft-IntroVAE.

The public names are imported when they are first used, so that ``import sivae_translate`` does not import
torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sivae_translate.config import Config, load_config
    from sivae_translate.data.domains import DomainData
    from sivae_translate.data.sources import Source, register_source
    from sivae_translate.evaluation.translation import evaluate
    from sivae_translate.inference.engine import Engine
    from sivae_translate.inference.style import Style
    from sivae_translate.inference.translator import Translator
    from sivae_translate.inference.web import make_app
    from sivae_translate.models.codes import Codes, Gaussian, Posterior
    from sivae_translate.models.lpips import Lpips
    from sivae_translate.models.translation import TranslationVAE
    from sivae_translate.models.weights import list_models
    from sivae_translate.training.callbacks import Callback, StopTraining
    from sivae_translate.training.launch import train
    from sivae_translate.utils.errors import SivaeError

__version__ = "0.1.0"

_HOMES = {
    "Callback": "training.callbacks",
    "Codes": "models.codes",
    "Config": "config",
    "DomainData": "data.domains",
    "Engine": "inference.engine",
    "Gaussian": "models.codes",
    "Lpips": "models.lpips",
    "Posterior": "models.codes",
    "SivaeError": "utils.errors",
    "Source": "data.sources",
    "StopTraining": "training.callbacks",
    "Style": "inference.style",
    "TranslationVAE": "models.translation",
    "Translator": "inference.translator",
    "evaluate": "evaluation.translation",
    "list_models": "models.weights",
    "load_config": "config",
    "make_app": "inference.web",
    "register_source": "data.sources",
    "train": "training.launch",
}

__all__ = [
    "Callback",
    "Codes",
    "Config",
    "DomainData",
    "Engine",
    "Gaussian",
    "Lpips",
    "Posterior",
    "SivaeError",
    "Source",
    "StopTraining",
    "Style",
    "TranslationVAE",
    "Translator",
    "evaluate",
    "list_models",
    "load_config",
    "make_app",
    "register_source",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sivae_translate' has no attribute '{name}'")
    try:
        return getattr(import_module(f"sivae_translate.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from sivae_translate.utils.extras import missing_package

        raise (missing_package(error) or error) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
