"""A training step: the published Soft-IntroVAE step against ours, and the translation model's step.

    python -m benchmarks.train_step                                  # 32 px, the published network
    python -m benchmarks.train_step --sides 32 256 --batch 2         # 256 px, too
    python -m benchmarks.train_step --translation 32 64 128 256      # our own network at several sizes
    python -m benchmarks.train_step --sides --growth                 # its cost by side, batch and channels

The naive step runs every pass as published: encoder, decoder and Adam in float32 and contiguous memory; the
decoder's half computes reconstructions and fakes again and decodes both once more for gamma_r = 1e-8. Ours
has the same objective, network and weights; the variants are cumulative:

- ``shared``: the decoder's pass serves both halves, and passes of weight 1e-8 are skipped; float32,
  contiguous;
- ``bfloat16``: the same under autocast;
- ``channels_last``: the same in channels_last memory format, as in the trainer;
- ``no error of fakes``: without the reconstruction error in the expELBO, the library's default; it changes
  the gradients.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks import measure
from benchmarks.common import read_options
from benchmarks.measure import Figures
from sivae_translate.config import DataConfig, ModelConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Gaussian
from sivae_translate.models.latent import LatentModel
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import Precision
from sivae_translate.utils.devices import autocast, pick_device, pick_dtype
from sivae_translate.utils.files import write_json
from sivae_translate.utils.measuring import count_flops
from sivae_translate.utils.recording import Recorder

PUBLISHED_WIDTHS = {
    32: (64, 128, 256),
    64: (64, 128, 256, 512),
    128: (64, 128, 256, 512, 512),
    256: (64, 128, 256, 512, 512, 512),
}
Side = Literal[32, 64, 128, 256]
LATENTS = {32: 128, 64: 128, 128: 256, 256: 256}
BETA_REC, BETA_KL, BETA_NEG, GAMMA_R = 1.0, 1.0, 256.0, 1e-8
RATE = 2e-4
CONTENT_SIDE = 4
WIDTHS, STYLE_WIDTHS = (16, 16, 32, 64, 96, 192), (8, 8, 16, 32, 64, 128)
"""Widths of the translation model: the defaults at 64 px, halved at every finer resolution."""
CONTESTANTS = ("published", "shared", "bfloat16", "channels_last", "no error of fakes")


class Naive:
    """The published step (arXiv 2012.13253, algorithm 1), on a plain model's two networks.

    Args:
        model: its encoder and decoder are trained in place.
        scale: 1 / (C H W).
    """

    def __init__(self, model: LatentModel, scale: float) -> None:
        self.encoder, self.decoder, self.scale = model.content_encoder, model.decoder, scale
        self.optimizers = [
            torch.optim.Adam(half.parameters(), lr=RATE) for half in (self.encoder, self.decoder)
        ]

    def step(self, images: Tensor) -> None:
        """Update the encoder, then the decoder."""
        noise = torch.randn(len(images), self.latents, device=images.device)
        self._move(0, self.encoder_loss(images, noise))
        self._move(1, self.decoder_loss(images, noise))

    @property
    def latents(self) -> int:
        """Z."""
        return int(self.encoder.head.out_features) // 2  # type: ignore[union-attr, arg-type]

    def encoder_loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """The encoder's half; the decoder is frozen."""
        self._freeze(self.decoder, self.encoder)
        fake = self.decode(noise)
        real = self.encoder(images)
        self.z = draw(real)
        rec = self.decode(self.z)
        terms = []
        for made in (rec.detach(), fake.detach()):
            judged = self.encoder(made)
            error = square(self.decode(draw(judged)), made)
            terms.append(torch.exp(-2 * self.scale * (BETA_REC * error + BETA_NEG * judged.kl())).mean())
        loss: Tensor = self.scale * (BETA_REC * square(rec, images) + BETA_KL * real.kl()).mean()
        return loss + 0.25 * (terms[0] + terms[1])

    def decoder_loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """The decoder's half; the encoder is frozen."""
        self._freeze(self.encoder, self.decoder)
        rec, fake = self.decode(self.z.detach()), self.decode(noise)
        loss = BETA_REC * square(rec, images).mean()
        for made in (rec, fake):
            judged = self.encoder(made)
            again = square(self.decode(draw(judged).detach()), made.detach())
            loss = loss + 0.5 * (BETA_KL * judged.kl() + GAMMA_R * BETA_REC * again).mean()
        return self.scale * loss

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents to images in [0, 1]."""
        logits: Tensor = self.decoder(z, z.new_zeros(len(z), 0))
        return logits.sigmoid()

    def _move(self, half: int, loss: Tensor) -> None:
        optimizer = self.optimizers[half]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @staticmethod
    def _freeze(frozen: nn.Module, moving: nn.Module) -> None:
        frozen.requires_grad_(False)
        moving.requires_grad_(True)


def draw(posterior: Gaussian) -> Tensor:
    """A reparametrised draw."""
    return posterior.mean + torch.exp(0.5 * posterior.logvar) * torch.randn_like(posterior.mean)


def square(a: Tensor, b: Tensor) -> Tensor:
    """Squared error summed over an image, (B,)."""
    return (a - b).square().flatten(1).sum(1)


class Ours:
    """The trainer's step.

    Args:
        model: trained in place.
        objective: settings of the objective.
        dtype: precision of autocast.
        layout: memory format of weights and images.
        recorder: records steps and replays them.
    """

    def __init__(
        self,
        model: LatentModel,
        objective: ObjectiveConfig,
        dtype: torch.dtype,
        layout: torch.memory_format,
        recorder: Recorder | None = None,
    ) -> None:
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]
        self.layout, self.dtype = layout, dtype
        self.objective = make_objective(objective, self.model)
        self.stepper = Stepper(self.objective, clip_norm=None, recorder=recorder)

    def step(self, images: Tensor, domain: Tensor) -> None:
        """Update both halves."""
        batch = Batch(images.contiguous(memory_format=self.layout), domain)
        self.stepper.step(batch, 1.0, RATE, 1, self.autocast)

    def autocast(self) -> AbstractContextManager[object]:
        """The context of the passes."""
        device = self.model.style_prior.means.device
        return nullcontext() if self.dtype == torch.float32 else autocast(device, self.dtype)


def published_model(side: int) -> LatentModel:
    """The published residual network, with weights of seed 0."""
    torch.manual_seed(0)
    model = ModelConfig(
        kind="published", widths=PUBLISHED_WIDTHS[side], latent_dim=LATENTS[side], content_size=CONTENT_SIDE
    )
    return make_model(model, data_of(side), 1)


def data_of(side: int) -> DataConfig:
    """Data settings for coloured images of a size."""
    return DataConfig.model_validate({"image_size": side, "channels": 3})


def published_objective(*, error_of_fakes: bool = True) -> ObjectiveConfig:
    """Soft-IntroVAE with the published weights; gamma_r is 0 instead of 1e-8."""
    return ObjectiveConfig(
        name="soft_introvae",
        beta_rec=BETA_REC,
        beta_kl=BETA_KL,
        beta_neg=BETA_NEG,
        content_open_at=0.0,
        introspection_from=0.0,
        fake_reconstruction=error_of_fakes,
    )


def contestant(
    name: str, side: int, batch: int, device: torch.device, recorder: Recorder | None = None
) -> Callable[[], object]:
    """The step of a contestant; all have the same images and initial weights."""
    model = published_model(side).to(device)
    images = torch.rand(batch, 3, side, side, device=device, generator=torch.Generator(device).manual_seed(1))
    if name == "published":
        return partial(Naive(model, 1.0 / images[0].numel()).step, images)
    objective = published_objective(error_of_fakes=name != "no error of fakes")
    dtype = torch.float32 if name == "shared" else pick_dtype("auto", device)
    layout = torch.contiguous_format if name in ("shared", "bfloat16") else torch.channels_last
    domain = torch.zeros(batch, dtype=torch.long, device=device)
    return partial(Ours(model, objective, dtype, layout, recorder).step, images, domain)


def compare(side: int, batch: int, rounds: int, device: torch.device, peak: Figures) -> dict[str, Figures]:
    """Time, operations, fraction of the measured peak and memory of every variant."""
    steps = {name: contestant(name, side, batch, device) for name in CONTESTANTS}
    medians = measure.alternate(steps, rounds, device)
    rows = {}
    for name, work in steps.items():
        limit = peak["float32 FLOP/s" if name in ("published", "shared") else "bfloat16 FLOP/s"]
        rows[name] = figures(count_flops(work), medians[name], batch, limit)
        rows[name]["times as fast"] = medians["published"] / medians[name]
        rows[name]["MB"] = memory(name, side, batch, device) / 1e6
    return rows


def memory(name: str, side: int, batch: int, device: torch.device) -> float:
    """Peak memory of two steps in bytes: on the GPU, or of a whole process on the CPU."""
    if device.type != "cuda":
        return measure.peak_memory(
            "benchmarks.train_step", ["--memory", name, "--sides", str(side), "--batch", str(batch)]
        )
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    work = contestant(name, side, batch, device)
    work()
    work()
    return float(torch.cuda.max_memory_allocated(device) - before)


def translation(
    side: int,
    batch: int,
    rounds: int,
    device: torch.device,
    peak: Figures,
    wider: float = 1.0,
    dtype: Precision = "auto",
) -> Figures:
    """Measure the translation model with default settings, two domains and all parts of the objective.

    Args:
        side: side of the images.
        batch: images per step.
        rounds: number of measured steps.
        device: device to use.
        peak: the machine's limits.
        wider: factor on the default numbers of channels.
        dtype: precision of matrix products.
    """
    multiplied = pick_dtype(dtype, device)
    work = translation_step(side, batch, device, wider, multiplied)
    median = measure.alternate({"ours": work}, rounds, device)["ours"]
    limit = peak["float32 FLOP/s" if multiplied == torch.float32 else "bfloat16 FLOP/s"]
    return figures(count_flops(work), median, batch, limit)


def translation_step(
    side: int,
    batch: int,
    device: torch.device,
    wider: float,
    dtype: torch.dtype,
    recorder: Recorder | None = None,
) -> Callable[[], object]:
    """The step that `translation` measures."""
    torch.manual_seed(0)
    images = torch.rand(batch, 3, side, side, device=device)
    domain = torch.arange(batch, device=device) * 2 // batch
    widths, style_widths = (
        tuple(round(wider * width) for width in names) for names in (WIDTHS, STYLE_WIDTHS)
    )
    model = make_model(ModelConfig(widths=widths, style_widths=style_widths), data_of(side), 2).to(device)
    ours = Ours(model, ObjectiveConfig(), dtype, torch.channels_last, recorder)
    return partial(ours.step, images, domain)


def growth(rounds: int, device: torch.device, peak: Figures) -> dict[str, Figures]:
    """Cost of a step of the translation model by image side, batch and channels."""
    rows = {f"{side} px, batch 8": translation(side, 8, rounds, device, peak) for side in sorted(LATENTS)}
    rows |= {
        f"64 px, batch {batch}": translation(64, batch, rounds, device, peak) for batch in (2, 4, 16, 32)
    }
    for wider in (0.5, 2.0, 4.0):
        rows[f"64 px, batch 8, {wider:g} times the channels"] = translation(
            64, 8, rounds, device, peak, wider
        )
    return rows


def figures(flops: float, seconds: float, batch: int, limit: float) -> Figures:
    """Derived numbers of a step with the given operations and seconds."""
    return {
        "ms": 1000 * seconds,
        "images/s": batch / seconds,
        "GFLOP per image": flops / batch / 1e9,
        "GFLOP/s": flops / seconds / 1e9,
        "share of peak": flops / seconds / limit,
    }


def run(
    sides: Sequence[int],
    translations: Sequence[int],
    batch: int,
    rounds: int,
    device: torch.device,
    *,
    grown: bool = False,
) -> dict[str, Any]:
    """Run the requested measurements; the result includes the machine."""
    peak = measure.peaks(device)
    results: dict[str, Any] = {"machine": measure.machine(device), "peaks": peak, "batch": batch}
    for side in sides:
        results[f"{side} px, published network"] = compare(side, batch, rounds, device, peak)
    if translations:
        rows = {f"{side} px": translation(side, batch, rounds, device, peak) for side in translations}
        results["translation model"] = rows
    if grown:
        results["growth"] = growth(rounds, device, peak)
    return results


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    sides: tuple[Side, ...] = (32,)
    translation: tuple[Side, ...] = ()
    growth: bool = False
    """Measure the translation model by side, batch and channels."""
    batch: int = 32
    rounds: int = 20
    device: str = "auto"
    out: Path | None = None
    """JSON file to write."""
    memory: Literal["published", "shared", "bfloat16", "channels_last", "no error of fakes"] | None = None
    """Only print the peak memory of a variant; used by the benchmark itself in a separate process."""


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    if given.memory:
        one = contestant(given.memory, given.sides[0], given.batch, torch.device("cpu"))
        one()
        one()
        print(measure.resident())
        sys.exit()
    place = pick_device(given.device)
    found = run(given.sides, given.translation, given.batch, given.rounds, place, grown=given.growth)
    if given.out:
        write_json(given.out, found)
    print(json.dumps({key: found[key] for key in ("machine", "peaks", "batch")}, indent=2))
    for title, block in found.items():
        if title not in ("machine", "peaks", "batch"):
            print(f"\n{title}\n")
            print(measure.table(block, list(next(iter(block.values())))))
