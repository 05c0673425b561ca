"""A small untrained model in a run folder, images to feed it, and no network."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sivae_translate.config import from_dict, to_yaml
from sivae_translate.data.processor import FitPolicy
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.models.weights import save_model

DOMAINS = ("cats", "dogs", "foxes")


class NetworkUseError(AssertionError):
    """Something wanted to talk to another machine."""


def own_addresses() -> set[str]:
    """Names and addresses of this machine: parts of a cluster on one machine talk to each other."""
    name = socket.gethostname()
    addresses = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::", name, socket.getfqdn()}
    with contextlib.suppress(OSError):  # a machine that does not know its own name
        addresses |= {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
    return addresses


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Nothing that a test runs in this process may talk to another machine."""
    own, patch = own_addresses(), pytest.MonkeyPatch()
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def refuse(host: Any) -> None:
        text = host.decode() if isinstance(host, bytes) else host
        if text is not None and text not in own and not str(text).startswith("127."):
            raise NetworkUseError(f"a connection to {text}")

    def connect_here(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple):
            refuse(address[0])
        return connect(self, address)

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        refuse(host)
        return look_up(host, *arguments, **options)

    patch.setattr(socket.socket, "connect", connect_here)
    patch.setattr(socket, "getaddrinfo", look_up_here)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with model.safetensors and config.yaml: three domains, 32 px, RGB, never trained."""
    settings = {
        "data": {"image_size": 32, "channels": 3},
        "model": {
            "widths": [8, 16, 16],
            "style_widths": [8, 8, 16],
            "content_channels": 4,
            "style_dim": 8,
            "style_features": 16,
            "decoder_blocks": 1,
        },
    }
    config = from_dict(settings, "conftest")
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("run")
    save_model(
        run / "model.safetensors", make_model(config.model, config.data, 3), config, DOMAINS, {"steps": 0}
    )
    (run / "config.yaml").write_text(to_yaml(config))
    return run


@pytest.fixture(scope="session")
def translator(tiny_run: Path) -> Translator:
    return Translator.from_pretrained(tiny_run, device="cpu", dtype="float32")


def with_fit(translator: Translator, fit: FitPolicy) -> Translator:
    """The same model, as if it had been trained with another ``data.fit``."""
    data = translator.config.data.model_copy(update={"fit": fit})
    config = translator.config.model_copy(update={"data": data})
    return Translator(translator.model, config, translator.domains, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """Five smooth RGB images, uint8 (5, 32, 32, 3)."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    """Images in a folder and a sub-folder, and one broken file."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    for index, place in enumerate(["a.png", "b.png", "deep/c.png", "deep/er/d.png"]):
        Image.fromarray(pixels[index]).save(root / place)
    (root / "broken.png").write_bytes(b"not an image")
    return root
