"""Settings: frozen, validated models, read from YAML and overrides.

A configuration has four sections: ``data``, ``model``, ``objective`` and ``training``. Every field has a
default, so an empty file is a valid configuration; the defaults are meant for two folders of photographs
without any tuning.
"""

from sivae_translate.config.data_settings import AugmentConfig, DataConfig
from sivae_translate.config.kinds import Count, NonNegative, Positive, Section, Share
from sivae_translate.config.reading import (
    BUDGETS,
    OLD_NAMES,
    OLD_VALUES,
    field_names,
    from_dict,
    load_config,
    nearest,
    read_yaml,
    to_yaml,
    validated,
    with_new_names,
)
from sivae_translate.config.sections import (
    Config,
    EncoderAugmentConfig,
    ModelConfig,
    ObjectiveConfig,
    RampConfig,
)
from sivae_translate.config.training_settings import TrainingConfig

__all__ = [
    "BUDGETS",
    "OLD_NAMES",
    "OLD_VALUES",
    "AugmentConfig",
    "Config",
    "Count",
    "DataConfig",
    "EncoderAugmentConfig",
    "ModelConfig",
    "NonNegative",
    "ObjectiveConfig",
    "Positive",
    "RampConfig",
    "Section",
    "Share",
    "TrainingConfig",
    "field_names",
    "from_dict",
    "load_config",
    "nearest",
    "read_yaml",
    "to_yaml",
    "validated",
    "with_new_names",
]
