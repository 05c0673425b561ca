"""Paths of the files that come with the library: weights, assets and configurations."""

from __future__ import annotations

from pathlib import Path

from sivae_translate.utils.errors import ConfigError, DataError

PACKAGE = Path(__file__).resolve().parents[1]


def asset_path(name: str) -> Path:
    """Path of a file that comes with the library.

    An installed package has its assets inside the package; a source checkout has them in ``assets/`` beside
    the package.

    Args:
        name: file name, e.g. ``lpips_alexnet.safetensors``.

    Raises:
        DataError: neither folder has the file.
    """
    candidates = [PACKAGE / "assets" / name]
    checkout = PACKAGE.parent
    # Next to an installed package are other packages, so an assets folder there would not be ours.
    if (checkout / "pyproject.toml").is_file():
        candidates.append(checkout / "assets" / name)
    for path in candidates:
        if path.is_file():
            return path
    looked = " and ".join(str(path) for path in candidates)
    raise DataError(
        f"the asset '{name}' is missing; looked for {looked}",
        remedy="reinstall sivae-translate, or in a source checkout run the script in assets/ that makes it",
    )


def config_path(name: str) -> Path:
    """Path of a configuration: a path to any file, or the name of one that comes with the library.

    Raises:
        ConfigError: there is no such file and no such name.
    """
    if Path(name).is_file():
        return Path(name)
    stem = name.removesuffix(".yaml").removeprefix("configs/")
    folders = [PACKAGE / "configs", PACKAGE.parent / "configs"]
    for folder in folders:
        if (folder / f"{stem}.yaml").is_file():
            return folder / f"{stem}.yaml"
    shipped = sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})
    raise ConfigError(
        f"there is no configuration '{name}'", remedy=f"name a YAML file or one of {', '.join(shipped)}"
    )
