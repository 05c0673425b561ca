"""Model files: one safetensors file with weights, and with settings, domains and facts as metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sivae_translate.config import Config, from_dict
from sivae_translate.models.alignment import ALIGNMENT, Alignment, alignment_like
from sivae_translate.models.autoencoder import Autoencoder
from sivae_translate.models.autoencoder_files import OWN, SPACE, autoencoder_like
from sivae_translate.models.build import make_model, model_shapes, parameter_bound
from sivae_translate.models.code_typicality import CodeCalibration
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.typicality import TYPICALITY, Calibration, NeighbourCalibration
from sivae_translate.utils.errors import CheckpointError, ConfigError
from sivae_translate.utils.files import replacing
from sivae_translate.utils.progress import console
from sivae_translate.utils.resources import asset_path
from sivae_translate.utils.tensor_files import (
    TensorFileError,
    below,
    read_metadata,
    read_shapes,
    read_tensors,
    write_tensors,
)

FORMAT = "sivae-translate 1"
BEST = "best.safetensors"
"""Model file of the best checkpoint so far, in the run folder."""
VARIANCE = "variance"
UNCHECKED_PARAMETERS = 50_000_000
"""Models that may have more parameters are compared with the shapes in the file before allocation."""
MOST_DOMAINS = 100_000
LONGEST_NAME = 1000


def _checked_name(name: object) -> str:
    """Validate a domain's name; pydantic's own type rejects names that are not UTF-8."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise ValueError(f"a name is a string of at most {LONGEST_NAME} characters")
    return name


_Name = Annotated[Any, AfterValidator(_checked_name)]
_Numbers = Annotated[list[float], Field(min_length=3, max_length=4)]
_Deviations = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=4)]
PRETRAINED = {"glyphs": "glyphs.safetensors", "glyphs-64": "glyphs-64.safetensors"}
"""Names of the models that come with the library, and their files in assets/."""


@dataclass(frozen=True)
class SavedModel:
    """The content of a model file.

    Attributes:
        model: the model, in evaluation mode, on the CPU, in float32.
        config: settings of the run.
        domains: names of the domains, in the order of their indices; one unnamed domain without labels.
        facts: facts about the training (steps, minutes, last metrics).
        calibration: scores of typical images, or None if there was no validation image.
    """

    model: LatentModel
    config: Config
    domains: tuple[str, ...]
    facts: dict[str, object]
    calibration: Calibration | None


def save_model(
    path: Path,
    model: LatentModel,
    config: Config,
    domains: Sequence[str],
    facts: Mapping[str, object],
    calibration: Calibration | None = None,
) -> None:
    """Write a model file atomically, without the user's paths.

    Raises:
        OutputError: the file cannot be written.
    """
    settings = config.model_dump(mode="json")
    settings["data"]["root"] = settings["data"]["cache"] = settings["training"]["fine_tune"] = None
    settings["model"]["autoencoder"] = OWN if model.flat else None  # it is in the file
    calibrated = calibration.as_json() if calibration else None
    about = {"config": settings, "domains": list(domains), "facts": dict(facts), "calibration": calibrated}
    metadata = {"format": FORMAT, "about": json.dumps(about, sort_keys=True)}
    weights = {name: value.float() for name, value in model.state_dict().items()}
    if calibration:
        weights |= {TYPICALITY + name: value for name, value in calibration.tensors().items()}
    with replacing(path) as temporary:
        write_tensors(temporary, weights, metadata)


def load_model(path: Path) -> SavedModel:
    """Read a model file, checking settings and shapes before anything is allocated.

    Raises:
        CheckpointError: the file is missing, damaged, or not a model of this library.
    """
    about, config = _read_about(path)
    count = len(about.domains)
    try:
        stored = read_shapes(path)
        space = _space_in(path, stored) if config.model.autoencoder else None
        sizes = (config.model, config.data, count, space)
        alignment = _alignment_in(path, stored)
        if parameter_bound(*sizes) > UNCHECKED_PARAMETERS:
            others = (ALIGNMENT, TYPICALITY)
            networks = {name: shape for name, shape in stored.items() if not name.startswith(others)}
            _check_shapes(path, networks, model_shapes(*sizes))
        model = make_model(*sizes)
        model.alignment = alignment
        tensors = read_tensors(path)
    except ConfigError as error:
        raise damaged(path, error.what) from error
    except TensorFileError as error:
        raise damaged(path, str(error)) from error
    weights = {name: value for name, value in tensors.items() if not name.startswith(TYPICALITY)}
    weights.setdefault(VARIANCE, torch.tensor(0.0))  # older files have no variance: not fitted
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    _check_shapes(path, {name: tuple(value.shape) for name, value in weights.items()}, shapes)
    for name, value in weights.items():
        if not value.is_floating_point() or not value.isfinite().all():
            raise damaged(path, f"'{name}' has values that are not finite or not floating-point")
        if name == f"{SPACE}deviation" and not (value > 0).all():
            raise damaged(path, f"'{name}' has values that are not positive")
    model.load_state_dict(weights, strict=True)
    size = math.prod(model.content_shape)
    if model.alignment is not None and not model.alignment.fits(model.domains, size, model.style_dim):
        raise damaged(path, "its alignment is for other domains or another content code")
    calibration = _calibration_in(path, about, model, below(TYPICALITY, tensors))
    model.eval().requires_grad_(False)
    return SavedModel(model, config, tuple(about.domains), about.facts, calibration)


def _space_in(path: Path, stored: Mapping[str, tuple[int, ...]]) -> Autoencoder:
    """An autoencoder of the sizes of that in a model file, by the shapes stored there.

    Raises:
        CheckpointError: it holds no autoencoder.
    """
    try:
        return autoencoder_like(below(SPACE, stored))
    except ValueError as error:
        raise damaged(path, f"its autoencoder: {error}") from error


def _calibration_in(
    path: Path, about: _About, model: LatentModel, tensors: Mapping[str, torch.Tensor]
) -> Calibration | None:
    """The calibration in a model file, among its tensors or, in earlier versions, in its metadata.

    Raises:
        CheckpointError: it does not fit the model, or itself.
    """
    if tensors:
        try:
            return NeighbourCalibration.of(tensors)
        except ValueError as error:
            raise damaged(path, f"its calibration: {error}") from error
    calibration = about.calibration.fitted() if about.calibration else None
    if calibration is not None and len(calibration.medians) != max(1, model.domains):
        raise damaged(path, "its calibration is for another number of domains")
    return calibration


def _alignment_in(path: Path, stored: Mapping[str, tuple[int, ...]]) -> Alignment | None:
    """An alignment of the sizes of that in a model file, by the shapes stored there; None without one.

    Raises:
        CheckpointError: the shapes do not fit.
    """
    try:
        return alignment_like(below(ALIGNMENT, stored))
    except ValueError as error:
        raise damaged(path, f"its alignment: {error}") from error


def read_facts(path: Path) -> dict[str, object]:
    """Read the facts about a model's training, without its weights.

    Raises:
        CheckpointError: the file is missing, damaged, or not a model of this library.
    """
    return _read_about(path)[0].facts


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error for a model file that cannot be used."""
    return CheckpointError(
        f"cannot read the model {path}: {reason}",
        remedy="copy it again, use another file (a run has best.safetensors, too), or train again",
    )


class _Calibration(BaseModel):
    """`CodeCalibration`, as stored in a model file."""

    model_config = ConfigDict(allow_inf_nan=False)

    medians: Annotated[list[_Numbers], Field(min_length=1, max_length=MOST_DOMAINS)]
    deviations: Annotated[list[_Deviations], Field(min_length=1, max_length=MOST_DOMAINS)]
    levels: Annotated[list[float], Field(min_length=1, max_length=10_000_000)]

    @model_validator(mode="after")
    def _fits(self) -> _Calibration:
        shapes = {(len(rows), *{len(row) for row in rows}) for rows in (self.medians, self.deviations)}
        if len(shapes) != 1 or len(shapes.pop()) != 2:
            raise ValueError("medians and deviations have different shapes")
        if self.levels != sorted(self.levels):
            raise ValueError("levels are not sorted")
        return self

    def fitted(self) -> CodeCalibration:
        return CodeCalibration.from_json(dict(self))


class _About(BaseModel):
    """Metadata of a model file."""

    model_config = ConfigDict(extra="forbid")

    config: dict[str, Any]
    domains: Annotated[list[_Name], Field(min_length=1, max_length=MOST_DOMAINS)]
    facts: dict[str, Any]
    calibration: _Calibration | None = None

    @field_validator("domains")
    @classmethod
    def _differ(cls, names: list[str]) -> list[str]:
        if len({*names}) != len(names):
            raise ValueError("two domains have one name")
        return names


def _read_about(path: Path) -> tuple[_About, Config]:
    """Read a model file's metadata and settings.

    Raises:
        CheckpointError: the file is missing, damaged, or not a model of this library.
    """
    try:
        metadata = read_metadata(path)
    except TensorFileError as error:
        raise damaged(path, str(error)) from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} is not a model of this library", remedy="name a model.safetensors that training wrote"
        )
    try:
        about = _About.model_validate(json.loads(metadata["about"]))
        return about, from_dict(about.config, "its settings")
    except ConfigError as error:
        raise damaged(path, error.what) from error
    except ValidationError as error:
        problem = error.errors()[0]
        raise damaged(path, f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error
    except (KeyError, ValueError, RecursionError) as error:
        raise damaged(path, "its metadata is not JSON") from error


def _check_shapes(
    path: Path, stored: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise CheckpointError if names or shapes differ."""
    names = {*stored, VARIANCE} ^ {*expected, VARIANCE}
    differing = [name for name in stored if name in expected and tuple(stored[name]) != tuple(expected[name])]
    if names or differing:
        raise damaged(
            path, f"its weights do not fit its settings, such as '{min([*names, *differing])[:80]}'"
        )


def list_models() -> tuple[str, ...]:
    """Names of the models that come with the library, for `Translator.from_pretrained`.

    >>> list_models()
    ('glyphs', 'glyphs-64')
    """
    return tuple(PRETRAINED)


def find_model(source: str | Path) -> Path:
    """Find the model file for a name, a run folder or a path.

    A pretrained model's name, given as a string, takes precedence over a run folder of the same name;
    ``./glyphs`` or a `Path` is the run.

    Raises:
        CheckpointError: there is no such model.
    """
    path, name = Path(source), str(source)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError:  # such as a name that is too long for a file
        is_file = is_folder = False
    if isinstance(source, str) and name in PRETRAINED:
        if is_file or (is_folder and (path / "model.safetensors").is_file()):
            console.print(f"{name} is the pretrained model; ./{name} is your run")
        return asset_path(PRETRAINED[name])
    if is_file:
        return path
    if is_folder:
        if (path / "model.safetensors").is_file():
            return path / "model.safetensors"
        raise CheckpointError(f"{path} has no model.safetensors", remedy=_finish(path))
    raise CheckpointError(
        f"there is no run, file or pretrained model '{name if len(name) < 300 else name[:300] + '...'}'",
        remedy=f"pretrained models are {', '.join(PRETRAINED)}",
    )


def _finish(run: Path) -> str:
    """The remedy for a run folder without a model."""
    if not (run / "checkpoints").is_dir():
        return "name a run"
    finish = f"sivae-translate train --out {run} --resume"
    if (run / BEST).is_file():
        return f"use its best checkpoint so far, {run / BEST}, or finish it: {finish}"
    return f"finish it: {finish}"


def parameter_count(model: torch.nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(parameter.numel() for parameter in model.parameters())
