"""A cache is named by what its pixels depend on, and by nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sivae_translate.config import DataConfig
from sivae_translate.data.cache import _key

PIXELS = st.fixed_dictionaries(
    {
        "image_size": st.sampled_from([28, 32, 64, 128, 256]),
        "channels": st.sampled_from([1, 3]),
        "fit": st.sampled_from(["cover", "contain", "stretch"]),
        "white_level": st.sampled_from([None, 1023, 4095]),
    }
)
PATHS = [Path("/images/cats/1.png"), Path("/images/dogs/2.png")]


@given(PIXELS, PIXELS)
def test_keys_differ_just_where_the_pixels_do(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert (_key(PATHS, DataConfig(**one)) == _key(PATHS, DataConfig(**other))) == (one == other)


@given(PIXELS, st.booleans(), st.integers(0, 4), st.integers(0, 10**6))
def test_other_settings_do_not_matter(
    pixels: dict[str, Any], pairs: bool, workers: int, megabytes: int
) -> None:
    config = DataConfig(**pixels, pairs=pairs, workers=workers, cache_megabytes=megabytes)
    assert _key(PATHS, config) == _key(PATHS, DataConfig(**pixels))


@given(st.permutations(PATHS), PIXELS)
def test_the_order_of_the_files_does_not_matter(paths: list[Path], pixels: dict[str, Any]) -> None:
    assert _key(paths, DataConfig(**pixels)) == _key(PATHS, DataConfig(**pixels))


@given(st.text("abcdef", min_size=1, max_size=8), st.text("abcdef", min_size=1, max_size=8))
def test_another_folder_has_another_cache(one: str, other: str) -> None:
    keys = [_key([Path("/", name, "a", "1.png")], DataConfig()) for name in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)
