"""Trained models for other runtimes: ONNX, or torch.export's own format. Two graphs, in float32, for any
number of images.

``translate`` takes images (B, C, H, W) in [0, 1] and styles (B, S) to images; ``style`` takes images to
styles (B, S). The domains' own styles and what an input must look like are in ``model.json`` beside them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim

from sivae_translate.inference.style import Style
from sivae_translate.inference.translator import Translator
from sivae_translate.models.latent import LatentModel
from sivae_translate.utils.errors import ConfigError, InputError, SivaeError
from sivae_translate.utils.files import replacing_folder, write_json

Format = Literal["onnx", "torch"]
TOLERANCE = 1e-4
"""Largest difference of a pixel or a style number between the model and what was exported."""
CHECKED = 3
"""Images in the batch that an export is checked with; another number than it was traced with."""


class TranslateGraph(nn.Module):
    """Images and styles to translations.

    Args:
        model: trained.
    """

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] and (B, S) to (B, C, H, W) in [0, 1]."""
        return self.model.translate(images, style)


class StyleGraph(nn.Module):
    """Images to styles.

    Args:
        model: trained.
    """

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.encoder = model.style_encoder

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] to (B, S)."""
        mean: Tensor = self.encoder(images).mean
        return mean


def export(translator: Translator, out: Path, form: Format = "onnx") -> Path:
    """Write the graphs and ``model.json`` into a new folder, after checking that they compute what the model
    computes.

    Args:
        translator: a translation model.
        out: folder; it must not exist.
        form: ``onnx`` (``*.onnx``; needs the extra ``onnx``) or ``torch`` (``*.pt2``, for
            `torch.export.load`).

    Returns:
        ``out``.

    Raises:
        InputError: the model is a plain one, or ``out`` exists.
        ConfigError: the extra is not installed.
        ExportError: what was exported computes something else.
        OutputError: ``out`` cannot be written.
    """
    if not translator.model.translates:
        raise InputError("a plain model has no translation to export", remedy="export a translation model")
    if out.exists():
        raise InputError(f"{out} exists", remedy="choose another --out, or remove it")
    if form == "onnx" and not all(
        importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")
    ):
        raise ConfigError("ONNX needs more packages", remedy="pip install 'sivae-translate[onnx]'")
    model = deepcopy(translator.model).cpu().float().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    write = _onnx if form == "onnx" else _torch
    graphs: dict[str, tuple[nn.Module, Callable[[int], tuple[Tensor, ...]], tuple[str, ...]]] = {
        "translate": (
            TranslateGraph(model),
            lambda count: (_images(model, count), _styles(model, count)),
            ("images", "style"),
        ),
        "style": (StyleGraph(model), lambda count: (_images(model, count),), ("images",)),
    }
    with replacing_folder(out) as folder:
        for name, (graph, inputs, names) in graphs.items():
            graph.eval()
            run = write(graph, inputs(2), names, folder / name)
            batch = inputs(CHECKED)
            with torch.no_grad():
                expected = graph(*batch)
            _check(name, expected, run(batch))
        write_json(folder / "model.json", _about(translator, form))
    return out


class ExportError(SivaeError):
    """What was exported is not the model."""


def _check(name: str, expected: Tensor, exported: Tensor) -> None:
    difference = (expected - exported).abs().max().item()
    if difference > TOLERANCE:
        raise ExportError(
            f"the exported '{name}' differs from the model by {difference:.2g}, more than {TOLERANCE:g}",
            remedy="try another version of torch or onnxruntime, or the other --format",
        )


def _images(model: LatentModel, count: int) -> Tensor:
    return torch.rand(count, *model.image_shape, generator=torch.Generator().manual_seed(count))


def _styles(model: LatentModel, count: int) -> Tensor:
    return torch.randn(count, model.style_dim, generator=torch.Generator().manual_seed(count))


_Run = Callable[[tuple[Tensor, ...]], Tensor]


def _onnx(graph: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...], path: Path) -> _Run:
    """Write ``path``.onnx; returns what runs it, in onnxruntime."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it would call its maker
    import onnxruntime

    target = path.with_suffix(".onnx")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists every rewrite that it makes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside torch's exporter
        torch.onnx.export(
            graph,
            inputs,
            target,
            input_names=list(names),
            output_names=["output"],
            dynamic_shapes={name: {0: Dim("batch")} for name in names},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])

    def run(given: tuple[Tensor, ...]) -> Tensor:
        fed = {name: value.numpy() for name, value in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(None, fed)[0])

    return run


def _torch(graph: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, ...], path: Path) -> _Run:
    """Write ``path``.pt2; returns what runs it, read back from the file."""
    target = path.with_suffix(".pt2")
    program = torch.export.export(graph, inputs, dynamic_shapes={name: {0: Dim("batch")} for name in names})
    torch.export.save(program, target)
    loaded = torch.export.load(target).module()

    def run(given: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            output: Tensor = loaded(*given)
        return output

    return run


def _about(translator: Translator, form: Format) -> dict[str, object]:
    """What a user of the graphs has to know."""
    model, data = translator.model, translator.config.data
    styles = (
        {name: translator.style_code(Style.domain(name))[0].tolist() for name in translator.domains}
        if model.domains
        else {}
    )
    return {
        "format": form,
        "image": {"channels": data.channels, "size": data.image_size, "range": [0, 1], "fit": data.fit},
        "style_dim": model.style_dim,
        "styles": styles,
    }
