"""The benchmark of guidance: the same recipe with and without it, the share from the medians, what cannot be measured."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest

from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.training.trainer import Trainer

RECIPE = """
task: segmentation
steps: 5
crop: [64, 32]
network: {name: linknet, encoder: lite}
loss: {labels: camvid_11, guidance: {model: guide.safetensors, form: holistic, ramp: 100, cache: cache}}
data: {yard: {kind: labelled_folder, path: yard, labels: camvid_11, batch: 2}}
schedule: {warmup: 1}
"""


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "benchmarks"))
    yield importlib.import_module("guidance")
    del sys.modules["guidance"]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    network = create_network("perception", {"encoder": "lite"})
    guide = Bundle("perception", asdict(network.config), CAMVID_11, (64, 32), weights=network.state_dict())
    save_bundle(guide, tmp_path / "guide.safetensors")
    for name in ("images", "labels"):
        (tmp_path / "yard" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "yard" / name / "0.png"), np.full((32, 64), 3, np.uint8))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return str(tmp_path / "recipe.yaml")


def test_the_share_is_that_of_the_medians_of_two_runs_that_differ_in_guidance(benchmark, recipe, monkeypatch, capsys):
    guided = []
    step = Trainer.step

    def spied(self, batch):
        guided.append("guidance" in batch["yard"])
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", spied)
    assert benchmark.main(["--recipe", recipe, "--steps", "3", "--json", "result.json"]) == 0
    told = json.loads(Path("result.json").read_text())
    assert guided == [True, False] * (benchmark.WARM_UP + 3), "step by step in turns"
    assert [len(values) for values in told["seconds"].values()] == [3, 3]
    assert told["share"] == pytest.approx(median(told["seconds"]["guided"]) / median(told["seconds"]["plain"]) - 1)
    assert f"{told['share']:+.1%}" in capsys.readouterr().out


def test_nothing_to_measure_is_said(benchmark):
    with pytest.raises(SystemExit, match="--steps is 0, expected at least 1"):
        benchmark.main(["--steps", "0"])
