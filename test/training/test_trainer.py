"""The training loop on a toy task: exact resume after a kill, NaN guard, schedule, averages, run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn
from toy_task import RECIPE, write_stills

from geoseg_ros import cli
from geoseg_ros.bundle import load_bundle
from geoseg_ros.errors import ConfigError, TrainingError
from geoseg_ros.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from geoseg_ros.training.config import OptimizerConfig, ScheduleConfig, load_recipe
from geoseg_ros.training.data.loader import create_sources, step_batches
from geoseg_ros.training.dry_run import dry_run
from geoseg_ros.training.optimizers import MovingAverage, create_optimizer, learning_rate
from geoseg_ros.training.tasks import create_task
from geoseg_ros.training.trainer import Trainer, train

TOY = Path(__file__).parent / "toy_task.py"
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe_file(tmp_path, monkeypatch):
    write_stills(tmp_path)
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE)
    return str(path)


def assert_same_run(first: Path, second: Path) -> None:
    a, b = (load_file(folder / "checkpoint.safetensors") for folder in (first, second))
    assert a.keys() == b.keys() and any(name.startswith("optimizer.") for name in a)
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_run_killed_with_sigkill_resumes_bit_for_bit(recipe_file, tmp_path, optimizer):
    kill = ["loss.stop=[8, SIGKILL]", f"optimizer.name={optimizer}"]
    result = subprocess.run(
        [sys.executable, str(TOY), "train", recipe_file, *kill, "--out", str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=120,
    )
    assert result.returncode == -9, result.stderr
    steps = yaml.safe_load((tmp_path / "killed/config.yaml").read_text())["steps"]
    assert steps == 12
    # The kill is part of the saved recipe; the run goes on without it.
    config = tmp_path / "killed/config.yaml"
    config.write_text(config.read_text().replace("loss:\n  stop:\n  - 8\n  - SIGKILL\n", "loss: {}\n"))
    harmless = load_recipe(recipe_file, kill[1:])
    train(harmless, tmp_path / "killed", resume=True)
    train(harmless, tmp_path / "whole", resume=False)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def run_toy(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *launcher, str(TOY), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_run_killed_at_any_step_resumes_bit_for_bit(recipe_file, tmp_path):
    """Before the first step, before and after the first checkpoint (step 5), before the last step, and with a
    checkpoint half in place."""
    moments = ("0", "4", "5", "6", "11", "rename")
    result = run_toy("killed", recipe_file, str(tmp_path), *moments)
    assert result.returncode == 0, result.stderr
    recipe = load_recipe(recipe_file)
    train(recipe, tmp_path / "whole", resume=False)
    for moment in moments:
        assert (tmp_path / moment / "checkpoint.safetensors").exists() == (moment not in ("0", "4")), moment
        train(recipe, tmp_path / moment, resume=True)
        assert_same_run(tmp_path / moment, tmp_path / "whole")
        assert not list((tmp_path / moment).glob(".*partial")), moment


def test_two_processes_follow_the_run_of_one(recipe_file, tmp_path):
    """torchrun with two gloo processes: each takes half of a step's batch, the weights are those of one process."""
    overrides = ["network.plain=true", "optimizer.name=sgd", "optimizer.lr=0.1", "data.stills.batch=4"]
    train(load_recipe(recipe_file, overrides), tmp_path / "one", resume=False)
    result = run_toy("train", recipe_file, *overrides, "--out", str(tmp_path / "two"), launcher=TWO_PROCESSES)
    assert result.returncode == 0, result.stderr
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    start = Trainer(load_recipe(recipe_file, overrides)).state.network.state_dict()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    moved = max((one[f"network.{name}"] - value).abs().max().item() for name, value in start.items())
    assert moved > 0.01, "the run must have gone somewhere for the comparison to mean something"


def test_more_processes_than_a_batch_has_examples_leave_no_run_behind(recipe_file, tmp_path):
    result = run_toy("train", recipe_file, "data.stills.batch=1", "--out", str(tmp_path / "run"), launcher=TWO_PROCESSES)
    assert result.returncode != 0
    assert "data.stills: batch is 1, expected at least one per process (2)" in result.stderr
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_saves_its_last_step_and_resumes_bit_for_bit(
    recipe_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(cli, "COMMANDS", ("train",))
    out = ["--out", str(tmp_path / "stopped")]
    assert cli.main(["train", recipe_file, "loss.stop=[6, SIGINT]", *out]) == 130
    assert "stopped after step 7" in capsys.readouterr().err
    resume = ["train", str(tmp_path / "stopped/config.yaml"), "--resume"]
    assert cli.main(resume) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "stopped/bundle.safetensors")
    train(load_recipe(recipe_file), tmp_path / "whole", resume=False)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_the_run_folder_holds_config_log_pictures_and_bundle(recipe_file, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = train(load_recipe(recipe_file), tmp_path / "run", resume=False)
    bundle = load_bundle(path)
    assert bundle.provenance["steps"] == 12
    assert bundle.provenance["recipe"]["optimizer"]["lr"] == 0.01
    assert bundle.provenance["data"]["stills"]["images"] == 3
    averaged = load_file(tmp_path / "run/checkpoint.safetensors")["average.0.weight"]
    torch.testing.assert_close(bundle.weights["0.weight"], averaged, atol=1e-3, rtol=1e-3)
    assert "step 12/12" in (tmp_path / "run/log.txt").read_text()
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [4, 8, 12]
    assert {"loss", "semantic", "train/lr", "train/gradient_norm", "train/data_s"} <= set(
        events.Tags()["scalars"]
    )
    assert [(image.step, image.width, image.height) for image in events.Images("semantic")] == [
        (6, 24, 16),
        (12, 24, 16),
    ]
    again = train(load_recipe(str(tmp_path / "run/config.yaml")), tmp_path / "again", resume=False)
    assert all(torch.equal(value, bundle.weights[name]) for name, value in load_bundle(again).weights.items())


def test_workers_do_not_change_the_result(recipe_file, tmp_path):
    train(load_recipe(recipe_file), tmp_path / "alone", resume=False)
    train(load_recipe(recipe_file, ["workers=2"]), tmp_path / "helped", resume=False)
    assert_same_run(tmp_path / "alone", tmp_path / "helped")


def test_a_loss_that_is_not_finite_stops_with_its_batch_saved(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["loss.poison=7"])
    with pytest.raises(
        TrainingError, match=r"loss of step 7 is not finite \(loss nan, semantic nan\).*step_7.npz"
    ):
        train(recipe, tmp_path / "run", resume=False)
    saved = np.load(tmp_path / "run/not_finite_step_7.npz")
    assert saved["stills.image"].shape == (2, 3, 16, 24)
    state = Trainer(load_recipe(recipe_file)).state
    load_checkpoint(state, tmp_path / "run/checkpoint.safetensors")
    assert state.step == 5
    assert all(torch.isfinite(value).all() for value in state.network.state_dict().values())


def test_a_gradient_that_is_not_finite_stops_with_the_very_batch_saved(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["loss.poison_gradient=3"])
    with pytest.raises(TrainingError, match=r"the gradient of step 3 is not finite \(loss \d.*step_3.npz"):
        train(recipe, tmp_path / "run", resume=False)
    saved = np.load(tmp_path / "run/not_finite_step_3.npz")
    (drawn,) = step_batches(create_sources(recipe), recipe.seed, 3, 4, workers=0)
    batch = Trainer(recipe).prepare(drawn)
    assert set(saved.files) == {f"stills.{key}" for key in batch["stills"]}
    for key, value in batch["stills"].items():
        np.testing.assert_array_equal(saved[f"stills.{key}"], value.numpy())


def test_a_used_folder_needs_resume_and_the_same_recipe(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["steps=2"])
    with pytest.raises(ConfigError, match="holds no run to resume"):
        train(recipe, tmp_path / "run", resume=True)
    train(recipe, tmp_path / "run", resume=False)
    with pytest.raises(ConfigError, match="already holds a run"):
        train(recipe, tmp_path / "run", resume=False)
    with pytest.raises(ConfigError, match="another seed; resume"):
        train(load_recipe(recipe_file, ["steps=2", "seed=1"]), tmp_path / "run", resume=True)


def test_damaged_checkpoints_are_reported(recipe_file, tmp_path):
    train(load_recipe(recipe_file, ["steps=1"]), tmp_path / "run", resume=False)
    path = tmp_path / "run/checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ConfigError, match="missing or damaged"):
        train(load_recipe(recipe_file, ["steps=1"]), tmp_path / "run", resume=True)


def test_dry_run_reports_and_writes_nothing(recipe_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    report = dry_run(load_recipe(recipe_file))
    assert "stills: 3 images" in report and "image (2, 3, 16, 24)" in report and "peak memory" in report
    assert sorted(tmp_path.rglob("*")) == before


def test_init_takes_the_weights_that_fit_and_says_which(recipe_file, tmp_path):
    path = train(load_recipe(recipe_file, ["steps=3"]), tmp_path / "run", resume=False)
    bundle = load_bundle(path)
    trainer = Trainer(load_recipe(recipe_file, [f"init={path}"]))
    assert "9 of 9 taken" in trainer.init_report
    for name, value in trainer.state.network.state_dict().items():
        assert torch.equal(value, bundle.weights[name].to(value.dtype)), name


def test_unknown_tasks_name_the_nearest(recipe_file):
    with pytest.raises(ConfigError, match="task 'toi' does not exist; did you mean 'toy'"):
        create_task("toi", load_recipe(recipe_file))


def test_bf16_keeps_weights_inputs_and_loss_in_float32(recipe_file):
    """Intrinsics, depth and poses have more digits than bfloat16: only what the task opens autocast for is computed in it."""
    trainer = Trainer(load_recipe(recipe_file, ["precision=bf16-mixed"]))
    image = torch.rand(2, 3, 16, 24)
    with trainer.task.autocast():
        assert trainer.task.network(image).dtype == torch.bfloat16
    K = torch.tensor([[240.3, 0.0, 207.7], [0.0, 239.9, 64.3], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    examples = {"image": image, "semantic": torch.zeros(2, 16, 24, dtype=torch.int64), "K": K}
    scalars = trainer.step({"stills": examples})
    assert torch.equal(trainer.task.seen["K"], K) and torch.equal(trainer.task.seen["image"], image)
    assert np.isfinite(scalars["loss"]) and scalars["train/lr"] == pytest.approx(0.01 / 3)
    assert {value.dtype for value in trainer.task.network.parameters()} == {torch.float32}


def test_pictures_travel_as_uint8_and_are_jittered_by_prepare(recipe_file):
    trainer = Trainer(load_recipe(recipe_file, ["augment.jitter=1"]))
    drawn = next(step_batches(trainer.sources, 7, 0, 1, workers=0))["stills"]
    assert (drawn["image"].dtype, drawn["semantic"].dtype) == (torch.uint8, torch.uint8)
    batch = trainer.prepare({"stills": drawn})["stills"]
    assert set(batch) == {"image", "image_clean", "semantic", "K"}
    assert torch.equal(batch["image_clean"], drawn["image"] / 255)
    assert (batch["image"] - batch["image_clean"]).abs().mean() > 0.01
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)


def test_schedule_values():
    cosine = ScheduleConfig(name="cosine", warmup=10, final=0.1)
    rates = [learning_rate(step, 111, 2.0, cosine) for step in (0, 4, 9, 10, 60, 110, 500)]
    assert rates == pytest.approx([0.2, 1.0, 2.0, 2.0, 2.0 * (0.1 + 0.9 * 0.5), 0.2, 0.2])
    poly = ScheduleConfig(name="poly", power=2.0, final=0.0)
    assert [learning_rate(step, 11, 1.0, poly) for step in (0, 5, 10)] == pytest.approx([1.0, 0.25, 0.0])
    steps = ScheduleConfig(name="step", warmup=2, at=(0.5, 0.75), factor=0.1)
    rates = [learning_rate(step, 20, 2.0, steps) for step in (0, 2, 9, 10, 14, 15, 19)]
    assert rates == pytest.approx([1.0, 2.0, 2.0, 0.2, 0.2, 0.02, 0.02])
    assert learning_rate(7, 10, 0.3, ScheduleConfig(name="constant")) == pytest.approx(0.3)
    assert learning_rate(0, 1, 0.3, ScheduleConfig()) == pytest.approx(0.3)


def test_moving_average_by_hand():
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, 0.25)
    for value in (2.0, 4.0):
        network.weight.data.fill_(value)
        network.running_mean.fill_(10 * value)
        network.num_batches_tracked += 1
        average.update(network)
    first = 1 + (1 - 2 / 11) * (2 - 1)  # past weighted (1 + 1)/(10 + 1), from the initial weight 1
    second = first + (1 - 0.25) * (4 - first)  # past weighted min(0.25, 3/12)
    assert average.values["weight"].item() == pytest.approx(second)
    mean = (1 - 2 / 11) * 20
    assert average.values["running_mean"].item() == pytest.approx(mean + 0.75 * (40 - mean))
    assert average.values["num_batches_tracked"].item() == 2
    with average.applied(network):
        assert network.weight.item() == pytest.approx(second)
    assert network.weight.item() == 4.0


def test_weight_decay_spares_norms_and_biases():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    network[1].bias.requires_grad_(False)
    groups = create_optimizer(network, OptimizerConfig(weight_decay=0.5)).param_groups
    assert [(len(group["params"]), group["weight_decay"]) for group in groups] == [(1, 0.5), (2, 0.0)]


def test_checkpoints_refuse_another_network(tmp_path):
    small, large = (
        TrainingState(network, create_optimizer(network, OptimizerConfig()), None)
        for network in (nn.Linear(2, 2), nn.Linear(3, 3))
    )
    save_checkpoint(small, tmp_path / "c.safetensors")
    with pytest.raises(ConfigError, match="of another network"):
        load_checkpoint(large, tmp_path / "c.safetensors")


def test_frozen_parts_keep_weights_and_statistics(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, ["freeze=['0', '1']", "ema=0"])
    trainer = Trainer(recipe)
    before = {name: value.clone() for name, value in trainer.state.network.state_dict().items()}
    train(recipe, tmp_path / "run", resume=False)
    after = load_bundle(tmp_path / "run/bundle.safetensors").weights
    changed = {name.split(".")[0] for name in before if not torch.allclose(before[name].float(), after[name].float(), atol=1e-3)}
    assert changed == {"4"}


def test_freezing_what_is_not_there_is_refused(recipe_file):
    with pytest.raises(ConfigError, match="freeze: 'encodr' is no part of the network"):
        Trainer(load_recipe(recipe_file, ["freeze=[encodr]"]))


def test_a_model_remembers_the_runs_it_started_from(recipe_file, tmp_path):
    first = train(load_recipe(recipe_file, ["name=first"]), tmp_path / "first", resume=False)
    second = train(load_recipe(recipe_file, ["name=second", f"init={first}", "steps=3"]), tmp_path / "second", resume=False)
    third = Trainer(load_recipe(recipe_file, ["name=third", f"init={second}"]))
    assert [(run["name"], run["steps"]) for run in third.provenance()["history"]] == [("first", 12), ("second", 3)]
