"""The benchmark of segmentation networks: ratios by hand, a toy checkout in the public one's place, a small run."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
PUBLIC = """
import torch
import torchvision
from torch import nn
from .backbone import Backbone

class BiSeNetV1(nn.Module):
    def __init__(self, n_classes, aux_mode="train"):
        super().__init__()
        assert (n_classes, aux_mode) == (11, "eval")
        self.backbone = Backbone()
        self.conv = nn.Conv2d(3, n_classes, 3, padding=1)

    def forward(self, x):
        return self.conv(self.backbone(x)),
"""
BACKBONE = """
import torch.utils.model_zoo as modelzoo
from torch import nn

class Backbone(nn.Identity):
    def __init__(self):
        super().__init__()
        assert modelzoo.load_url("https://example.invalid/weights.pth") == {}
"""


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("segmenters")
    for name in ("segmenters", "public_bisenet"):
        del sys.modules[name]


def test_ratios_compare_medians_of_the_same_way(benchmark):
    times = {
        (benchmark.PUBLIC, "eager"): [0.2, 0.4, 9.0],
        ("ours", "eager"): [0.1, 0.2, 0.1],
        ("ours", "traced"): [0.1],
    }
    assert benchmark.faster_than_public(times, "ours", "eager") == pytest.approx(4.0)
    assert benchmark.faster_than_public(times, "ours", "traced") is None
    assert benchmark.faster_than_public(times, benchmark.PUBLIC, "eager") == 1.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--public", "/nowhere"], "/nowhere, expected a checkout with lib/models/bisenetv1.py"),
        (["--frames", "0"], "--frames is 0, expected at least 1"),
        (["--json", "/nowhere/x.json"], "the folder of /nowhere/x.json does not exist"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(benchmark, arguments, message):
    with pytest.raises(SystemExit, match=message):
        benchmark.main(arguments)


def test_sizes_are_multiples_of_32(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--size", "100x64"])
    assert "'100x64' is no size, expected WIDTHxHEIGHT in multiples of 32" in capsys.readouterr().err


def test_a_small_run_times_ours_and_the_public_one(benchmark, tmp_path, capsys):
    folder = tmp_path / "public" / "lib" / "models"
    folder.mkdir(parents=True)
    (folder / "bisenetv1.py").write_text(PUBLIC)
    (folder / "backbone.py").write_text(BACKBONE)
    words = ["--public", str(tmp_path / "public"), "--network", "BiSeNet, lite", "--network", "perception, its semantics alone"]
    words += ["--size", "64x32", "--frames", "2", "--rounds", "2", "--warm-up", "1", "--json", str(tmp_path / "results.json")]
    assert benchmark.main(words) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    rows = {(row["network"], row["way"]): row for row in content["sizes"]["64x32"]}
    assert set(rows) == {
        (benchmark.PUBLIC, "eager"), (benchmark.PUBLIC, "traced"), ("BiSeNet, lite", "eager"), ("BiSeNet, lite", "traced"),
        ("perception, its semantics alone", "eager"),
    }
    assert all(len(row["seconds"]) == 4 and min(row["seconds"]) > 0 for row in rows.values())
    assert content["parameters"][benchmark.PUBLIC] == 3 * 11 * 9 + 11
    assert not any(name.split(".")[0] in ("lib", "torchvision") for name in sys.modules), "the checkout leaves nothing behind"
    printed = capsys.readouterr().out
    assert "64×32" in printed and "processor:" in printed and benchmark.PUBLIC in printed
