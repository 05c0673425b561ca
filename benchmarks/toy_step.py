"""The 2D step of Soft-IntroVAE: the published passes, written out from the equations, against ours.

    python -m benchmarks.toy_step --rounds 20

The naive step runs every pass as published: the encoder's half decodes and encodes reconstructions and fakes
and also computes a deterministic reconstruction; the decoder's half computes everything again, and decodes
its fakes once more for gamma_r = 1e-8.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.common import read_options
from sivae_translate.data.batches import Batch
from sivae_translate.lab.planes import Plane
from sivae_translate.lab.settings import SCALE, load_toy_config
from sivae_translate.lab.toy_vae import HIDDEN, HIDDEN_LAYERS, ToyVAE
from sivae_translate.objectives import make_objective
from sivae_translate.training.step import Stepper
from sivae_translate.utils.choices import PlaneName

PLANE: PlaneName = "8gaussians"
PUBLISHED = load_toy_config("toy")
GAMMA_R = 1e-8


def mlp(outputs: int) -> nn.Sequential:
    """The published network."""
    widths = [2, *[HIDDEN] * HIDDEN_LAYERS]
    layers: list[nn.Module] = []
    for index in range(HIDDEN_LAYERS):
        layers += [nn.Linear(widths[index], widths[index + 1]), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(HIDDEN, outputs))


class Naive:
    """The published step, pass by pass."""

    def __init__(self) -> None:
        self.encoder, self.decoder = mlp(4), mlp(2)
        self.of_encoder = torch.optim.Adam(self.encoder.parameters(), lr=PUBLISHED.learning_rate)
        self.of_decoder = torch.optim.Adam(self.decoder.parameters(), lr=PUBLISHED.learning_rate)

    def step(self, x: Tensor) -> None:
        """One step of both halves."""
        weights = PUBLISHED.planes[PLANE].introspective
        beta_rec, beta_kl, beta_neg = weights.beta_rec, weights.beta_kl, weights.beta_neg
        noise = torch.randn(len(x), 2)
        self._train(self.encoder, self.decoder)
        fake = self.decoder(noise)
        mean, logvar = self.encoder(x).chunk(2, 1)
        z = draw(mean, logvar)
        rec = self.decoder(z)
        self.decoder(self.encoder(x).chunk(2, 1)[0])  # observed only
        exps = []
        for made in (fake.detach(), rec.detach()):
            fake_mean, fake_logvar = self.encoder(made).chunk(2, 1)
            error = square(self.decoder(draw(fake_mean, fake_logvar)), made)
            exps.append(
                torch.exp(-2 * SCALE * (beta_rec * error + beta_neg * kl(fake_mean, fake_logvar))).mean()
            )
        loss = SCALE * (beta_rec * square(rec, x) + beta_kl * kl(mean, logvar)).mean() + 0.25 * (
            exps[0] + exps[1]
        )
        self.of_encoder.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.of_encoder.step()

        self._train(self.decoder, self.encoder)
        fake, rec = self.decoder(noise), self.decoder(z.detach())
        terms = []
        for made in (fake, rec):
            fake_mean, fake_logvar = self.encoder(made).chunk(2, 1)
            error = square(self.decoder(draw(fake_mean, fake_logvar).detach()), made.detach())
            terms.append(beta_kl * kl(fake_mean, fake_logvar).mean() + GAMMA_R * beta_rec * error.mean())
        loss = SCALE * (beta_rec * square(rec, x).mean() + 0.5 * (terms[0] + terms[1]))
        self.of_decoder.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.of_decoder.step()

    @staticmethod
    def _train(moving: nn.Module, frozen: nn.Module) -> None:
        moving.requires_grad_(True)
        frozen.requires_grad_(False)


def draw(mean: Tensor, logvar: Tensor) -> Tensor:
    """A reparametrised draw."""
    return mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL to N(0, I), (B,)."""
    return 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(1)


def square(a: Tensor, b: Tensor) -> Tensor:
    """Squared error, (B,)."""
    return (a - b).square().sum(1)


class Ours:
    """The laboratory's step with several replicas."""

    def __init__(self, replicas: int, dtype: torch.dtype) -> None:
        model = ToyVAE(tuple(range(replicas)), dtype=dtype)
        self.game = make_objective(PUBLISHED.objective(PLANE, "soft_introvae"), model, SCALE)
        self.stepper, self.replicas = Stepper(self.game, None, (0.9, 0.999), replicas), replicas

    def step(self, x: Tensor) -> None:
        """One step of every replica."""
        points = x.repeat_interleave(self.replicas, 0)
        batch = Batch(points, torch.zeros(len(points), dtype=torch.long))
        self.stepper.step(batch, 1.0, PUBLISHED.learning_rate, 1)


def run(rounds: int, steps: int) -> dict[str, float]:
    """Median milliseconds per step and replica, and their ratios."""
    points = Plane(PLANE).sample(PUBLISHED.batch, torch.Generator().manual_seed(0))
    contestants: dict[str, tuple[Naive | Ours, int]] = {
        "naive": (Naive(), 1),
        "ours, float32": (Ours(1, torch.float32), 1),
        "ours, bfloat16": (Ours(1, torch.bfloat16), 1),
        "ours, bfloat16, 3 seeds": (Ours(3, torch.bfloat16), 3),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, (contestant, replicas) in contestants.items():
            began = time.perf_counter()
            for _ in range(steps):
                contestant.step(points)
            times[name].append(1000 * (time.perf_counter() - began) / steps / replicas)
    medians = {
        name: statistics.median(values[1:]) for name, values in times.items()
    }  # the first round warms up
    ratios = {
        f"{name}, times as fast": medians["naive"] / value
        for name, value in medians.items()
        if name != "naive"
    }
    return {name: round(value, 3) for name, value in {**medians, **ratios}.items()}


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    rounds: int = 20
    steps: int = 10


if __name__ == "__main__":
    given = read_options(Options, __doc__)
    print(json.dumps(run(given.rounds, given.steps), indent=2))
