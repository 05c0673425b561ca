"""What the tests of training share: a small model, two small domains, and a power cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.training.trainer import Trainer

MODEL: Mapping[str, Any] = {
    "widths": [4, 6, 8],
    "style_widths": [4, 4, 6],
    "content_channels": 3,
    "style_dim": 5,
    "style_features": 8,
}
"""Sizes for images of 32 px."""


@pytest.fixture(scope="session")
def data() -> DomainData:
    """Two domains of 24 grey images of noise, 32 px."""
    rng = np.random.default_rng(0)
    sources = tuple(ArrayImages(rng.integers(0, 256, (24, 32, 32, 1), dtype=np.uint8)) for _ in range(2))
    return DomainData(domains=("left", "right"), train=sources)


def run_until_power_cut(trainer: Trainer, last: int) -> None:
    """Train until so many steps are done; the next one ends it as a power cut would."""
    step = trainer.step

    def fail(batch: Any) -> dict[str, float]:
        if trainer.state.progress.step == last:
            raise RuntimeError("power cut")
        return step(batch)

    trainer.step = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="power cut"):
        trainer.run()
