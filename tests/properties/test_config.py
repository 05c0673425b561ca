"""Settings survive their way through YAML."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sivae_translate.config import from_dict, to_yaml

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "image_size": st.sampled_from([28, 32, 64, 128, 256]),
                "channels": st.sampled_from([1, 3]),
                "fit": st.sampled_from(["cover", "contain", "stretch"]),
                "root": st.text("abc /äß'\":#-", min_size=1, max_size=12).map(lambda text: f"/{text}x"),
                "pairs": st.booleans(),
            },
        ),
        "objective": st.fixed_dictionaries(
            {},
            optional={
                "beta_kl": st.floats(1e-6, 1e6),
                "beta_neg": st.none() | st.floats(1e-6, 1e6),
                "name": st.sampled_from(["elbo", "introvae", "soft_introvae", "bootstrap"]),
            },
        ),
        "training": st.fixed_dictionaries({}, optional={"seed": st.integers(0, 2**31)}),
    },
)


@given(SETTINGS)
def test_settings_come_back_from_yaml(values: dict[str, dict[str, object]]) -> None:
    config = from_dict(values, "test")
    assert from_dict(yaml.safe_load(to_yaml(config)), "yaml") == config


@given(SETTINGS)
def test_writing_is_stable(values: dict[str, dict[str, object]]) -> None:
    text = to_yaml(from_dict(values, "test"))
    assert to_yaml(from_dict(yaml.safe_load(text), "yaml")) == text
