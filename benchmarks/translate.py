"""Speed of translation: throughput and latency of the model alone, and from files to files.

    python -m benchmarks.translate --sides 64 256 --files 2000
    python -m benchmarks.translate --flat 1000 100000 --sides 32  # memory by the number of files

For comparison, the machine's matrix product and a nine-block ResNet generator as in CycleGAN and CUT, at the
same resolution (written from its description: 64 to 256 channels, instance normalisation).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.common import read_options
from benchmarks.measure import Figures
from benchmarks.train_step import STYLE_WIDTHS, WIDTHS
from sivae_translate.config import from_dict
from sivae_translate.data.reading import open_image
from sivae_translate.data.tensors import to_pil
from sivae_translate.inference.folders import translate_files
from sivae_translate.inference.translator import Translator
from sivae_translate.models.build import make_model
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.devices import pick_device
from sivae_translate.utils.encoding import Encoding
from sivae_translate.utils.files import write_json
from sivae_translate.utils.measuring import count_flops, seconds

DOMAINS = ("day", "night")
LINKED = 100


class ResidualNineBlocks(nn.Module):
    """An image-to-image generator with nine residual blocks at a quarter of the resolution, as a peer."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
        ]
        for factor in (1, 2):
            layers += [
                nn.Conv2d(factor * width, 2 * factor * width, 3, 2, 1),
                nn.InstanceNorm2d(2 * factor * width),
                nn.ReLU(True),
            ]
        layers += [_Block(4 * width) for _ in range(9)]
        for factor in (4, 2):
            layers += [
                nn.ConvTranspose2d(factor * width, factor * width // 2, 3, 2, 1, output_padding=1),
                nn.InstanceNorm2d(factor * width // 2),
                nn.ReLU(True),
            ]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in and out."""
        out: Tensor = self.layers(images)
        return out


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.layers = nn.Sequential(
            *half, nn.ReLU(True), nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in and out."""
        out: Tensor = x + self.layers(x)
        return out


def untrained(side: int, device: str, dtype: Precision = "auto") -> Translator:
    """An untrained Translator with the default sizes."""
    settings = {
        "data": {"image_size": side, "channels": 3},
        "model": {"widths": WIDTHS, "style_widths": STYLE_WIDTHS},
    }
    config = from_dict(settings, "the benchmark")
    torch.manual_seed(0)
    return Translator(make_model(config.model, config.data, 2), config, DOMAINS, device=device, dtype=dtype)


def alone(side: int, batch: int, rounds: int, device: torch.device, peak: Figures) -> dict[str, Figures]:
    """Measure the model alone on prepared images, alternating with the generator."""
    translators = {
        "ours, float32": untrained(side, str(device), "float32"),
        "ours": untrained(side, str(device)),
    }
    images = torch.rand(batch, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    style = translators["ours"].style_code("night").expand(batch, -1)
    generator = ResidualNineBlocks().to(device).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def scale() -> None:
        with torch.inference_mode():
            generator(images)

    works = {
        name: partial(translator.engine.translate, images, style) for name, translator in translators.items()
    }
    medians = measure.alternate({**works, "nine blocks, float32": scale}, rounds, device)
    rows = {}
    for name, median in medians.items():
        flops = count_flops(works.get(name, scale))
        limit = peak["float32 FLOP/s" if "float32" in name else "bfloat16 FLOP/s"]
        rows[name] = {
            "images/s": batch / median,
            "ms a batch": 1000 * median,
            "GFLOP per image": flops / batch / 1e9,
            "share of peak": flops / median / limit,
        }
    rows["ours"]["MB"] = memory(side, batch, device) / 1e6
    return rows


def memory(side: int, batch: int, device: torch.device) -> float:
    """Peak memory of translating a batch in bytes: on the GPU, or of a whole process on the CPU."""
    if device.type != "cuda":
        return measure.peak_memory("benchmarks.translate", ["--memory", str(batch), "--sides", str(side)])
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    one_batch(side, batch, str(device))
    return float(torch.cuda.max_memory_allocated(device) - before)


def one_batch(side: int, batch: int, device: str) -> None:
    """Load a model and translate a batch of prepared images."""
    translator = untrained(side, device)
    images = torch.rand(batch, 3, side, side, device=translator.device).contiguous(
        memory_format=torch.channels_last
    )
    translator.engine.translate(images, translator.style_code("night").expand(batch, -1))


def flat(side: int, counts: Sequence[int], device: str) -> dict[str, Figures]:
    """Peak memory and speed from files to files, by number of files, each in a separate process."""
    rows = {}
    for count in counts:
        began = time.perf_counter()
        arguments = ["--flat", str(count), "--sides", str(side), "--device", device, "--alone"]
        rows[f"{count} files"] = {
            "MB": measure.peak_memory("benchmarks.translate", arguments) / 1e6,
            "s": time.perf_counter() - began,
        }
    return rows


def many_files(side: int, count: int, device: str) -> None:
    """Translate ``count`` files, which are links to a hundred files."""
    root = Path(tempfile.mkdtemp(prefix="translate-"))
    try:
        write_sources(root / "in", side, min(count, LINKED))
        for index in range(LINKED, count):
            os.link(root / "in" / f"{index % LINKED:06}.jpg", root / "in" / f"{index:06}.jpg")
        translate_files(untrained(side, device), [root / "in"], "night", root / "out")
    finally:
        shutil.rmtree(root)


def first_call(side: int, device: str) -> float:
    """Seconds of the first translation of an image, after the model is loaded."""
    translator = untrained(side, device)
    picture = np.zeros((side, side, 3), np.uint8)
    return seconds(lambda: translator(picture, style="night"), pick_device(device))


def files(side: int, count: int, device: str) -> Figures:
    """Speed from files to files, and of each stage alone: decoding, the model, encoding."""
    root = Path(tempfile.mkdtemp(prefix="translate-"))
    try:
        paths = write_sources(root / "in", side, count)
        translator = untrained(side, device)
        began = time.perf_counter()
        translate_files(translator, [root / "in"], "night", root / "out")
        whole = time.perf_counter() - began
        stages = _stages(translator, paths)
    finally:
        shutil.rmtree(root)
    rates = {f"{name}, images/s": count / elapsed for name, elapsed in stages.items()}
    slowest = max(stages.values())
    # On a CPU the stages share the cores: the model uses all of them, decoding and encoding one at a time
    # each.
    threads = torch.get_num_threads()
    shared = stages["model"] + (stages["decoding"] + stages["encoding"]) / threads
    found = {"files to files, images/s": count / whole, **rates, "slowest stage / whole": slowest / whole}
    return found | (
        {"all stages on these cores / whole": shared / whole} if translator.device.type == "cpu" else {}
    )


def write_sources(folder: Path, side: int, count: int) -> list[Path]:
    """JPEG files of soft random colours."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = [folder / f"{index:06}.jpg" for index in range(count)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def _stages(translator: Translator, paths: Sequence[Path]) -> dict[str, float]:
    """Seconds of each stage alone, in one thread except for the model."""
    began = time.perf_counter()
    opened = [open_image(path) for path in paths]
    decoded = time.perf_counter()
    prepared = translator.prepare(opened)
    style, made = translator.style_code("night"), []
    ready = time.perf_counter()
    for part in torch.split(prepared, 64):
        batch = part.to(translator.device).contiguous(memory_format=torch.channels_last)
        made.append(translator.engine.translate(batch, style.expand(len(part), -1)))
    computed = time.perf_counter()
    outputs = [to_pil(image) for image in torch.cat(made)]
    with tempfile.TemporaryDirectory() as folder:
        for index, image in enumerate(outputs):
            Encoding().save(image, Path(folder, f"{index}.png"))
    return {
        "decoding": ready - began,
        "model": computed - ready,
        "encoding": time.perf_counter() - computed,
        "reading alone": decoded - began,
    }


def run(sides: Sequence[int], count: int, rounds: int, device: str) -> dict[str, Any]:
    """Run all measurements; the result includes the machine."""
    place = pick_device(device)
    peak = measure.peaks(place)
    results: dict[str, Any] = {"machine": measure.machine(place), "peaks": peak}
    for side in sides:
        for batch in (1, 64):
            results[f"{side} px, batch {batch}"] = alone(side, batch, rounds, place, peak)
        results[f"{side} px, files"] = {
            "ours": {**files(side, count, device), "first call, s": first_call(side, device)}
        }
    return results


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    sides: tuple[int, ...] = (64,)
    files: int = 1000
    rounds: int = 10
    device: str = "auto"
    out: Path | None = None
    """JSON file to write."""
    flat: tuple[int, ...] = ()
    """Numbers of files to compare the peak memory of."""
    alone: bool = False
    """Only print the peak memory for this many files; used by the benchmark itself in a separate process."""
    memory: int | None = None
    """The same for a batch of this many images."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    if given.alone or given.memory:
        if given.memory:
            one_batch(given.sides[0], given.memory, given.device)
        else:
            many_files(given.sides[0], given.flat[0], given.device)
        print(measure.resident())
        sys.exit()
    if given.flat:
        print(measure.table(flat(given.sides[0], given.flat, given.device), ["MB", "s"]))
        sys.exit()
    found = run(given.sides, given.files, given.rounds, given.device)
    if given.out:
        write_json(given.out, found)
    print(json.dumps({key: found[key] for key in ("machine", "peaks")}, indent=2))
    for title, block in found.items():
        if title not in ("machine", "peaks"):
            print(f"\n{title}\n")
            print(
                measure.table(block, list(dict.fromkeys(column for row in block.values() for column in row)))
            )
