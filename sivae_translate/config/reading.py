"""Reading settings from YAML and overrides; errors suggest the right name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sivae_translate.config.kinds import Section
from sivae_translate.config.sections import Config
from sivae_translate.config.sizes import SIZED
from sivae_translate.utils.errors import ConfigError

S = TypeVar("S", bound=Section)

BUDGETS = ("steps", "epochs", "minutes")
MOST_PROBLEMS, LONGEST = 10, 200
"""How many invalid values an error lists, and how many characters of each it shows."""
OLD_NAMES = {
    "data.hold_out": "data.validation_size",
    "objective.back": "objective.back_translation",
    "objective.back_from": "objective.back_translation_from",
    "objective.judge_content": "objective.fake_content_kl",
    "objective.judge_reconstruction": "objective.fake_reconstruction",
    "objective.open_until": "objective.content_open_at",
    "training.init": "training.fine_tune",
    "training.retreats": "training.max_rollbacks",
    "training.tensorboard": "training.trackers",
}
"""Earlier names of settings, which configurations and model files may still contain."""
OLD_VALUES = {"vae": "elbo", "back": "back_translation"}
"""Earlier values of ``objective.name`` and of the names of ramps."""


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a YAML file and apply overrides.

    Args:
        path: YAML file with the sections data, model, objective, training; None is the defaults. A relative
            ``data.root`` is relative to the working directory.
        overrides: dotted name to value, such as ``{"training.steps": 20000}``. A budget replaces that of the
            file, and a ``model.size`` what the file says of the settings that it stands for.

    >>> config = load_config(None, {"training.minutes": 60, "data.image_size": 128})
    >>> config.training.minutes, config.data.image_size, config.training.batch
    (60.0, 128, 32)
    """
    values = read_yaml(path) if path else {}
    for section, chosen, replaced in (("training", BUDGETS, BUDGETS), ("model", ("size",), SIZED)):
        entries = values.get(section)
        if isinstance(entries, dict) and {f"{section}.{name}" for name in chosen} & set(overrides or {}):
            values[section] = {name: value for name, value in entries.items() if name not in replaced}
    for name, value in (overrides or {}).items():
        _set(values, name.replace("-", "_").split("."), value, name)
    return from_dict(values, str(path or "settings"))


def from_dict(values: Mapping[str, Any], source: str) -> Config:
    """Validate nested settings; earlier names are understood.

    Raises:
        ConfigError: see `load_config`.
    """
    return validated(Config, with_new_names(values), source)


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace earlier names in nested settings."""
    renamed: dict[str, Any] = {}
    for section, entries in values.items():
        if not isinstance(entries, Mapping):
            renamed[section] = entries
            continue
        current = {
            name: OLD_NAMES.get(f"{section}.{name}", "").rpartition(".")[2] or name for name in entries
        }
        renamed[section] = {current[name]: value for name, value in entries.items()}
    model, objective = renamed.get("model"), renamed.get("objective")
    if isinstance(model, dict) and "antialias" in model:  # from version 0.1, which had one kind of resampling
        smoothed = model.pop("antialias")
        model.setdefault("resampling", "antialiased" if smoothed else "shuffle")
    if isinstance(objective, dict):
        for item in (objective, *_ramps_of(objective)):
            if item.get("name") in OLD_VALUES:
                item["name"] = OLD_VALUES[item["name"]]
    return renamed


def _ramps_of(objective: dict[str, Any]) -> list[dict[str, Any]]:
    """Copies of the ramps in an objective's settings, stored in their place."""
    ramps = objective.get("ramps")
    if not isinstance(ramps, list | tuple) or not all(isinstance(ramp, Mapping) for ramp in ramps):
        return []
    objective["ramps"] = copies = [dict(ramp) for ramp in ramps]
    return copies


def validated(kind: type[S], values: Mapping[str, Any], source: str) -> S:
    """Validate nested values as a kind of settings; errors name ``source``.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem, kind) for problem in error.errors()[:MOST_PROBLEMS]]
        text = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n    {one}" for one in problems)
        raise ConfigError(f"{source}:{text}", remedy="see sivae-translate settings") from error


def field_names(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting's dotted name and a line of description."""
    for name, info in section.model_fields.items():
        annotation = info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from field_names(annotation, f"{prefix}{name}.")
        else:
            text = (
                next(
                    (m.description for m in info.metadata if getattr(m, "description", None)),
                    info.description,
                )
                or ""
            )
            default = info.default
            word = str(default).lower() if default is None or isinstance(default, bool) else str(default)
            yield f"{prefix}{name}", f"{text} (default {word})".strip()


def to_yaml(config: Config) -> str:
    """The configuration as YAML; `load_config` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the names and values in a YAML file; an empty file has none.

    Raises:
        ConfigError: the file is missing, not YAML, or has no names and values.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # reading a FIFO would block forever
            raise ConfigError(f"the configuration {path} is not a regular file", remedy="name a YAML file")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error}", remedy="name a YAML file"
        ) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} has no settings", remedy="write lines of the form name: value")
    return values


def _set(values: dict[str, Any], keys: list[str], value: Any, name: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(
                f"'{name}' is inside '{key}', which is not a section", remedy="see sivae-translate settings"
            )
    values[keys[-1]] = value


def _explain(problem: Mapping[str, Any], kind: type[Section]) -> str:
    dotted = _shortened(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        siblings = _children(dotted.rpartition(".")[0], kind)
        return f"{dotted} is unknown; {_suggestion(dotted, siblings)}" if siblings else f"{dotted} is unknown"
    if problem["type"] == "missing":
        return f"{dotted} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    got = "" if problem["type"] == "value_error" else f" (got {_shortened(repr(problem['input']))})"
    return f"{dotted}: {message}{got}" if dotted else message


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _children(parent: str, kind: type[Section]) -> list[str]:
    """Dotted names directly below a section."""
    depth = parent.count(".") + 2 if parent else 1
    names = [name for name, _ in field_names(kind)]
    inside = [name for name in names if not parent or name.startswith(parent + ".")]
    return sorted({".".join(name.split(".")[:depth]) for name in inside})


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known dotted name closest to an unknown one, which may lack its section."""
    tails = {candidate.rpartition(".")[2]: candidate for candidate in reversed(known)}
    section, _, tail = name.rpartition(".")
    whole = difflib.get_close_matches(name, known, n=1)
    last = [tails[near] for near in difflib.get_close_matches(tail, list(tails), n=1)]
    close = whole + last if section and tail not in tails else last + whole
    return close[0] if close else None


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"known names are {', '.join(known)}"
