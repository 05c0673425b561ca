"""Two processes share a run: the same gradients as one, one run folder, no hang when one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sivae_translate.config import from_dict, to_yaml
from sivae_translate.training import checkpoints
from sivae_translate.training.distributed import World
from sivae_translate.utils.errors import ConfigError
from tests.training.conftest import MODEL

ROOT = Path(__file__).parents[2]
LAUNCH = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nproc-per-node",
    "2",
    "--rdzv-backend",
    "c10d",
    "--rdzv-endpoint",
]
GRADIENTS = '''
"""Gradients of every objective on this process's part of a batch, averaged by the stepper; the first process saves them."""
import sys
import torch
from safetensors.torch import save_file
from sivae_translate.models.codes import Gaussian
from sivae_translate.config import DataConfig, ModelConfig, ObjectiveConfig
from sivae_translate.data.batches import Batch
from sivae_translate.models.build import make_model
from sivae_translate.models.priors import StandardPrior
from sivae_translate.objectives import fakes, styles
from sivae_translate.objectives import make_objective
from sivae_translate.training.distributed import World, joined
from sivae_translate.training.step import Stepper

SIZES = dict(widths=(4, 6, 8), style_widths=(4, 4, 6), content_channels=3, style_dim=5, style_features=8, latent_dim=6)
COUNT = 8

def noise(like):  # depends on the place in a code alone, not on the image's place in the batch
    return torch.sin(torch.arange(like.shape[1:].numel(), dtype=like.dtype) * 1.7).reshape(like.shape[1:]).expand_as(like)

# Partners and draws would differ between one batch of eight and two of four; what is compared are the
# gradients' averages.
Gaussian.sample = lambda self, generator=None: self.mean + torch.exp(0.5 * self.logvar) * noise(self.mean)
StandardPrior.sample = lambda self, count, device, generator=None: noise(torch.empty(count, *self.shape).double())
styles.swap_styles = lambda style, domain, share: style
fakes.translation_styles = lambda style, domain, model: (
    style + 1, model.prior_style(domain, len(domain)).detach(), domain
)

def gradients(world, parts, samples):
    found = {}
    for kind, domains in (("plain", 1), ("translation", 2), ("translation", 1)):
        for name in ("elbo", "introvae", "soft_introvae", "bootstrap"):
            torch.manual_seed(0)
            model = make_model(ModelConfig(kind=kind, **SIZES), DataConfig(image_size=32, channels=1), domains).double()
            times = dict(introspection_from=0.5, back_translation_from=0.5)
            places = 0.1 if name == "soft_introvae" else 0.0
            config = ObjectiveConfig(
                name=name, beta_neg=20.0, gamma_r=0.5, prior_samples=samples, places=places, **times
            )
            objective = make_objective(config, model)
            stepper = Stepper(objective, None, processes=world.size, parts=parts)
            images = torch.rand(COUNT, 1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
            mine = slice(world.rank, None, world.size)
            batch = Batch(images[mine], (torch.arange(COUNT) * domains // COUNT)[mine])
            kept = {}
            def watch(half, stepper=stepper, kept=kept):
                parameters = stepper.encoders if half == "encoders" else stepper.decoders
                for index, parameter in enumerate(parameters):
                    if parameter.grad is not None:
                        kept[f"{half}.{index}"] = parameter.grad.clone()
                    parameter.grad = None
                return torch.zeros(())
            stepper._move = watch
            for progress in (0.0, 0.9, 0.9):  # with and without fakes
                stepper.step(batch, progress, 0.1, 1)
                found |= {f"{kind}.{domains}.{name}.{progress}.{key}": value for key, value in kept.items()}
    return {key: value.contiguous() for key, value in found.items()}

VARIANTS = ((1, 0.5), (2, 0.0))
with joined() as world:
    first = world.rank == 0
    for parts, samples in VARIANTS:
        both = gradients(world, parts, samples)
        if first:
            save_file(both, f"{sys.argv[1]}/two-{parts}.safetensors")
if first:  # alone now, with the whole batch
    for parts, samples in VARIANTS:
        save_file(gradients(World(), 1, samples), f"{sys.argv[1]}/one-{parts}.safetensors")
'''


def launch(port: Any, *command: Any) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return [*LAUNCH, f"localhost:{port}", *map(str, command)], environment


@pytest.mark.full
def test_gradients_of_two_processes_are_those_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    command, environment = launch(29611, script, tmp_path)
    subprocess.run(command, env=environment, check=True, timeout=240)
    for parts in (1, 2):
        compare(tmp_path / f"one-{parts}.safetensors", tmp_path / f"two-{parts}.safetensors")


def compare(alone: Path, together: Path) -> None:
    one, two = load_file(alone), load_file(together)
    assert set(one) == set(two)
    assert (
        len({name.rpartition(".")[0].rpartition(".")[0] for name in one}) == 24
    )  # kinds, objectives, with and without fakes
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-6, atol=1e-12, msg=partial("{}: {}".format, name)
        )


def settings(tmp_path: Path, **training: Any) -> Any:
    values = {
        "data": {"name": "glyphs", "image_size": 32, "channels": 1},
        "model": MODEL,
        "objective": {"likelihood": "bernoulli", "introspection_from": 0.5, "back_translation_from": 0.25},
        "training": {
            "steps": 6,
            "batch": 12,
            "checkpoint_every": 2,
            "log_every": 1,
            "picture_every": 0,
            **training,
        },
    }
    path = tmp_path / "settings.yaml"
    path.write_text(to_yaml(from_dict(values, "the test")))
    return path


@pytest.mark.full
def test_two_processes_train_one_run_that_one_process_can_go_on_with(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command, environment = launch(29612, "-m", "sivae_translate", "train", settings(tmp_path), "--out", run)
    subprocess.run(command, env=environment, check=True, timeout=240, cwd=tmp_path)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert (run / "model.safetensors").exists()
    more = [
        sys.executable,
        "-m",
        "sivae_translate",
        "train",
        "--out",
        run,
        "--resume",
        "--training.steps",
        "8",
    ]
    subprocess.run(list(map(str, more)), env=environment, check=True, timeout=240, cwd=tmp_path)
    assert json.loads((run / "checkpoints" / "step-00000008" / "progress.json").read_text())["step"] == 8


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_leaves_a_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = settings(tmp_path, steps=100000)
    command, environment = launch(29613, "-m", "sivae_translate", "train", path, "--out", run)
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (run / "checkpoints" / "step-00000004").exists() and time.monotonic() < until:
        time.sleep(0.2)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "SIGKILL" in said or "exitcode" in said
    found = checkpoints.latest(run / "checkpoints")
    assert found is not None
    assert json.loads((found / "progress.json").read_text())["step"] >= 4


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    assert World(size=2).share(8) == 4
    with pytest.raises(ConfigError, match="multiple of 3"):
        World(size=3).share(8)
    with pytest.raises(ConfigError, match="4 or more"):
        World(size=2).share(2)
