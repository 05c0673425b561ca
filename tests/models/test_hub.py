"""Models by their name on a hub, against a stand-in for its endpoints; nothing leaves this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sivae_translate import Translator, list_models
from sivae_translate.cli.app import main
from sivae_translate.models.hub import locate, upload
from sivae_translate.utils.errors import CheckpointError, ConfigError, InputError, OutputError
from tests.models.hub_server import TOKEN, Hub, serving

constants = pytest.importorskip("huggingface_hub.constants", reason="the extra 'hub' is not installed")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.chdir(tmp_path)
        yield server


def same(a: Translator, b: Translator) -> bool:
    mine, theirs = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in mine.items()) and a.domains == b.domains


def test_a_model_comes_back_from_the_hub_by_name(hub: Hub, tiny_run: Path, translator: Translator) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["push", str(tiny_run), "ann/pets", "--license", "mit"])
    assert stop.value.code == 0
    (files,) = hub.models["ann/pets"].values()
    assert set(files) == {"model.safetensors", "README.md", "pictures/samples.png"}
    assert b"license: mit" in files["README.md"]
    assert same(Translator.from_pretrained("ann/pets", device="cpu"), translator)


def test_revisions_are_commits_and_the_latest_is_the_default(hub: Hub, translator: Translator) -> None:
    translator.push_to_hub("ann/pets")
    first = next(iter(hub.models["ann/pets"]))
    other = Translator.from_pretrained("glyphs", device="cpu")
    other.push_to_hub("ann/pets")
    assert Translator.from_pretrained("ann/pets", device="cpu").domains == other.domains
    assert Translator.from_pretrained("ann/pets", revision=first, device="cpu").domains == translator.domains
    with pytest.raises(CheckpointError, match="no such revision"):
        locate("ann/pets", revision="0" * 40)


def test_a_cached_model_needs_no_hub(
    hub: Hub, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator.push_to_hub("ann/pets")
    path = locate("ann/pets")
    fetched = [one for one in hub.requests if one.startswith("GET")]
    assert locate("ann/pets") == path
    assert [one for one in hub.requests if one.startswith("GET")] == fetched  # not downloaded again
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert locate("ann/pets") == path
    with pytest.raises(CheckpointError, match="not in the cache"):
        locate("ann/others")
    assert len(hub.requests) == asked  # offline asks nobody


def test_a_private_model_needs_a_token(
    hub: Hub, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator.push_to_hub("ann/secret", private=True)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(CheckpointError, match="private"):
        locate("ann/secret")
    assert locate("ann/secret", token=TOKEN).is_file()


def test_errors_say_what_the_hub_has_not(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model on the hub"):
        locate("nobody/nothing")
    hub.models["ann/empty"] = {"1" * 40: {"README.md": b""}}
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        locate("ann/empty")
    hub.models["ann/other"] = {"2" * 40: {"model.safetensors": b"something else"}}
    with pytest.raises(CheckpointError, match="cannot read the model"):
        Translator.from_pretrained("ann/other")


def test_an_upload_without_permission_is_an_error(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="cannot upload ann/pets"):
        upload(tmp_path, "ann/pets", private=False, token="wrong", message="m")
    with pytest.raises(InputError, match="no name on the hub"):
        upload(tmp_path, "pets", private=False, token=None, message="m")
    assert not hub.models


def test_a_folder_of_that_name_is_a_path(hub: Hub, tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(CheckpointError, match="no run, file or pretrained model 'runs/mine'"):
        locate("runs/mine")  # mistyped: its name is not sent anywhere
    (tmp_path / "runs" / "mine").symlink_to(tiny_run)
    assert locate("runs/mine").samefile(tiny_run / "model.safetensors")
    with pytest.raises(InputError, match="no name on the hub"):
        locate("runs/mine", revision="main")
    assert not hub.requests


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"sivae-translate\[hub\]"):
        locate("ann/pets")
    with pytest.raises(ConfigError, match=r"sivae-translate\[hub\]"):
        upload(Path(), "ann/pets", private=False, token=None, message="m")


def test_the_shipped_models_are_listed_and_load() -> None:
    assert [Translator.from_pretrained(name, device="cpu").image_size for name in list_models()] == [32, 64]
