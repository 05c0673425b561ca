"""Whatever is wrong with an input, the call succeeds or says so in one clear error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.fuzz.campaigns import CAMPAIGNS, Count, run_campaign, table

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="alarms and FIFOs"),
    pytest.mark.filterwarnings("ignore"),  # Pillow's, about damage
]


def _campaign(name: str, seconds: float, tiny_run: Path, tmp_path: Path) -> Count:
    image = tmp_path / "picture.png"
    Image.new("RGB", (40, 32), (200, 90, 30)).save(image)
    first = int(os.environ.get("SIVAE_FUZZ_SEED", "0"))
    return run_campaign(name, seconds, tmp_path, tiny_run, image, first)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_few_odd_inputs_end_in_a_result_or_a_clear_error(name: str, tiny_run: Path, tmp_path: Path) -> None:
    count = _campaign(name, 0.5, tiny_run, tmp_path)
    assert not count.defects, "\n".join(count.defects)


@pytest.mark.fuzz
@pytest.mark.slow
def test_many_odd_inputs_end_in_a_result_or_a_clear_error(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = float(os.environ.get("SIVAE_FUZZ_SECONDS", "30"))
    counts = {}
    for name in CAMPAIGNS:
        folder = tmp_path / name
        folder.mkdir()
        counts[name] = _campaign(name, seconds, tiny_run, folder)
    with capsys.disabled():
        print(f"\n{table(counts)}")
    defects = [defect for count in counts.values() for defect in count.defects]
    assert not defects, "\n".join(defects)
