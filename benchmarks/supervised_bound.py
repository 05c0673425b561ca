"""The supervised bound of the glyphs benchmark: the same encoder and decoder, trained with the true pairs.

    python -m benchmarks.supervised_bound --minutes 10 --out runs/supervised

Pairs are the letters that all fonts have and that are not held out; a tenth of these letters is kept to choose the best
moment, since so few letters overfit. Then the bound is judged like every model: sivae-translate evaluate runs/supervised.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sivae_translate.codes import Codes
from sivae_translate.config import Config, load_config, parse_overrides, to_yaml
from sivae_translate.data import glyphs
from sivae_translate.data.images import to_tensor
from sivae_translate.devices import autocast, pick_device, pick_dtype
from sivae_translate.evaluation.lpips import Lpips
from sivae_translate.files import write_text
from sivae_translate.model import TranslationVAE
from sivae_translate.objectives.elbo import reconstruction_error
from sivae_translate.resources import config_path
from sivae_translate.weights import save_model

CHECK_EVERY = 200


def paired_letters(config: Config) -> tuple[Tensor, Tensor]:
    """Training and validation letters, (fonts, letters, C, H, W) each."""
    common = glyphs.split(config.data.split_seed).common
    drawn = [glyphs.draw_many(font, common, config.data.image_size)[..., None] for font in glyphs.FONTS]
    images = torch.stack([to_tensor(font) for font in drawn])
    kept = np.random.default_rng(0).permutation(len(common))
    tenth = len(common) // 10
    return images[:, kept[tenth:]], images[:, kept[:tenth]]


def validate(model: TranslationVAE, letters: Tensor, judge: Lpips) -> float:
    """Mean LPIPS to truth over all ordered pairs of fonts."""
    fonts = range(len(letters))
    distances = []
    for source in fonts:
        for target in fonts:
            if source != target:
                style = model.prior_style(torch.full((letters.shape[1],), target), letters.shape[1])
                made = model.translate(letters[source], style).float()
                distances.append(judge.distances(made, letters[target]))
    return torch.cat(distances).mean().item()


def run(config: Config, minutes: float, out: Path) -> None:
    """Train and write the best model."""
    torch.manual_seed(0)
    device = pick_device("cpu")
    dtype = pick_dtype("auto", device)
    train, held = paired_letters(config)
    model = TranslationVAE(config.model, config.data, len(glyphs.FONTS)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = TranslationVAE(config.model, config.data, len(glyphs.FONTS)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average.load_state_dict(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate, betas=(0.9, 0.99), fused=True)
    judge, batch = Lpips.load(), config.training.batch
    best, began, step = float("inf"), time.monotonic(), 0
    while (spent := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = config.training.learning_rate * min(1.0, (step + 1) / 100, max(0.05, (1 - spent) / 0.4))
        letter = torch.randint(train.shape[1], (batch,))
        source, target = torch.randint(len(train), (2, batch))
        images, truth = (train[font, letter].contiguous(memory_format=torch.channels_last) for font in (source, target))
        with autocast(device, dtype):
            codes = Codes(model.content_encoder(images).mean, model.prior_style(target, batch))
            loss = reconstruction_error(model.logits(codes), truth, config.objective.likelihood).mean() / images[0].numel()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - min(0.995, (step + 1) / (step + 10)))
        step += 1
        if step % CHECK_EVERY == 0:
            with torch.no_grad(), autocast(device, dtype):
                score = validate(average, held, judge)
            print(
                f"step {step}: {spent:.0%} of {minutes:g} min, loss {loss.item():.4f}, validation LPIPS {score:.4f}", flush=True
            )
            if score < best:
                best = score
                facts: dict[str, object] = {"supervised": True, "steps": step, "validation_lpips": score}
                save_model(out / "model.safetensors", average, config, tuple(glyphs.FONTS), facts)
    write_text(out / "config.yaml", to_yaml(config))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="glyphs")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/supervised"))
    given, rest = parser.parse_known_args()
    run(load_config(config_path(given.config), parse_overrides(rest)), given.minutes, given.out)
