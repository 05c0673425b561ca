"""Seams between tiles are found where there are some."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.tiles import kinds, ratio


def test_a_step_at_a_border_is_a_seam_and_noise_has_none() -> None:
    noise = np.random.default_rng(0).random((90, 90))
    places = ([30, 60], [45])
    assert ratio(noise, places) == pytest.approx(1, abs=0.1)
    stepped = noise.copy()
    stepped[30:] += 2
    assert ratio(stepped, places) > 1.5


def test_three_kinds_of_images_have_the_models_channels() -> None:
    assert [image.size for image in kinds(96, 3).values()] == [(96, 64)] * 3
    assert {image.mode for image in kinds(96, 1).values()} == {"L"}
