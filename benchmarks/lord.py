"""LORD (arXiv 1906.11796), an unsupervised peer written from its description.

    python -m benchmarks.lord --config cars3d --data FOLDER --minutes 60 --out runs/lord-cars3d
    sivae-translate benchmark cars3d --root FOLDER --against runs/lord-cars3d

First, a content code for every training image (with noise of standard deviation 1 and a penalty on its
square), a style for every domain, and the decoder are learned together by reconstruction with L1 and a
perceptual distance. Noise and penalty keep out of the content what the domain's style can explain. Then
encoders learn to predict these codes, and the decoder is fine-tuned with them. Networks, data, augmentation
(none) and sizes are those of the configuration, so that methods and not networks are compared; the style
modulates normalised features as in AdaIN. The perceptual distance is LPIPS, which is also the benchmarks'
metric: an advantage for this peer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common import read_options_and_settings
from sivae_translate.config import Config, load_config, to_yaml
from sivae_translate.data.domains import DomainData
from sivae_translate.data.loading import load_data
from sivae_translate.data.tensors import to_tensor
from sivae_translate.evaluation.probes import labelled
from sivae_translate.models.build import make_model
from sivae_translate.models.codes import Codes
from sivae_translate.models.latent import LatentModel
from sivae_translate.models.lpips import Lpips
from sivae_translate.models.weights import save_model
from sivae_translate.utils.devices import autocast, pick_device, pick_dtype
from sivae_translate.utils.errors import ConfigError
from sivae_translate.utils.files import write_text
from sivae_translate.utils.progress import progress_bar
from sivae_translate.utils.resources import config_path

NOISE = 1.0
"""Standard deviation of the noise on content codes, as in the paper."""
PENALTY = 1e-3
"""Weight of the mean square of a content code, as in the paper."""
L1 = 1.0
PERCEPTUAL = 1.0
CODE_RATE, NETWORK_RATE = 1e-3, 1e-4 * 5
"""Learning rates of Adam. The paper's rate of the codes is ten times that of the networks; ours is twice,
since the budget allows few steps."""
FIRST_STAGE = 0.6
"""Fraction of the budget for latent optimisation."""


@dataclass(frozen=True)
class Stage:
    """Inputs of a stage.

    Attributes:
        images: images of all domains, (N, C, H, W).
        domain: domain index of each image, (N,).
        table: content code of each image.
        perceptual: the perceptual distance.
        batch: images per step.
    """

    images: Tensor
    domain: Tensor
    table: nn.Embedding
    perceptual: Lpips
    batch: int

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch with equal probability of all domains: indices, images and domains."""
        domain = torch.randint(int(self.domain.max()) + 1, (self.batch,)).to(self.domain.device)
        first, size = torch.searchsorted(self.domain, domain), torch.bincount(self.domain)[domain]
        index = first + (torch.rand(self.batch).to(size.device) * size).long()
        return index, self.images[index].contiguous(memory_format=torch.channels_last), domain

    def reconstruction(self, model: LatentModel, codes: Codes, images: Tensor) -> Tensor:
        """Reconstruction loss, L1 plus perceptual distance; scalar."""
        made = model.decode(codes)
        loss: Tensor = L1 * (made - images).abs().mean() + PERCEPTUAL * self.perceptual(made, images).mean()
        return loss

    def content(self, index: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Rows of the table, reshaped to content codes."""
        rows: Tensor = self.table(index).reshape(-1, *shape)
        return rows


def everything(data: DomainData) -> tuple[Tensor, Tensor]:
    """Training images of all domains, ordered by domain, and their domain indices."""
    images = [to_tensor([source[i] for i in range(len(source))]) for source in data.train]
    return labelled(images)


def optimise_latents(model: LatentModel, stage: Stage) -> Iterator[Tensor]:
    """Run the first stage step by step; yields losses."""
    codes = [stage.table.weight, model.style_prior.means]
    groups = [
        {"params": codes, "lr": CODE_RATE},
        {"params": list(model.decoder.parameters()), "lr": NETWORK_RATE},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.5, 0.999))
    while True:
        index, images, domain = stage.draw()
        content = stage.content(index, model.content_shape)
        noisy = Codes(content + NOISE * torch.randn_like(content), model.prior_style(domain, len(domain)))
        loss = stage.reconstruction(model, noisy, images) + PENALTY * content.square().mean()
        yield _moved(optimizer, loss)


def learn_encoders(model: LatentModel, stage: Stage) -> Iterator[Tensor]:
    """Run the second stage, encoders and fine-tuning of the decoder, step by step; yields losses."""
    moved = [*model.encoder_parameters(), *model.decoder.parameters()]
    optimizer = torch.optim.Adam(moved, lr=NETWORK_RATE, betas=(0.5, 0.999))
    while True:
        index, images, domain = stage.draw()
        with torch.no_grad():
            wanted = Codes(stage.content(index, model.content_shape), model.prior_style(domain, len(domain)))
        codes = model.encode(images).mean
        gap = (codes.content - wanted.content).square().mean() + (codes.style - wanted.style).square().mean()
        yield _moved(optimizer, stage.reconstruction(model, codes, images) + gap)


def _moved(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def run(config: Config, minutes: float, out: Path, steps: int | None = None) -> None:
    """Train both stages and write a model file.

    Args:
        config: data and sizes of the networks.
        minutes: budget.
        out: run folder.
        steps: steps of each stage, instead of minutes.

    Raises:
        ConfigError: the data has no domain labels.
    """
    torch.manual_seed(config.training.seed)
    device = pick_device(config.training.device)
    dtype = pick_dtype(config.training.precision, device)
    data = load_data(config.data)
    if len(data.domains) < 2:
        raise ConfigError("LORD needs domain labels", remedy="leave data.labels true")
    images, domain = (part.to(device) for part in everything(data))
    model = (
        make_model(config.model, config.data, len(data.domains))
        .to(device)
        .to(memory_format=torch.channels_last)
    )  # type: ignore[call-overload]
    table = nn.Embedding(len(images), int(torch.tensor(model.content_shape).prod())).to(device)
    nn.init.normal_(table.weight, std=0.05)
    stage = Stage(images, domain, table, Lpips.load(device=str(device)), config.training.batch)
    counts = []
    with progress_bar("health") as bar:
        for name, share, losses in (
            ("latents", FIRST_STAGE, optimise_latents(model, stage)),
            ("encoders", 1 - FIRST_STAGE, learn_encoders(model, stage)),
        ):
            task = bar.add_task(name, total=steps or 60 * minutes * share, health="")
            began, count, done = time.monotonic(), 0, 0.0
            while done < (steps or 60 * minutes * share):
                with autocast(device, dtype):
                    loss = next(losses)
                count += 1
                done = count if steps else time.monotonic() - began
                if count % 20 == 0:
                    bar.update(task, completed=done, health=f"loss {loss.item():.4f}")
            counts.append(count)
    model.eval().requires_grad_(False)
    model.fit_variance(images[:: max(1, len(images) // 256)])
    facts: dict[str, object] = {"method": "LORD", "steps": sum(counts), "stage_steps": counts}
    facts |= {"minutes": minutes, "seed": config.training.seed}
    save_model(out / "model.safetensors", model, config, data.domains, facts)
    write_text(out / "config.yaml", to_yaml(config))


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    config: str
    data: Path | None = None
    """Folder or zip file, if the configuration needs one."""
    minutes: float = 10
    out: Path = Path("runs/lord")


if __name__ == "__main__":
    given, settings = read_options_and_settings(Options, __doc__)
    run(load_config(config_path(given.config), settings), given.minutes, given.out)
