"""The loop: repeatable, resumable, guarded; kills, signals and full disks lose nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sivae_translate.config import from_dict, to_yaml
from sivae_translate.data.domains import ArrayImages, DomainData
from sivae_translate.inference.translator import Translator
from sivae_translate.models.weights import load_model
from sivae_translate.training import checkpoints
from sivae_translate.training.guard import Guard
from sivae_translate.training.launch import train
from sivae_translate.training.lock import locked
from sivae_translate.training.log import read_metrics
from sivae_translate.training.trainer import Trainer
from sivae_translate.utils.errors import CheckpointError, ConfigError, OutputError, TrainingError
from sivae_translate.utils.tensor_files import write_tensors
from tests.training.conftest import MODEL, run_until_power_cut

SETTINGS: dict[str, Any] = {
    "data": {"image_size": 32, "channels": 1},
    "model": MODEL,
    "objective": {"likelihood": "bernoulli", "introspection_from": 0.5, "back_translation_from": 0.25},
    "training": {
        "steps": 12,
        "batch": 8,
        "checkpoint_every": 4,
        "log_every": 2,
        "picture_every": 0,
        "validation": 0.1,
    },
}


def settings(**training: Any) -> Any:
    return from_dict({**SETTINGS, "training": {**SETTINGS["training"], **training}}, "the test")


def weights(run: Path) -> Any:
    return load_model(run / "model.safetensors").model.state_dict()


def assert_same(a: Any, b: Any) -> None:
    for name, value in weights(a).items():
        assert torch.equal(value, weights(b)[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Any) -> Path:
    """A finished run; tests must not change it."""
    return train(settings(), tmp_path_factory.mktemp("runs") / "first", data=data)


def test_a_run_leaves_a_model_metrics_pictures_and_a_report(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {
        "model.safetensors",
        "best.safetensors",
        "config.yaml",
        "metrics.jsonl",
        "grid.png",
        "curves.png",
        "report.html",
    } <= names
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert {"reconstruction", "kl_real", "kl_fake", "kl_difference", "exp_elbo"} <= set(lines[-1])
    assert "kl_fake" not in lines[0]
    assert "data:image/png" in (run / "report.html").read_text()
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000008", "step-00000012"]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(
    run: Path, tmp_path: Path, data: Any
) -> None:
    second = train(settings(), tmp_path / "b", data=data)
    other = train(settings(seed=1), tmp_path / "c", data=data)
    assert_same(run, second)
    assert any(not torch.equal(value, weights(other)[name]) for name, value in weights(run).items())


def test_a_resumed_run_ends_with_the_same_weights_and_no_step_twice(tmp_path: Path, data: Any) -> None:
    whole = train(settings(means_rate=10.0), tmp_path / "whole", data=data)  # groups with rates of their own
    run_until_power_cut(Trainer(settings(means_rate=10.0), tmp_path / "broken", data=data), 7)
    assert checkpoints.latest(tmp_path / "broken" / "checkpoints").name == "step-00000004"
    resumed = train(settings(means_rate=10.0), tmp_path / "broken", data=data, resume=True)
    assert_same(whole, resumed)
    steps = [json.loads(line)["step"] for line in (resumed / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize(("budget", "expected"), [({"steps": 7}, 7), ({"steps": None, "epochs": 2.0}, 11)])
def test_budgets_in_steps_and_epochs(tmp_path: Path, data: Any, budget: Any, expected: Any) -> None:
    trainer = Trainer(settings(**budget), tmp_path, data=data)
    assert (
        trainer.state.budget.steps == expected
    )  # 2 epochs of 44 images, 4 of 48 being reserved, in batches of 8


def test_a_budget_in_minutes_ends_in_time(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(steps=None, minutes=0.02), tmp_path, data=data)
    trainer.run()
    assert 1.2 <= trainer.state.progress.seconds < 10
    assert trainer.state.budget.share(trainer.state.progress) == 1


def test_each_half_moves_its_own_parameters_alone(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    trainer.state.progress.step = 8
    moved, move = {}, trainer.state.stepper._move

    def watch(half: Any, *arguments: Any, **options: Any) -> Any:
        before = {name: value.clone() for name, value in trainer.state.model.state_dict().items()}
        norm = move(half, *arguments, **options)
        after = trainer.state.model.state_dict()
        moved[half] = {
            name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])
        }
        return norm

    trainer.state.stepper._move = watch
    trainer.step(trainer.state.batches[8].to(trainer.state.device))
    assert moved == {"encoders": {"content_encoder", "style_encoder"}, "decoder": {"decoder", "style_prior"}}


def test_a_vae_step_moves_everything(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    before = {name: value.detach().clone() for name, value in trainer.state.model.named_parameters()}
    trainer.step(trainer.state.batches[0].to(trainer.state.device))
    after = dict(trainer.state.model.named_parameters())
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert not {name.split(".")[0] for name in before} - {
        name.split(".")[0] for name in before if name not in same
    }


def test_the_prior_means_can_move_at_a_rate_of_their_own(tmp_path: Path, data: Any) -> None:
    moved = []
    for factor in (1.0, 10.0):
        trainer = Trainer(settings(means_rate=factor), tmp_path / str(factor), data=data)
        before = {name: value.detach().clone() for name, value in trainer.state.model.named_parameters()}
        trainer.step(trainer.state.batches[0].to(trainer.state.device))
        moved.append(
            {name: value.detach() - before[name] for name, value in trainer.state.model.named_parameters()}
        )
    for name, step in moved[0].items():
        torch.testing.assert_close(
            moved[1][name], step * (10 if name == "style_prior.means" else 1), rtol=1e-3, atol=1e-6
        )


def poison(trainer: Any, steps: set[int]) -> None:
    original = trainer.state.objective.encoder_loss

    def poisoned(*arguments: Any) -> Any:
        loss = original(*arguments)
        return loss * float("nan") if trainer.state.progress.step in steps else loss

    trainer.state.objective.encoder_loss = poisoned


def poison_until_rollback(trainer: Any, step: int) -> Any:
    """One bad step, good when repeated; returns the problem and the step of each rollback."""
    bad, roll_back, rollbacks = {step}, trainer.roll_back, []
    poison(trainer, bad)

    def watch(problem: Any) -> None:
        roll_back(problem)
        rollbacks.append((problem, trainer.state.progress.step))
        bad.clear()

    trainer.roll_back = watch
    return rollbacks


def test_one_bad_step_goes_back_to_the_last_checkpoint_with_half_the_rate(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(log_every=1), tmp_path, data=data)
    found = poison_until_rollback(trainer, 6)
    trainer.run()
    assert [step for _, step in found] == [4]
    assert all("not finite" in problem for problem, _ in found)
    assert trainer.state.progress.guard.rollbacks == 1
    assert trainer.state.progress.guard.learning_rate_scale == 0.5
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_weights_gone_bad_are_never_saved(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    trainer.checkpoint()
    trainer.state.progress.step = 3
    with torch.no_grad():
        trainer.state.model.encoder_parameters()[0].fill_(float("nan"))
    problem = trainer.checkpoint()
    assert problem is not None
    assert "not finite" in problem
    trainer.roll_back(problem)
    assert trainer.state.progress.step == 0
    assert all(torch.isfinite(value).all() for value in trainer.state.model.state_dict().values())
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000000"]


def test_a_bad_last_step_that_no_log_shows_is_done_again(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(log_every=100), tmp_path, data=data)
    poison_until_rollback(trainer, 11)
    trainer.run()
    assert trainer.state.progress.guard.rollbacks == 1
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_after_a_rollback_no_step_is_logged_twice(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(log_every=1), tmp_path, data=data)
    poison_until_rollback(trainer, 6)
    trainer.run()
    assert trainer.state.progress.guard.rollbacks == 1
    assert [line["step"] for line in read_metrics(tmp_path)] == list(range(1, 13))


def test_a_run_that_cannot_be_saved_stops_with_an_error_and_a_checkpoint(tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(log_every=1, max_rollbacks=2), tmp_path, data=data)
    poison(trainer, set(range(6, 100)))
    with pytest.raises(TrainingError, match="not finite"):
        trainer.run()
    saved = checkpoints.read_tensors(tmp_path / "checkpoints" / "step-00000004" / "weights.safetensors")
    assert all(torch.isfinite(value).all() for value in saved.values())
    train(settings(log_every=1, learning_rate=1e-4), tmp_path, data=data, resume=True)
    assert Translator.from_pretrained(tmp_path).facts["steps"] == 12


def test_the_guard_notices_a_collapsed_kl_difference_and_forgives_a_short_one() -> None:
    guard, healthy, lost = Guard(), {"kl_real": 40.0, "kl_fake": 45.0}, {"kl_real": 40.0, "kl_fake": 1.0}
    assert not any(guard.problem(healthy) for _ in range(50))
    assert not any(guard.problem(lost) for _ in range(15))
    assert not any(guard.problem(healthy) for _ in range(50))
    found = [guard.problem(lost) for _ in range(60)]
    assert "KL difference collapsed" in next(problem for problem in found if problem)


def test_a_checkpoint_of_an_earlier_version_keeps_its_guard(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 2)
    progress = checkpoints.Progress(step=7, guard=Guard(0.5, rollbacks=1, kl_real=4.0, observations=9))
    checkpoints.save(tmp_path / "step-00000007", {"layer": layer}, {}, progress)
    path = tmp_path / "step-00000007" / "progress.json"
    state = json.loads(path.read_text())
    state["guard"]["retreats"] = state["guard"].pop("rollbacks")
    state["guard"]["seen"] = state["guard"].pop("observations")
    path.write_text(json.dumps(state))
    assert checkpoints.load(tmp_path / "step-00000007", {"layer": layer}, {}) == progress


def test_a_full_disk_is_reported_and_keeps_the_last_checkpoint(
    tmp_path: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(settings(), tmp_path, data=data)
    write = write_tensors

    def full(path: Path, tensors: Any) -> None:
        if trainer.state.progress.step == 8:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, tensors)

    monkeypatch.setattr(checkpoints, "write_tensors", full)
    with pytest.raises(OutputError, match="No space left"):
        trainer.run()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-00000000",
        "step-00000004",
    ]


def test_an_existing_run_is_not_overwritten(tmp_path: Path, data: Any) -> None:
    train(settings(steps=2), tmp_path, data=data)
    with pytest.raises(ConfigError, match="already has a run"):
        Trainer(settings(steps=2), tmp_path, data=data)


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("model", "style_dim", 7),
        ("training", "seed", 1),
        ("training", "ema", 0.9),
        ("objective", "beta_kl", 0.1),
    ],
)
def test_resuming_with_other_settings_is_refused(
    tmp_path: Path, data: Any, section: Any, name: str, value: Any
) -> None:
    config = settings(steps=2)
    train(config, tmp_path, data=data)
    before = (tmp_path / "config.yaml").read_text()
    other = config.model_copy(update={section: getattr(config, section).model_copy(update={name: value})})
    with pytest.raises(CheckpointError, match=rf"{section}\.{name}"):
        train(other, tmp_path, data=data, resume=True)
    assert (tmp_path / "config.yaml").read_text() == before


def test_a_run_may_go_on_for_longer_and_report_more_often(tmp_path: Path, data: Any) -> None:
    train(settings(steps=2), tmp_path, data=data)
    train(settings(steps=4, log_every=1), tmp_path, data=data, resume=True)
    assert Translator.from_pretrained(tmp_path).facts["steps"] == 4


def test_training_can_start_from_another_models_weights(run: Path, tmp_path: Path, data: Any) -> None:
    trainer = Trainer(settings(fine_tune=str(run)), tmp_path / "second", data=data)
    for name, value in weights(run).items():
        assert torch.equal(value, trainer.state.model.state_dict()[name])
    with pytest.raises(CheckpointError, match="does not fit"):
        Trainer(settings(fine_tune="glyphs"), tmp_path / "third", data=data)


def test_training_can_start_from_a_model_for_smaller_images(run: Path, tmp_path: Path, data: Any) -> None:
    sources = tuple(ArrayImages(source.array.repeat(2, 1).repeat(2, 2)) for source in data.train)
    large = DomainData(data.domains, sources)
    config = settings(fine_tune=str(run), steps=2)
    wider = config.model.model_copy(update={"widths": (3, 4, 6, 8), "style_widths": (3, 4, 4, 6)})
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"image_size": 64}), "model": wider}
    )
    trainer = Trainer(config, tmp_path / "second", data=large)
    before, after = weights(run), trainer.state.model.state_dict()
    assert torch.equal(after["style_prior.means"], before["style_prior.means"])
    assert torch.equal(
        after["content_encoder.trunk.downs.1.weight"], before["content_encoder.trunk.downs.0.weight"]
    )
    trainer.run()
    facts = load_model(tmp_path / "second" / "model.safetensors").facts
    minutes = load_model(run / "model.safetensors").facts["minutes"]
    assert facts["started_from"] == {"model": "first", "steps": 12, "minutes": minutes}
    again = config.training.model_copy(update={"fine_tune": str(tmp_path / "second")})
    further = Trainer(config.model_copy(update={"training": again}), tmp_path / "further", data=large)
    assert further.state.progress.started_from["steps"] == 14
    smooth = config.model_copy(update={"model": wider.model_copy(update={"resampling": "antialiased"})})
    with pytest.raises(CheckpointError, match="another resampling"):
        Trainer(smooth, tmp_path / "smooth", data=large)
    other = config.model_copy(update={"model": wider.model_copy(update={"decoder_blocks": 2})})
    with pytest.raises(CheckpointError, match=r"does not fit the model: Missing .*decoder\.levels\.0\.1"):
        Trainer(other, tmp_path / "third", data=large)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, data: Any) -> None:
    run = train(settings(steps=2), tmp_path, data=data)
    path = run / "checkpoints" / "step-00000002" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        Trainer(settings(steps=2), tmp_path, data=data, resume=True)


def test_unlabelled_images_train_too(tmp_path: Path, data: Any) -> None:
    everything = ArrayImages(np.concatenate([source.array for source in data.train]))
    run = train(settings(steps=8), tmp_path, data=DomainData(domains=("",), train=(everything,)))
    assert load_model(run / "model.safetensors").model.domains == 0


# ---- real processes, real signals


def write_images(root: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for domain in ("left", "right"):
        (root / domain).mkdir(parents=True)
        for index in range(20):
            Image.fromarray(rng.integers(0, 256, (32, 32), dtype=np.uint8)).save(
                root / domain / f"{index}.png"
            )


def start(config: Any, out: Any, *extra: Any) -> Any:
    command = [sys.executable, "-m", "sivae_translate", "train", str(config), "--out", str(out), *extra]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_step(process: Any, out: Any, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        metrics = out / "metrics.jsonl"
        lines = metrics.read_text().splitlines() if metrics.exists() else []
        if len(lines) >= step:
            return
        time.sleep(0.01)
    raise AssertionError(f"never reached step {step}: {process.communicate()[1]}")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A configuration file of 80 small steps, and the run that was never interrupted."""
    root = tmp_path_factory.mktemp("job")
    write_images(root / "images")
    config = settings(steps=80, log_every=1, checkpoint_every=10)
    config = config.model_copy(update={"data": config.data.model_copy(update={"root": root / "images"})})
    (root / "config.yaml").write_text(to_yaml(config))
    whole = start(root / "config.yaml", root / "whole")
    assert whole.wait(timeout=180) == 0, whole.stderr.read()
    return root


@pytest.mark.full
def test_a_run_killed_in_the_middle_and_resumed_ends_with_the_same_weights(job: Any, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    for reached in (17, 45):
        process = start(job / "config.yaml", out, *(["--resume"] if out.exists() else []))
        wait_for_step(process, out, reached)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(job / "config.yaml", out, "--resume")
    assert process.wait(timeout=180) == 0, process.stderr.read()
    assert_same(job / "whole", out)
    assert not list((out / "checkpoints").glob(".*"))


@pytest.mark.full
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_sigint_and_sigterm_save_a_checkpoint_and_leave(job: Any, tmp_path: Path, signum: Any) -> None:
    process = start(job / "config.yaml", tmp_path / "stopped")
    wait_for_step(process, tmp_path / "stopped", 15)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    assert "--resume" in errors
    step = int(checkpoints.latest(tmp_path / "stopped" / "checkpoints").name.removeprefix("step-"))
    assert step >= 15
    assert step == len((tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines())


def test_a_run_folder_in_use_is_refused_and_stays_as_it_is(tmp_path: Path, data: Any) -> None:
    train(settings(steps=4), tmp_path, data=data)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    with locked(tmp_path), pytest.raises(OutputError, match="is in use by process"):
        train(settings(steps=6), tmp_path, data=data, resume=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_leftovers_of_killed_trainings_are_removed_at_the_next_start(tmp_path: Path, data: Any) -> None:
    train(settings(steps=4), tmp_path, data=data)
    left = [tmp_path / ".best.safetensors.123.tmp.safetensors", tmp_path / "pictures" / ".a.png.7.tmp.png"]
    (tmp_path / "pictures").mkdir()
    for path in left:
        path.write_text("half")
    (tmp_path / "checkpoints" / "step-00000004").rename(
        tmp_path / "checkpoints" / ".step-00000004.0123abcd-7-00ff.old.tmp"
    )
    train(settings(steps=6), tmp_path, data=data, resume=True)
    hidden = [path.name for path in tmp_path.rglob(".*")]
    assert not hidden
    assert [line["step"] for line in read_metrics(tmp_path)] == [2, 4, 6]


def test_a_training_that_another_one_has_overtaken_stops(tmp_path: Path, data: Any) -> None:
    train(settings(steps=4), tmp_path, data=data)
    late = Trainer(settings(steps=8), tmp_path, data=data, resume=True)
    train(settings(steps=6), tmp_path, data=data, resume=True)
    with pytest.raises(OutputError, match="another training has continued"):
        late.run()
    assert checkpoints.latest(tmp_path / "checkpoints").name == "step-00000006"


def test_a_checkpoint_without_one_of_its_files_is_never_passed_over(tmp_path: Path, data: Any) -> None:
    train(settings(steps=8), tmp_path, data=data)
    (tmp_path / "checkpoints" / "step-00000008" / "progress.json").unlink()
    with pytest.raises(CheckpointError, match=r"progress\.json.*\n.*remove .*step-00000008.* from step 4"):
        Trainer(settings(steps=8), tmp_path, data=data, resume=True)
