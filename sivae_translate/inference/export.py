"""Export to other runtimes: ONNX or torch.export's format.

There are two float32 graphs for any batch size: ``translate`` maps images (B, C, H, W) in [0, 1] and styles
(B, S) to images, ``style`` maps images to styles (B, S). ``model.json`` beside them describes the inputs and
has the domains' mean styles.
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
from sivae_translate.utils.text import is_utf8

Format = Literal["onnx", "torch"]
TOLERANCE = 1e-4
"""Largest difference of a pixel or style value between the model and its export."""
CHECKED = 3
"""Batch size that an export is checked with; it differs from the one it was traced with."""


class TranslateGraph(nn.Module):
    """Maps images and styles to translations.

    Args:
        model: a trained model.
    """

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, style: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] and (B, S) to (B, C, H, W) in [0, 1]."""
        return self.model.translate(images, style)


class StyleGraph(nn.Module):
    """Maps images to styles.

    Args:
        model: a trained model.
    """

    def __init__(self, model: LatentModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] to (B, S)."""
        return self.model.style(images)


def _require_exportable(translator: Translator, out: Path, form: Format) -> None:
    """Raise InputError or ConfigError if a model or a folder cannot be exported to; see `export`."""
    if not translator.model.translates:
        raise InputError("a plain model cannot be exported", remedy="export a translation model")
    if not is_utf8(str(out)):
        raise InputError(
            f"{out} has a name that is no UTF-8, which {form} cannot write to", remedy="choose another --out"
        )
    if out.exists():
        raise InputError(f"{out} already exists", remedy="choose another --out or remove it")
    if form == "onnx" and not all(
        importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")
    ):
        raise ConfigError(
            "ONNX export needs additional packages", remedy="pip install 'sivae-translate[onnx]'"
        )


def export(translator: Translator, out: Path, form: Format = "onnx") -> Path:
    """Write the graphs and ``model.json`` into a new folder, after comparing their results with the model's.

    Args:
        translator: a translation model.
        out: the new folder; it must not exist.
        form: ``onnx`` (``*.onnx``; needs the extra ``onnx``) or ``torch`` (``*.pt2``, for
            `torch.export.load`).

    Returns:
        ``out``.

    Raises:
        InputError: the model is a plain one, or ``out`` exists.
        ConfigError: the extra is not installed.
        ExportError: the results of the export differ from the model's.
        OutputError: ``out`` cannot be written.
    """
    _require_exportable(translator, out, form)
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
    """The results of an export differ from the model's."""


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
    """Write ``path``.onnx; returns a function that runs it in onnxruntime."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # otherwise it sends usage data
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
    """Write ``path``.pt2; returns a function that runs the file."""
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
    """What users of the graphs need to know."""
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
