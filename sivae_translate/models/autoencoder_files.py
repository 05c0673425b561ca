"""Autoencoders in files: our own, those inside model files, and tiny pretrained ones that a user names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from sivae_translate.models.autoencoder import Autoencoder, small_autoencoder
from sivae_translate.models.tiny_autoencoder import WIDTH, tiny_autoencoder
from sivae_translate.utils.errors import CheckpointError
from sivae_translate.utils.files import replacing
from sivae_translate.utils.tensor_files import (
    TensorFileError,
    below,
    read_shapes,
    read_tensors,
    write_tensors,
)

FILE = "autoencoder.safetensors"
"""A run's autoencoder, in its folder."""
OWN = "own"
"""Setting of a run that trains an autoencoder, and of a model file that holds one."""
SPACE = "space."
"""What the names of its tensors begin with inside a model."""
MOST_CHANNELS, MOST_LEVELS = 4096, 7
"""Bounds of what a file may name: channels of a layer, and resolutions of an autoencoder."""
Shapes = Mapping[str, tuple[int, ...]]
_STATISTICS = ("mean", "deviation")


def save_autoencoder(path: Path, autoencoder: Autoencoder) -> None:
    """Write an autoencoder with its statistics, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    with replacing(path) as temporary:
        write_tensors(temporary, autoencoder.state_dict())


def load_autoencoder(source: str | Path) -> Autoencoder:
    """An autoencoder for a new run.

    Args:
        source: a run folder or model file whose autoencoder is to be shared; an autoencoder's file; or a
            folder with the two files of a tiny pretrained one, ``*encoder*.safetensors`` and
            ``*decoder*.safetensors``, or one file with both, by diffusers' names.

    Returns:
        in evaluation mode, frozen, float32, on the CPU. The statistics of a foreign one are not fitted:
        see `has_statistics`.

    Raises:
        CheckpointError: there is none, or its layout is unknown.
    """
    path = Path(source)
    tensors = _ours_or_foreign(path)
    try:
        autoencoder = autoencoder_like({name: tuple(value.shape) for name, value in tensors.items()})
    except ValueError as error:
        raise _unknown(path, str(error)) from error
    if broken := next((name for name, value in tensors.items() if not value.isfinite().all()), None):
        raise _unknown(path, f"'{broken}' has numbers that are not finite")
    if "deviation" in tensors and not (tensors["deviation"] > 0).all():
        raise _unknown(path, "'deviation' has numbers that are not positive")
    statistics = {name: getattr(autoencoder, name) for name in _STATISTICS}
    autoencoder.load_state_dict({**statistics, **tensors}, strict=True)
    return autoencoder.eval().requires_grad_(False)


def has_statistics(autoencoder: Autoencoder) -> bool:
    """Whether the latents' means and deviations were fitted; before, they are 0 and 1."""
    return not (bool((autoencoder.mean == 0).all()) and bool((autoencoder.deviation == 1).all()))


def autoencoder_like(shapes: Shapes) -> Autoencoder:
    """An autoencoder whose tensors have these names and shapes, with random weights.

    Raises:
        ValueError: no known layout has them; nothing is allocated then.
    """
    build = _tiny_like(shapes) if "encoder.0.weight" in shapes else _small_like(shapes)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    wrong = [
        name
        for name in sorted({*shapes, *expected})
        if shapes.get(name, expected[name] if name in _STATISTICS else None) != expected.get(name)
    ]
    if wrong:
        raise ValueError(f"'{wrong[0][:80]}' is missing, unexpected or of another shape")
    return build()


def _small_like(shapes: Shapes) -> Callable[[], Autoencoder]:
    """Builds `small_autoencoder` of the file's sizes."""
    width, image_channels = _convolution(shapes, "encoder.stem.weight")
    channels, _ = _convolution(shapes, "encoder.head.weight")
    widths = [width, _convolution(shapes, "encoder.downs.0.weight")[0]]
    while (name := f"encoder.downs.{len(widths) - 1}.weight") in shapes:
        widths.append(_convolution(shapes, name)[0])
    if len(widths) > MOST_LEVELS:
        raise ValueError(f"it has more than {MOST_LEVELS} resolutions")
    return lambda: small_autoencoder(image_channels, channels, widths)


def _tiny_like(shapes: Shapes) -> Callable[[], Autoencoder]:
    """Builds `tiny_autoencoder` of the file's sizes."""
    channels, _ = _convolution(shapes, "encoder.14.weight")
    return lambda: tiny_autoencoder(channels, pooled="encoder.11.pool.0.weight" in shapes)


def _convolution(shapes: Shapes, name: str) -> tuple[int, int]:
    """Channels out and in of a convolution's weight.

    Raises:
        ValueError: it is missing, or has an impossible shape.
    """
    if name not in shapes:
        raise ValueError(f"it has no tensor '{name}'")
    shape = shapes[name]
    if len(shape) != 4 or not all(1 <= size <= MOST_CHANNELS for size in shape):
        raise ValueError(f"'{name}' has the shape {shape}")
    return shape[0], shape[1]


def _ours_or_foreign(path: Path) -> dict[str, Tensor]:
    """An autoencoder's tensors under our names."""
    if path.is_dir():
        for name in (FILE, "model.safetensors"):
            if (path / name).is_file():
                return _own_names(path / name)
        halves = [_only(path, half) for half in ("encoder", "decoder")]
        if all(halves):
            return {
                f"{half}.{name}": value
                for half, file in zip(("encoder", "decoder"), halves, strict=True)
                for name, value in _read(file).items()  # type: ignore[arg-type]  # neither is None
            }
        if (file := _only(path, "diffusion_pytorch_model")) is not None:
            return _own_names(file)
        raise CheckpointError(
            f"{path} holds no autoencoder",
            remedy=f"name a run with {FILE}, a model file, or a folder with encoder and decoder files",
        )
    if not path.is_file():
        raise CheckpointError(
            f"there is no autoencoder '{str(path)[:300]}'",
            remedy=f"set model.autoencoder to {OWN}, or to a run, a model file or an autoencoder's file",
        )
    return _own_names(path)


def _only(folder: Path, part: str) -> Path | None:
    """The first safetensors file whose name contains ``part``."""
    return next(iter(sorted(folder.glob(f"*{part}*.safetensors"))), None)


def _own_names(path: Path) -> dict[str, Tensor]:
    """The tensors of one file under our names: an autoencoder's, a model's, or diffusers'.

    Raises:
        CheckpointError: it cannot be read, or is the file of a model that computes on pixels.
    """
    tensors = _read(path)
    if inside := below(SPACE, tensors):
        return inside
    if "content_encoder.trunk.stem.weight" in tensors or "variance" in tensors:
        raise CheckpointError(
            f"{path} is a model that computes on pixels: it holds no autoencoder",
            remedy=f"name another, or set model.autoencoder to {OWN}",
        )
    diffusers = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.*)")
    # diffusers bounds the latents outside the decoder's layers, whose numbers are therefore one lower.
    return {
        f"{match[1]}.{int(match[2]) + (match[1] == 'decoder')}.{match[3]}"
        if (match := diffusers.fullmatch(name))
        else name: value
        for name, value in tensors.items()
    }


def _read(path: Path) -> dict[str, Tensor]:
    """All tensors of a file in float32.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    try:
        if sum(torch.Size(shape).numel() for shape in read_shapes(path).values()) > WIDTH * 10_000_000:
            raise _unknown(path, "it is too large")
        return {name: value.float() for name, value in read_tensors(path).items()}
    except TensorFileError as error:
        raise _unknown(path, str(error)) from error


def _unknown(path: Path, reason: str) -> CheckpointError:
    """The error for a file that is damaged or has an unknown layout."""
    return CheckpointError(
        f"cannot read an autoencoder from {path}: {reason}",
        remedy=f"name a run with {FILE}, or files in the layout of TAESD or diffusers' AutoencoderTiny",
    )
