from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sivae_translate.data.augment import Augmentation


@dataclass(frozen=True)
class Settings:
    shift: float = 0.0
    scale: float = 0.0
    rotate: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0


EVERYTHING = Settings(0.1, 0.1, 15, True, 0.2, 0.2, 0.2, 0.1)


def noise(*shape: Any, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def ramp(size: int = 64, step: int = 3) -> Any:
    """Grey levels that rise from left to right."""
    return np.tile(np.arange(size, dtype=np.uint8) * step, (size, 1))[..., None]


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_to_change_returns_the_very_array(channels: int) -> None:
    image = noise(16, 16, channels)
    assert Augmentation(Settings())(image, 0) is image


def test_colour_changes_leave_a_grey_image_alone() -> None:
    image = noise(16, 16, 1)
    assert Augmentation(Settings(saturation=0.5, hue=0.5))(image, 0) is image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (20, 33)])
def test_shape_and_type_stay_and_the_input_is_not_written_to(channels: int, size: tuple[int, int]) -> None:
    image = noise(*size, channels)
    before = image.copy()
    image.setflags(write=False)
    augment = Augmentation(EVERYTHING)
    for seed in range(20):
        changed = augment(image, seed)
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


def test_result_depends_on_the_seed_alone() -> None:
    image = noise(32, 32, 3)
    first = Augmentation(EVERYTHING)
    results = [first(image, seed) for seed in range(10)]
    other = Augmentation(EVERYTHING)
    for seed in reversed(range(10)):
        other(noise(8, 8, 1), seed + 100)
        np.testing.assert_array_equal(other(image, seed), results[seed])
    assert len({result.tobytes() for result in results}) == 10


def test_global_random_states_neither_matter_nor_change() -> None:
    image = noise(32, 32, 3)
    augment = Augmentation(EVERYTHING)
    expected = augment(image, 3)
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(augment(image, 3), expected)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_copy_in_a_loader_process_draws_the_same() -> None:
    image = noise(32, 32, 3)
    augment = Augmentation(EVERYTHING)
    expected = augment(image, 7)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(augment))(image, 7), expected)


def test_paper_stays_paper() -> None:
    paper = np.full((32, 32, 3), 255, np.uint8)
    augment = Augmentation(Settings(shift=0.4, scale=0.4, rotate=45, flip=True))
    for seed in range(30):
        assert (augment(paper, seed) == 255).all()


def test_flip_mirrors_half_of_the_time() -> None:
    image = noise(8, 8, 3)
    augment = Augmentation(Settings(flip=True))
    mirrored = 0
    for seed in range(200):
        changed = augment(image, seed)
        is_mirrored = np.array_equal(changed, image[:, ::-1])
        assert is_mirrored or np.array_equal(changed, image)
        mirrored += is_mirrored
    assert 70 < mirrored < 130


def test_shift_moves_by_up_to_its_share_and_repeats_the_edge() -> None:
    augment = Augmentation(Settings(shift=0.25))
    columns = np.arange(64)
    shifts = []
    for seed in range(100):
        changed = augment(ramp(), seed)[..., 0]
        shift = 32 - int(changed[32, 32]) // 3
        np.testing.assert_array_equal(changed, np.tile(np.clip(columns - shift, 0, 63) * 3, (64, 1)))
        shifts.append(shift)
    assert -16 <= min(shifts) < -13
    assert 13 < max(shifts) <= 16


def test_scale_changes_the_slope_within_its_range() -> None:
    augment = Augmentation(Settings(scale=0.2))
    slopes = [np.diff(augment(ramp(), seed)[32, 16:48, 0].astype(float)).mean() / 3 for seed in range(100)]
    factors = 1 / np.array(slopes)
    assert 0.79 < factors.min() < 0.84
    assert 1.16 < factors.max() < 1.22


def test_rotation_turns_both_ways_within_its_range() -> None:
    augment = Augmentation(Settings(rotate=30))
    angles = []
    for seed in range(100):
        down, right = np.gradient(augment(ramp(), seed)[16:48, 16:48, 0].astype(float))
        angles.append(np.degrees(np.arctan2(down.mean(), right.mean())))
    assert -30.5 < min(angles) < -26
    assert 26 < max(angles) < 30.5


def test_brightness_multiplies_within_its_range() -> None:
    grey = np.full((8, 8, 1), 100, np.uint8)
    augment = Augmentation(Settings(brightness=0.2))
    values = [augment(grey, seed) for seed in range(100)]
    assert all(np.ptp(value) == 0 for value in values)
    levels = [int(value[0, 0, 0]) for value in values]
    assert 79 <= min(levels) < 84
    assert 116 < max(levels) <= 120


def test_contrast_keeps_the_mean_and_scales_the_spread() -> None:
    image = np.repeat(np.array([60, 140], np.uint8), 32).reshape(8, 8, 1)
    augment = Augmentation(Settings(contrast=0.5))
    changed = np.stack([augment(image, seed) for seed in range(100)]).astype(float)
    np.testing.assert_allclose(changed.mean((1, 2, 3)), 100, atol=1)
    spread = np.ptp(changed, axis=(1, 2, 3)) / 80
    assert 0.48 < spread.min() < 0.58
    assert 1.42 < spread.max() < 1.52


def test_saturation_keeps_luma_and_hue_keeps_the_largest_channel() -> None:
    image = noise(8, 8, 3) // 2 + 60
    luma = image @ [0.299, 0.587, 0.114]
    saturated = [Augmentation(Settings(saturation=0.3))(image, seed) for seed in range(5)]
    turned = [Augmentation(Settings(hue=0.3))(image, seed) for seed in range(5)]
    for changed in saturated:
        assert np.abs(changed @ [0.299, 0.587, 0.114] - luma).max() < 2
        assert not np.array_equal(changed, image)
    for changed in turned:
        assert np.abs(changed.max(2).astype(int) - image.max(2)).max() <= 1
        assert not np.array_equal(changed, image)


def test_steps_draw_independently() -> None:
    augment = Augmentation(Settings(shift=0.25, brightness=0.2))
    square = np.zeros((64, 64, 1), np.uint8)
    square[24:40, 24:40] = 150
    drawn = []
    for seed in range(300):
        changed = augment(square, seed)[..., 0]
        rows, columns = np.nonzero(changed)
        drawn.append((rows.mean(), columns.mean(), changed.max()))
    correlations = np.corrcoef(np.array(drawn).T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.2  # steps that start at one seed give 0.99


def test_importing_does_not_look_for_updates() -> None:
    code = """
import urllib.request
asked = []
urllib.request.OpenerDirector.open = lambda self, url, *_, **__: asked.append(url)
import sivae_translate.data.augment
print(asked)
"""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
