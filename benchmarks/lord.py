"""The strongest unsupervised peer, LORD (arXiv 1906.11796), written from its description: latent
optimisation, then encoders.

    python -m benchmarks.lord --config cars3d --data FOLDER --minutes 60 --out runs/lord-cars3d
    sivae-translate benchmark cars3d --root FOLDER --against runs/lord-cars3d

First a content code for every training image (with noise of standard deviation 1 and a penalty on its
square), a style for every domain, and the decoder are learned together from reconstruction: L1 and a
perceptual distance. The noise and the penalty leave no room in the content for what the domain's style can
say. Then encoders learn to give these codes, and the decoder is tuned with them. Networks, data, augmentation
(none) and sizes are those of the configuration, so that the methods and not the networks are compared; the
style modulates normalised features as AdaIN does. The perceptual distance is LPIPS, which is also what the
benchmarks judge by: an advantage for this peer.
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
"""Standard deviation of the noise on content codes (the paper's)."""
PENALTY = 1e-3
"""Weight of the mean square of a content code (the paper's)."""
L1 = 1.0
PERCEPTUAL = 1.0
CODE_RATE, NETWORK_RATE = 1e-3, 1e-4 * 5
"""Adam's: the paper gives the codes ten times the rate of the networks; ours differ by two, since few steps
fit the budget."""
FIRST_STAGE = 0.6
"""Share of the budget for latent optimisation."""


@dataclass(frozen=True)
class Stage:
    """What a stage needs.

    Attributes:
        images: (N, C, H, W) of all domains.
        domain: (N,).
        table: content codes, one an image.
        judge: the perceptual distance.
        batch: images a step.
    """

    images: Tensor
    domain: Tensor
    table: nn.Embedding
    judge: Lpips
    batch: int

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Indices, images and domains of a batch in which every domain is as likely as any."""
        domain = torch.randint(int(self.domain.max()) + 1, (self.batch,)).to(self.domain.device)
        first, size = torch.searchsorted(self.domain, domain), torch.bincount(self.domain)[domain]
        index = first + (torch.rand(self.batch).to(size.device) * size).long()
        return index, self.images[index].contiguous(memory_format=torch.channels_last), domain

    def reconstruction(self, model: LatentModel, codes: Codes, images: Tensor) -> Tensor:
        """L1 and perceptual distance; scalar."""
        made = model.decode(codes)
        loss: Tensor = L1 * (made - images).abs().mean() + PERCEPTUAL * self.judge(made, images).mean()
        return loss

    def content(self, index: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Rows of the table as codes."""
        rows: Tensor = self.table(index).reshape(-1, *shape)
        return rows


def everything(data: DomainData) -> tuple[Tensor, Tensor]:
    """Training images of all domains, one domain after the other, and their domains."""
    images = [to_tensor([source[i] for i in range(len(source))]) for source in data.train]
    return labelled(images)


def optimise_latents(model: LatentModel, stage: Stage) -> Iterator[Tensor]:
    """The first stage, a step at a time; yields losses."""
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
    """The second stage: encoders reach the codes, and the decoder is tuned with them; yields losses."""
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
    """Train both stages and write a model that is used like every other.

    Args:
        config: data and sizes of the networks.
        minutes: budget.
        out: run folder.
        steps: of each stage, instead of minutes.

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
    """What the command line takes."""

    config: str
    data: Path | None = None
    """Folder or zip file, where the configuration needs one."""
    minutes: float = 10
    out: Path = Path("runs/lord")


if __name__ == "__main__":
    given, settings = read_options_and_settings(Options, __doc__)
    run(load_config(config_path(given.config), settings), given.minutes, given.out)
