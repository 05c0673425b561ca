"""Every command works without a network: `no_network` in tests/conftest.py guards the whole suite."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sivae_translate.cli.app import COMMANDS, main
from tests.conftest import NetworkUseError

ELSEWHERE = {"add-domain", "align", "benchmark", "compare", "demo", "fidelity", "mask", "push", "serve"}
"""Commands that their own tests run, in this process and under the same guard."""

SMALL = ["--model.widths", "8", "8", "8", "--model.style-widths", "8", "8", "8", "--training.batch", "4"]


def test_the_guard_refuses_other_machines() -> None:
    with pytest.raises(NetworkUseError, match="example"):
        urllib.request.urlopen("http://example.com")
    with pytest.raises(NetworkUseError, match="192"), socket.socket() as one:
        one.connect(("192.0.2.1", 80))


def images(root: Path) -> Path:
    """Two domains, with test images."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for domain in ("day", "night"):
            folder = root / split / domain
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                    folder / f"{index}.png"
                )
    return root


def test_every_command_works_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data, run = images(tmp_path / "data"), tmp_path / "run"
    day = data / "test" / "day"
    options: dict[str, list[Any]] = {
        "train": ["--data", data, "--data.image-size", "32", *SMALL, "--training.steps", "2", "--out", run],
        "info": [run],
        "settings": [],
        "translate": [run, day, "--to", "night", "--out", "translated"],
        "reconstruct": [run, day, "--out", "rebuilt"],
        "sample": [run, "--domain", "night", "--n", "2", "--out", "samples"],
        "interpolate": [run, day / "0.png", day / "1.png", "--out", "strip.png"],
        "evaluate": [run, "--limit", "3"],
        "ood": [run, "--out", day, "--in", data / "test" / "night", "--samples", "2"],
        "export": [run, "--out", "exported"],
        "toy": [
            "--planes",
            "rings",
            "--objectives",
            "elbo",
            "--seeds",
            "1",
            "--iterations",
            "2",
            "--batch",
            "64",
        ],
        "theory": ["--problems", "2", "--iterations", "10"],
    }
    assert set(options) | ELSEWHERE == set(COMMANDS)
    for command, arguments in options.items():
        with pytest.raises(SystemExit) as stop:
            main([command, *map(str, arguments)])
        assert not stop.value.code, f"{command}: {capsys.readouterr().err}"
