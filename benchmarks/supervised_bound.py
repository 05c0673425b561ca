"""The supervised bound of a benchmark: the same networks, trained with true pairs of training images.

    python -m benchmarks.supervised_bound --minutes 10 --out runs/supervised
    python -m benchmarks.supervised_bound --config facades --data FOLDER --minutes 10 --out runs/bound

A source is decoded in the style of the target domain, or of another image of it if the benchmark translates
to references, and compared with the truth by the configuration's reconstruction loss, including LPIPS if it
is part of it. A tenth of the contents is used for validation to choose the best step, since so few pairs
overfit. The bound is then evaluated like any model: ``sivae-translate evaluate runs/supervised``, or
``benchmark ... --against runs/supervised``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import read_options_and_settings
from sivae_translate.config import Config, load_config, to_yaml
from sivae_translate.data.loading import load_data
from sivae_translate.data.sources import get_source, glyphs
from sivae_translate.data.tensors import to_tensor
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Codes
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.weights import save_model
from sivae_translate.objectives.fakes import Passes
from sivae_translate.utils.devices import autocast, pick_device, pick_dtype
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.files import write_text
from sivae_translate.utils.resources import config_path

CHECK_EVERY = 200
CHECKED = 1500
"""Number of validation pairs."""


Index = tuple[np.ndarray, np.ndarray]
"""Indices of domains and contents, (count,) each."""


@dataclass(frozen=True)
class Pairs:
    """Images of contents that every domain has.

    Attributes:
        images: uint8 (D, N, H, W, C).
        by_reference: whether the style is that of another image of the target domain, not its mean.
        colours: colours of coloured glyphs, (D, N); then the images are grey, and the truth has the colours
            of the reference.
    """

    images: np.ndarray
    by_reference: bool
    colours: np.ndarray | None = None

    def part(self, contents: np.ndarray) -> Pairs:
        """A subset of the contents, by position."""
        colours = None if self.colours is None else self.colours[:, contents]
        return Pairs(self.images[:, contents], self.by_reference, colours)

    def draw(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw sources, truths, references (count, C, H, W) and target domains (count,)."""
        domains, contents = self.images.shape[:2]
        content, other = rng.integers(contents, size=(2, count))
        source, target = rng.integers(domains, size=(2, count))
        truths = self._taken((target, content), (target, other))
        sources, references = (self._taken(index, index) for index in ((source, content), (target, other)))
        return sources, truths, references, torch.from_numpy(target)

    def _taken(self, index: Index, painted_as: Index) -> Tensor:
        """The images at domains and contents, painted in the colours of others: (count, C, H, W)."""
        pixels = self.images[index]
        if self.colours is not None:
            named = zip(pixels, self.colours[painted_as], strict=True)
            pixels = np.stack([glyphs.paint(image[..., 0], colours) for image, colours in named])
        return to_tensor(pixels).contiguous(memory_format=torch.channels_last)

    def translated(self, model: LatentModel, sources: Tensor, references: Tensor, target: Tensor) -> Tensor:
        """Logits of the translations, (count, C, H, W)."""
        style = (
            model.style_encoder(references).mean
            if self.by_reference
            else model.prior_style(target, len(target))
        )
        return model.logits(Codes(model.content_encoder(sources).mean, style))


def load_pairs(config: Config) -> tuple[Pairs, Pairs]:
    """Load the pairs, split into training contents and a tenth for validation."""
    source, colours = get_source(config.data.name), None
    images = source.load_pairs(config.data)
    if isinstance(source, glyphs.ColouredGlyphs):
        colours = source.pair_colours(config.data)
    pairs = Pairs(images, source.style_kinds[0] == "reference", colours)
    order = np.random.default_rng(0).permutation(images.shape[1])
    tenth = len(order) // 10
    return pairs.part(order[tenth:]), pairs.part(order[:tenth])


@torch.no_grad()
def validate(model: LatentModel, held: Pairs, lpips: Lpips) -> float:
    """Mean LPIPS to the truth over the same validation pairs each time."""
    device = next(model.parameters()).device
    parts = [torch.split(part.to(device), 100) for part in held.draw(CHECKED, np.random.default_rng(1))]
    distances = [
        lpips.distances(torch.sigmoid(held.translated(model, source, reference, domain)).float(), truth)
        for source, truth, reference, domain in zip(*parts, strict=True)
    ]
    return torch.cat(distances).mean().item()


def run(config: Config, minutes: float, out: Path, steps: int | None = None) -> None:
    """Train and write the best model; ``steps`` is a budget instead of minutes.

    Raises:
        ConfigError: there was no time for `CHECK_EVERY` steps, after which the first model is evaluated.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    device = pick_device(config.training.device)
    dtype = pick_dtype("auto", device)
    train, held = load_pairs(config)
    domains = load_data(config.data).domains
    model, average = (
        make_model(config.model, config.data, len(domains)).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for _ in range(2)
    )
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.training.learning_rate, betas=(0.9, 0.99), fused=True
    )
    error = Passes(config.objective, model).real_error
    lpips, batch = Lpips.load(device=str(device)), config.training.batch
    best, began, step = float("inf"), time.monotonic(), 0
    while (spent := step / steps if steps else (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = config.training.learning_rate * min(
                1.0, (step + 1) / 100, max(0.05, (1 - spent) / 0.4)
            )
        sources, truths, references, target = (part.to(device) for part in train.draw(batch, rng))
        with autocast(device, dtype):
            logits = train.translated(model, sources, references, target)
            loss = error(logits, truths).mean() / truths[0].numel()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(model.parameters()), 1 - min(0.995, (step + 1) / (step + 10))
            )
        step += 1
        if step % CHECK_EVERY == 0:
            with autocast(device, dtype):
                score = validate(average, held, lpips)
            print(
                f"step {step}: {spent:.0%} of the budget, loss {loss.item():.4f}, validation LPIPS "
                f"{score:.4f}",
                flush=True,
            )
            if score < best:
                best = score
                facts: dict[str, object] = {"supervised": True, "steps": step, "validation_lpips": score}
                facts["minutes"] = round((time.monotonic() - began) / 60, 2)
                save_model(out / "model.safetensors", average, config, domains, facts)
    if step < CHECK_EVERY:
        raise ConfigError(
            f"the budget was too small: {step} steps, no model", remedy=f"allow {CHECK_EVERY} steps or more"
        )
    write_text(out / "config.yaml", to_yaml(config))


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    config: str = "glyphs"
    """glyphs, glyphs-64, glyphs-colour, cars3d, facades, emoji or doom."""
    data: Path | None = None
    """Folder or zip file, if the configuration needs one."""
    minutes: float = 10
    out: Path = Path("runs/supervised")


if __name__ == "__main__":
    given, settings = read_options_and_settings(Options, __doc__)
    run(load_config(config_path(given.config), settings), given.minutes, given.out)
