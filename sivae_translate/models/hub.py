"""Models on a hub (huggingface_hub): reading ``user/name``, and uploading a folder; the extra ``hub``.

The cache, the offline mode (``HF_HUB_OFFLINE``), the token and the address (``HF_ENDPOINT``) are those of
huggingface_hub.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sivae_translate import __version__
from sivae_translate.models.weights import find_model
from sivae_translate.utils.errors import CheckpointError, ConfigError, InputError, OutputError, SivaeError
from sivae_translate.utils.extras import import_optional

MODEL_FILE = "model.safetensors"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
"""``user/name``, as a hub writes it."""
READ_REASONS = {
    "GatedRepoError": ("its owner has to let you read it first", "ask on its page, then set HF_TOKEN"),
    "RepositoryNotFoundError": (
        "there is no such folder here and no such model on the hub, or it is private",
        "check the name; for a private model, set HF_TOKEN or give a token",
    ),
    "RevisionNotFoundError": ("it has no such revision", "name a branch, a tag or a commit of it"),
    "EntryNotFoundError": (f"it has no {MODEL_FILE}", "name a model that this library uploaded"),
    "RemoteEntryNotFoundError": (f"it has no {MODEL_FILE}", "name a model that this library uploaded"),
    "LocalEntryNotFoundError": (
        "it is not in the cache, and the hub cannot be reached or HF_HUB_OFFLINE is set",
        "connect, or copy the model here and name its folder",
    ),
}
"""What huggingface_hub's errors mean for reading, and what to do, by the names of their classes."""


def locate(source: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The model file for a name, a run folder, a path or, if there is no such path, a model on the hub.

    A string ``user/name`` is a model on the hub unless there is such a path, or at least the folder ``user``.

    Args:
        source: what `find_model` takes, or ``user/name``.
        revision: branch, tag or commit on the hub.
        token: for private models; None is the one that huggingface_hub finds.

    Raises:
        CheckpointError: there is no such model, or it cannot be downloaded.
        InputError: a revision or a token is given for what is not on the hub.
    """
    if isinstance(source, str) and _is_on_hub(source):
        return _download(source, revision, token)
    if revision is not None or token is not None:
        raise InputError(
            f"a revision or a token is given, but '{source}' is no name on the hub",
            remedy="leave it out, or name USER/NAME; a folder USER here makes that a path",
        )
    return find_model(source)


def upload(folder: Path, name: str, *, private: bool, token: str | None, message: str) -> str:
    """Upload a folder as a model, which is made if it does not exist; returns its address.

    Raises:
        InputError: the name is not one of the hub's.
        ConfigError: huggingface_hub is not installed.
        OutputError: the upload failed; the hub has what it had before.
    """
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"'{name}' is no name on the hub", remedy="give USER/NAME")
    api = _hub("to upload a model").HfApi(
        endpoint=_endpoint(), token=token, library_name="sivae-translate", library_version=__version__
    )
    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=name, commit_message=message)
    except Exception as error:  # which errors a lost connection raises depends on the HTTP library
        raise OutputError(
            f"cannot upload {name}: {_first_line(error)}",
            remedy="check the name and the connection, and log in with `hf auth login` or set HF_TOKEN",
        ) from error
    return str(commit.repo_url)


def _is_on_hub(source: str) -> bool:
    """Whether a source can only be a model on the hub."""
    path = Path(source)
    return bool(HUB_NAME.fullmatch(source)) and not path.exists() and not path.parent.is_dir()


def _download(name: str, revision: str | None, token: str | None) -> Path:
    """The model's file in huggingface_hub's cache, downloaded if it is not there yet.

    Raises:
        CheckpointError: huggingface_hub is not installed, or the model cannot be had.
    """
    try:
        hub = _hub("to read models from the hub")
    except ConfigError as error:
        raise CheckpointError(
            f"there is no run or file '{name}', and {error.what}", remedy=error.remedy
        ) from error
    try:
        path = hub.hf_hub_download(
            name,
            MODEL_FILE,
            revision=revision,
            token=token,
            endpoint=_endpoint(),
            library_name="sivae-translate",
            library_version=__version__,
        )
    except Exception as error:  # as above
        raise _unavailable(name, revision, error) from error
    return Path(path)


def _unavailable(name: str, revision: str | None, error: Exception) -> SivaeError:
    kinds = (kind.__name__ for kind in type(error).__mro__)
    known = next((READ_REASONS[kind] for kind in kinds if kind in READ_REASONS), None)
    reason, remedy = known or (_first_line(error), "check the name and the connection")
    at = f" at revision '{revision}'" if revision else ""
    return CheckpointError(f"cannot read '{name}'{at}: {reason}", remedy=remedy)


def _hub(purpose: str) -> Any:
    """The package huggingface_hub.

    Raises:
        ConfigError: it is not installed.
    """
    return import_optional(
        "huggingface_hub", f"huggingface_hub is needed {purpose}", "'sivae-translate[hub]'"
    )


def _endpoint() -> str | None:
    """The hub's address, where it is not the usual one."""
    return os.environ.get("HF_ENDPOINT")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
