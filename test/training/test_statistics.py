"""Statistics of batch normalisation: measured over many batches, kept while the weights learn, the same after a resume."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from test_trainer import assert_same_run
from toy_task import RECIPE, write_stills
from torch import nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import load_recipe
from geoseg_ros.training.statistics import measure_statistics
from geoseg_ros.training.trainer import Trainer, train


@pytest.fixture
def recipe_file(tmp_path, monkeypatch):
    write_stills(tmp_path)
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    path = tmp_path / "toy.yaml"
    path.write_text(RECIPE + "statistics_batches: 4\n")
    return str(path)


def test_statistics_are_the_means_over_all_batches():
    norm = nn.BatchNorm2d(1)
    batches = [torch.tensor([0.0, 2.0]).view(2, 1, 1, 1), torch.tensor([10.0, 16.0]).view(2, 1, 1, 1)]
    measure_statistics(norm, norm, batches)
    assert norm.running_mean.item() == pytest.approx((1 + 13) / 2)
    assert norm.running_var.item() == pytest.approx((2 + 18) / 2)  # unbiased, of each batch
    assert norm.momentum == 0.1


def test_what_is_not_in_training_mode_is_left_alone():
    frozen, learning = nn.BatchNorm2d(1).eval(), nn.BatchNorm2d(1)
    network = nn.Sequential(frozen, learning)
    measure_statistics(network, network, [torch.tensor([4.0, 6.0]).view(2, 1, 1, 1)])
    assert frozen.running_mean.item() == 0 and learning.running_mean.item() == pytest.approx(5, abs=1e-4)


def test_what_the_batches_never_reach_keeps_its_statistics():
    """As the heads of the shipped model that a task leaves idle: in training mode at first, put out of it by the task."""
    reached, idle = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    idle.running_mean.fill_(3.0)
    idle.running_var.fill_(7.0)
    measure_statistics(nn.Sequential(reached, idle), reached, [torch.tensor([4.0, 6.0]).view(2, 1, 1, 1)])
    assert reached.running_mean.item() == pytest.approx(5)
    assert (idle.running_mean.item(), idle.running_var.item(), idle.momentum) == (3.0, 7.0, 0.1)


def test_a_run_keeps_the_statistics_that_it_measured_first(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file)
    fresh = Trainer(recipe)
    before = {name: value.clone() for name, value in fresh.state.network.state_dict().items()}
    fresh.measure_statistics()
    measured = fresh.state.network.state_dict()
    assert not torch.equal(measured["1.running_mean"], before["1.running_mean"])
    assert all(torch.equal(measured[name], before[name]) for name in ("0.weight", "1.weight", "4.bias"))
    train(recipe, tmp_path / "run", resume=False)
    end = load_file(tmp_path / "run" / "checkpoint.safetensors")
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(end[f"network.{name}"], measured[name])
        torch.testing.assert_close(end[f"average.{name}"], measured[name])
    assert not torch.equal(end["network.1.weight"], measured["1.weight"])


@pytest.mark.parametrize(("share", "step"), [(0.0, 0), (0.5, 6), (0.67, 8), (0.9, 10)])
def test_a_run_resumed_before_at_or_after_the_measurement_ends_alike(recipe_file, tmp_path, share, step):
    """Of 12 steps, stopped after 8: measured before the first, after 6, at once after the resume, later."""
    overrides = [f"statistics_from={share}"]
    assert load_recipe(recipe_file, overrides).statistics_step == step
    with pytest.raises(KeyboardInterrupt):
        train(load_recipe(recipe_file, [*overrides, "loss.stop=[7, SIGINT]"]), tmp_path / "stopped", resume=False)
    config = tmp_path / "stopped/config.yaml"
    config.write_text(config.read_text().replace("loss:\n  stop:\n  - 7\n  - SIGINT\n", "loss: {}\n"))
    train(load_recipe(recipe_file, overrides), tmp_path / "stopped", resume=True)
    train(load_recipe(recipe_file, overrides), tmp_path / "whole", resume=False)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_statistics_move_until_they_are_measured(recipe_file):
    trainer = Trainer(load_recipe(recipe_file, ["statistics_from=0.5"]))
    norm = trainer.state.network[1]
    assert norm.training
    trainer.state.step = 6
    trainer.measure_statistics()
    assert trainer.state.network.training and not norm.training


def test_a_negative_number_of_batches_is_refused(recipe_file):
    with pytest.raises(ConfigError, match="statistics_batches is -1, expected 0 or more"):
        load_recipe(recipe_file, ["statistics_batches=-1"])


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_measurement_outside_the_run_is_refused(recipe_file, share):
    with pytest.raises(ConfigError, match=rf"statistics_from is {share}, expected a share of the run"):
        load_recipe(recipe_file, [f"statistics_from={share}"])


def test_a_run_can_keep_the_statistics_that_it_starts_with(recipe_file, tmp_path):
    """As adapting does: nothing is measured, what learns is the weights."""
    first = train(load_recipe(recipe_file), tmp_path / "first", resume=False)
    overrides = ["statistics_batches=0", "keep_statistics=true", f"init={first}"]
    trainer = Trainer(load_recipe(recipe_file, overrides))
    start = {name: value.clone() for name, value in trainer.state.network.state_dict().items()}
    assert not trainer.state.network[1].training
    train(load_recipe(recipe_file, overrides), tmp_path / "second", resume=False)
    end = load_file(tmp_path / "second" / "checkpoint.safetensors")
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(end[f"network.{name}"], start[name]) and start[name].any()
    assert not torch.equal(end["network.1.weight"], start["1.weight"])


@pytest.mark.parametrize("overrides", [["statistics_batches=0"], ["init=first.safetensors"]])
def test_statistics_of_nothing_or_measured_ones_cannot_be_kept(recipe_file, overrides):
    with pytest.raises(ConfigError, match="keep_statistics keeps those of init; expected a model file there"):
        load_recipe(recipe_file, ["keep_statistics=true", *overrides])
