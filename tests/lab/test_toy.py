"""The 2D laboratory: data with known densities, metrics against independent computations, replicas that do
not meet."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sivae_translate.lab import plane_metrics as metrics
from sivae_translate.lab import study as lab
from sivae_translate.lab.planes import NAMES, Plane, modes
from sivae_translate.lab.settings import load_toy_config
from sivae_translate.lab.toy_vae import ToyVAE
from sivae_translate.models.codes import Codes
from sivae_translate.utils.choices import ObjectiveName, PlaneName


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- data


@pytest.mark.parametrize("name", NAMES)
def test_data_stays_in_its_square_and_on_its_support(name: PlaneName) -> None:
    plane = Plane(name)
    points = plane.sample(4000, draws())
    assert points.shape == (4000, 2)
    assert (points.abs() < plane.reach).float().mean() > 0.995
    assert plane.off_support(points).float().mean() < 5e-3  # the rings' 3 sigma leave 0.27 %


@pytest.mark.parametrize("name", ["8gaussians", "checkerboard", "rings"])
def test_exact_densities_integrate_to_one(name: PlaneName) -> None:
    plane = Plane(name)
    side = 3000
    axis = (torch.arange(side) + 0.5) / side * 2 * 4.2 - 4.2
    total = 0.0
    for columns in torch.split(axis, 100):
        logs = plane.log_density(torch.cartesian_prod(columns, axis))
        assert logs is not None
        total += logs.exp().sum().item()
    assert total * (2 * 4.2 / side) ** 2 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["8gaussians", "checkerboard", "rings"])
def test_the_exact_density_fits_the_samples(name: PlaneName) -> None:
    # Were the density another one, the cross-entropy would exceed the entropy by their KL.
    assert metrics.kl_to_data(Plane(name).sample(20000, draws(3)), Plane(name)) == pytest.approx(0, abs=0.05)


def test_the_spiral_turns_into_itself_by_half_a_turn() -> None:
    points = Plane("spiral").sample(20000, draws())
    assert metrics.sliced_wasserstein(points, -points) < 0.1
    assert Plane("spiral").log_density(points) is None


# ---- metrics


def test_entropy_of_a_gaussian() -> None:
    points = torch.randn(20000, 2, generator=draws()) * torch.tensor([1.0, 3.0])
    assert metrics.entropy(points) == pytest.approx(math.log(2 * math.pi * math.e * 3), abs=0.03)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection() -> None:
    points = torch.randn(500, 2, generator=draws())
    assert metrics.sliced_wasserstein(points, points + torch.tensor([0.0, 1.0]), 512) == pytest.approx(
        2 / math.pi, abs=1e-3
    )
    assert metrics.sliced_wasserstein(points, points) == 0


def test_histogram_metrics_are_the_published_ones_written_out() -> None:
    real, fake = Plane("8gaussians").sample(5000, draws(1)), 1.1 * Plane("8gaussians").sample(5000, draws(2))
    edges = np.linspace(-2, 2, 101)
    p, q = (
        np.histogram2d(x[:, 0], x[:, 1], bins=(edges, edges))[0] / len(x) / 0.04**2
        for x in (real.numpy(), fake.numpy())
    )
    kl = (
        sum(
            a * (math.log(a) - math.log(b + 1e-14))
            for a, b in zip(p.ravel(), q.ravel(), strict=True)
            if a > 0
        )
        / 100
    )
    assert metrics.histogram_kl(real, fake, 2.0) == pytest.approx(kl, rel=1e-6)
    jsd = 0.0
    for part in (p, q):
        mean = (p + q) / 2
        jsd += 0.5 * sum(
            m * (math.log(m) - math.log(a + 1e-14))
            for m, a in zip(mean.ravel(), part.ravel(), strict=True)
            if m > 0
        )
    assert metrics.histogram_jsd(real, fake, 2.0) == pytest.approx(jsd / 100, rel=1e-6)
    assert metrics.histogram_jsd(real, fake, 2.0) > math.log(2)  # the published one is not bounded


def test_gnelbo_divides_by_grid_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "GRID", 8)
    real = torch.tensor([[1.0, 0.0], [0.0, 2.0]])

    def cost(points: Tensor) -> Tensor:
        return points.square().sum(1)

    axis = np.linspace(-3, 3, 8)
    grid = sum(a * a + b * b for a in axis for b in axis)
    assert metrics.gnelbo(cost, real, 3.0) == pytest.approx(2.5 / (grid + 5), rel=1e-6)


def test_modes_are_counted_only_with_their_share_of_points() -> None:
    assert metrics.modes_found(Plane("8gaussians").sample(2000, draws())) == 8
    lost = modes()[:6].repeat(100, 1)
    assert metrics.modes_found(torch.cat([lost, modes()[6:7]])) == 6  # one point in 601 is no mode


def test_points_off_the_support_are_marked() -> None:
    assert Plane("8gaussians").off_support(torch.zeros(1, 2)).all()
    assert Plane("rings").off_support(torch.tensor([[1.1, 0.0], [0.75, 0.0]])).tolist() == [True, False]
    assert Plane("checkerboard").off_support(
        torch.tensor([[1.0, 1.0], [1.0, 3.0], [1.0, 2.05]])
    ).tolist() == [
        False,
        True,
        False,
    ]


# ---- replicas


def test_a_replica_is_what_it_would_be_alone() -> None:
    together, alone = ToyVAE((3, 5), hidden=8), ToyVAE((5,), hidden=8)
    points = torch.randn(10, 2, generator=draws())
    shared = together.encode(points.repeat_interleave(2, 0))
    torch.testing.assert_close(shared.content.mean[1::2], alone.encode(points).content.mean)
    codes = Codes(points, points.new_zeros(10, 0))
    decoded = together.decode(Codes(points.repeat_interleave(2, 0), points.new_zeros(20, 0)))
    torch.testing.assert_close(decoded[1::2], alone.decode(codes))
    torch.testing.assert_close(together.cost(points)[1], alone.cost(points)[0])
    torch.testing.assert_close(together.points(6, 1)[1], alone.points(6, 1)[0])


@pytest.mark.parametrize("name", ["soft_introvae", "bootstrap", "introvae"])
def test_gamma_weighs_the_kl_of_fakes_in_the_decoders_half_alone(name: ObjectiveName) -> None:
    plain, weaker = (load_toy_config(gamma=gamma).objective("rings", name) for gamma in (None, 0.4))
    assert plain.beta_kl_fake == plain.beta_kl == 0.2
    assert weaker == plain.model_copy(update={"beta_kl_fake": pytest.approx(0.08)})
    vae = [load_toy_config(gamma=gamma).objective("rings", "elbo") for gamma in (None, 0.4)]
    assert vae[0] == vae[1]


@pytest.mark.parametrize("objective", lab.OBJECTIVES)
def test_replicas_train_alone(objective: ObjectiveName) -> None:
    """What one replica becomes does not depend on the other's weights."""
    ends = []
    for seeds in ((1, 2), (1, 9)):
        done = lab.train("rings", objective, seeds, load_toy_config(iterations=20, batch=8, hidden=8))
        ends.append(done.model.state_dict()["decoder.network.weights.0"][0])
    torch.testing.assert_close(ends[0], ends[1])


@pytest.mark.parametrize("objective", lab.OBJECTIVES)
def test_training_lowers_the_reconstruction_error(objective: ObjectiveName) -> None:
    done = lab.train("8gaussians", objective, (0,), load_toy_config(iterations=300, batch=64, hidden=32))
    errors = [point["reconstruction"] for point in done.curves]
    assert np.mean(errors[-10:]) < np.mean(errors[:10])
    assert ("kl_fake" in done.curves[-1]) == (objective != "elbo")


def test_a_study_leaves_tables_and_pictures_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "GRID", 32)
    monkeypatch.setattr(metrics, "POINTS", 400)
    config = load_toy_config(iterations=20, batch=16, hidden=8)
    lab.study(["8gaussians"], ["elbo"], [0, 1], tmp_path, config)
    before = (tmp_path / "8gaussians-elbo.json").stat().st_mtime_ns
    lab.study(["8gaussians"], ["elbo", "soft_introvae"], [0, 1], tmp_path, config)
    assert (tmp_path / "8gaussians-elbo.json").stat().st_mtime_ns == before
    table = (tmp_path / "results.md").read_text()
    assert "real against real" in table
    assert "soft_introvae" in table
    results = json.loads((tmp_path / "results.json").read_text())
    assert 0 <= results["runs"]["8gaussians"]["elbo"]["modes"]["mean"] <= 8
    for name in ("8gaussians-elbo.png", "8gaussians-curves.png", "8gaussians.png"):
        assert (tmp_path / name).stat().st_size > 5000
    lab.study(["8gaussians"], ["elbo"], [0, 1], tmp_path, config.model_copy(update={"iterations": 21}))
    assert (tmp_path / "8gaussians-elbo.json").stat().st_mtime_ns > before
