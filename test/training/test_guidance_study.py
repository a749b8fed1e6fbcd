"""The study of geometry guidance: which runs it asks for, how it chooses weights, what its tables say."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest

from geoseg_ros.errors import TrainingError
from geoseg_ros.training.config import load_recipe
from geoseg_ros.training.studies import geometry_guidance as guidance
from geoseg_ros.training.studies import runs
from geoseg_ros.training.studies.runs import Run, train_all

BONUS = {"baseline": 0.0, "per_class": 0.01, "holistic": 0.02, "chen": 0.0, "klingner": -0.05}


@pytest.fixture
def asked(monkeypatch):
    """Runs are noted and not trained; L_h is worth 0.02 beyond the baseline, every weight but 1 costs 0.1, seed 2 loses."""
    noted: list[Run] = []

    def train(wanted, processes, jobs):
        noted.extend(wanted)
        for run in wanted:
            yield run.folder / "bundle.safetensors"

    def judge(model, suites, data, frames, folder):
        name, _, rest = model.parent.name.rpartition("_")
        value = 0.4 + BONUS.get(name, -0.01)
        if rest.startswith("weight"):
            value -= 0.1 * (float(rest.removeprefix("weight")) != 1)
        elif rest == "seed2":
            value += 0.03 * (name == "baseline")
        return {"camvid": {"mIoU": value, "pixel accuracy": 0.8, "temporal consistency": None}}

    monkeypatch.setattr(guidance, "train_all", train)
    monkeypatch.setattr(guidance, "judge", judge)
    monkeypatch.setattr(guidance, "cost", lambda model: (6.2, 13.4))
    return noted


def test_the_table_is_that_of_the_seed(asked, tmp_path, capsys):
    assert guidance.main(["--out", str(tmp_path / "study"), "--data", str(tmp_path), "--jobs", "2"]) == 0
    text = capsys.readouterr().out
    assert "| baseline | 0.410 ± 0.017 | 0.800 ± 0.000 | – | 6.2 | 13.40 |" in text
    assert "| L_h, pretrained depth | 0.420 ± 0.000 |" in text
    assert "| baseline | +0.010 ± 0.017 | 2 of 3 |" in text and "| Klingner | +0.070 ± 0.000 | 3 of 3 |" in text
    assert "| L_h, pretrained depth | 0.320 | 0.320 | 0.420 | 0.320 |" in text, "the sweep"
    assert "baseline 39.557" in text
    record = json.loads((tmp_path / "study/small/table.json").read_text())["encoders"]["lite"]
    assert record["weights"] == {name: 1.0 for name, method in guidance.METHODS.items() if method.swept}
    assert record["milliseconds"]["klingner"] == 6.2 and record["million_parameters"]["klingner"] == 13.4
    assert record["scores"]["baseline"][2]["mIoU"] == pytest.approx(0.43) and record["steps"] == 250


def test_the_sweep_comes_first_and_every_recipe_takes_its_settings(asked, tmp_path):
    arguments = ["--out", str(tmp_path / "study"), "--data", str(tmp_path), "--seeds", "2", "--steps", "10"]
    assert guidance.main([*arguments, "--set", "data.camvid.batch=3"]) == 0
    swept = [run for run in asked if "_weight" in run.folder.name]
    assert asked[: len(swept)] == swept and len(swept) == 5 * 4 and len(asked) == len(swept) + 7 * 2
    assert len({run.folder for run in asked}) == len(asked)
    recipes = {run.folder.name: load_recipe(run.recipe, run.overrides) for run in asked}
    for name, recipe in recipes.items():
        assert recipe.data["camvid"]["path"] == "camvid/train" and recipe.data["camvid"]["batch"] == 3
        assert recipe.crop == (192, 128) and recipe.network["encoder"] == "lite"
        assert recipe.steps == (5 if "_weight" in name else 10)
        assert recipe.seed == (guidance.SWEEP_SEED if "_weight" in name else int(name[-1]))
        if recipe.task == "multitask":
            assert recipe.data["kitti00"]["frames"] == [0, 800] and recipe.loss["scales"] == 2
        else:
            assert recipe.data.keys() == {"camvid"}
    assert recipes["holistic_weight0.01"].loss["guidance"] == {
        "model": "default", "form": "holistic", "weight": 0.01, "start": 0, "ramp": 0
    }  # fmt: skip
    forms = {name: recipes[f"{name}_seed0"].loss["guidance"]["form"] for name in ("per_class", "holistic", "chen")}
    assert forms == {"per_class": "per_class", "holistic": "holistic", "chen": "shared_class"}
    assert recipes["novosel_seed0"].loss["colour"] == recipes["novosel_seed0"].loss["depth"] == 1.0
    assert recipes["klingner_seed1"].loss["encoder_share"] == 0.9 and recipes["klingner_seed1"].task == "multitask"
    assert recipes["chen_multitask_seed0"].loss["shared_class"] == 1.0 and "guidance" not in recipes["baseline_seed0"].loss


def test_the_full_protocol_is_for_two_encoders(asked, tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "study"), "--data", str(tmp_path), "--protocol", "full", "--seeds", "1"]
    assert guidance.main([*arguments, "--methods", "baseline", "klingner"]) == 0
    recipes = [load_recipe(run.recipe, run.overrides) for run in asked]
    assert [recipe.network["encoder"] for recipe in recipes] == ["resnet18"] * 2 + ["resnet50"] * 2
    assert {(recipe.crop, *recipe.network["input_size"]) for recipe in recipes} == {((384, 256), 480, 352)}
    assert [recipe.data.get("kitti00", {}).get("batch") for recipe in recipes[:2]] == [None, 8]
    text = capsys.readouterr().out
    assert text.count("| Klingner") == 2 and "beyond" not in text, "without L_h nothing is compared with it"


@pytest.mark.parametrize(("scores", "weight"), [({0.1: 0.3, 1.0: 0.4}, 1.0), ({1.0: 0.4, 0.1: 0.4, 10.0: math.nan}, 0.1)])
def test_the_best_weight_is_kept(scores, weight):
    assert guidance.best(scores) == weight


def test_values_that_mean_nothing_are_named(tmp_path, capsys):
    for option in ("jobs", "steps"):
        assert guidance.main(["--out", str(tmp_path / "study"), "--data", str(tmp_path), f"--{option}", "0"]) == 1
        assert f"{option} is 0, expected at least" in capsys.readouterr().err


def test_runs_train_side_by_side_and_arrive_in_order(tmp_path, monkeypatch):
    together, most, lock, later_ended = [], [], threading.Lock(), threading.Event()

    def train(recipe, overrides, folder, processes, jobs):
        with lock:
            together.append(folder)
            most.append(len(together))
        if folder.name == "0":
            assert later_ended.wait(60), "the second run must train beside the first"
        with lock:
            together.remove(folder)
        if folder.name == "1":
            later_ended.set()
        return folder / "bundle.safetensors"

    monkeypatch.setattr(runs, "train_to_end", train)
    wanted = [Run("r", (), Path(str(i))) for i in range(5)]
    assert [model.parent.name for model in train_all(wanted, 1, 2)] == list("01234")
    assert max(most) == 2


def test_after_a_failure_no_further_run_starts(monkeypatch):
    started = []

    def train(recipe, overrides, folder, processes, jobs):
        started.append(folder.name)
        raise TrainingError("out of luck")

    monkeypatch.setattr(runs, "train_to_end", train)
    with pytest.raises(TrainingError, match="out of luck"):
        for _ in train_all([Run("r", (), Path(str(i))) for i in range(50)], 1, 1):
            pass
    assert len(started) < 50
