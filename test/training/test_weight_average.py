"""The mean of models' weights: values, what stays the first model's, what the header tells, and models that do not fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geoseg_ros import cli
from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.commands.average import parse_model
from geoseg_ros.errors import BundleError, ConfigError
from geoseg_ros.labels import CAMVID_11, IDD_7
from geoseg_ros.training.weight_average import average_models

RUNS = ({"name": "start", "steps": 5, "git_commit": "a"}, {"name": "left", "steps": 7, "git_commit": "b"})


def model(value: float, provenance: dict) -> Bundle:
    weights = {
        "head.weight": torch.full((2, 3), value),
        "head.norm.running_var": torch.tensor([value, 1.0]),
        "head.norm.num_batches_tracked": torch.tensor(int(value)),
    }
    return Bundle("toy", {"width": 3}, CAMVID_11, (32, 16), provenance=provenance, scores={"a": 1.0}, licence="L", weights=weights)


@pytest.fixture
def files(tmp_path):
    start, left = RUNS
    first = {"recipe": {"name": "left"}, "steps": 7, "git_commit": "b", "history": [start], "data": {"streets": 1}}
    second = {"recipe": {"name": "start"}, "steps": 5, "git_commit": "a", "data": {"rooms": 2}}
    paths = tmp_path / "left.safetensors", tmp_path / "start.safetensors"
    save_bundle(model(4.0, first), paths[0])
    save_bundle(model(8.0, second), paths[1])
    return paths


def test_floats_are_averaged_and_the_rest_is_the_first_models(files):
    mean = average_models({files[0]: 3.0, files[1]: 1.0})
    assert torch.equal(mean.weights["head.weight"], torch.full((2, 3), 5.0))
    assert torch.equal(mean.weights["head.norm.running_var"], torch.tensor([5.0, 1.0]))
    assert mean.weights["head.norm.num_batches_tracked"] == 4
    assert (mean.architecture, mean.config, mean.input_size, mean.licence) == ("toy", {"width": 3}, (32, 16), "L")
    assert mean.scores == {}


def test_the_header_tells_the_parts_and_every_run_once(files):
    provenance = average_models({files[0]: 3.0, files[1]: 1.0}).provenance
    assert provenance["history"] == list(RUNS)
    assert provenance["data"] == {"streets": 1, "rooms": 2}
    assert provenance["parts"] == [
        {"share": 0.75, "file": "left.safetensors", "runs": list(RUNS)},
        {"share": 0.25, "file": "start.safetensors", "runs": [RUNS[0]]},
    ]


@pytest.mark.parametrize("others", [True, False])
def test_a_mean_is_metric_where_all_its_parts_are(tmp_path, others):
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path, metric in zip(paths, (True, others), strict=True):
        save_bundle(model(1.0, {"metric": metric}), path)
    assert average_models(dict.fromkeys(paths, 1.0)).provenance.get("metric", False) == others


def test_the_command_writes_a_model_file(files, tmp_path, capsys):
    out = tmp_path / "mean.safetensors"
    assert cli.main(["average", f"{files[0]}=1", str(files[1]), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert torch.equal(load_bundle(out).weights["head.weight"], torch.full((2, 3), 6.0))


@pytest.mark.parametrize(
    ("text", "path", "share"),
    [("a=0.5", "a", 0.5), ("a", "a", 1.0), ("a=b=2", "a=b", 2.0), ("a=b", "a=b", 1.0), ("runs/a=1/m", "runs/a=1/m", 1.0)],
)
def test_a_share_follows_the_last_equals_sign(text, path, share):
    found, number = parse_model(text)
    assert (str(found), number) == (path, share)


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_shares_are_numbers_above_0(files, share):
    with pytest.raises(ConfigError, match=r"the share of .*left.safetensors is .*, expected a number above 0"):
        average_models({files[0]: share, files[1]: 1.0})


def test_one_file_has_no_mean(files, tmp_path, capsys):
    with pytest.raises(ConfigError, match="at least two different model files, found 1"):
        average_models({files[0]: 1.0})
    assert cli.main(["average", str(files[0]), str(files[0]), "--out", str(tmp_path / "mean")]) == 2
    assert "is given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "other"}, "start.safetensors and .*left.safetensors differ in their architecture"),
        ({"config": {"width": 4}}, "differ in their config"),
        ({"labels": IDD_7}, "differ in their labels"),
        ({"weights": {"head.weight": torch.zeros(2, 4)}}, "head.norm.num_batches_tracked is missing in one or of another shape"),
    ],
)
def test_models_that_differ_are_refused(files, change, message):
    save_bundle(replace(load_bundle(files[1]), **change), files[1])
    with pytest.raises(BundleError, match=message):
        average_models({files[0]: 1.0, files[1]: 1.0})
