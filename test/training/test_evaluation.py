"""``geoseg evaluate``: what the command judges, prints and writes, and which scores pass."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import pytest
from rich.console import Console
from suite_data import camvid_folder, untrained_bundle

from geoseg_ros.bundle import load_bundle, save_bundle
from geoseg_ros.commands import evaluate
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.evaluation import report
from geoseg_ros.training.evaluation.suite import Score, SuiteResult


def test_score_verdicts():
    assert Score("a", 0.5, bar=0.5, higher=True).passed is True
    assert Score("a", 0.4, bar=0.5, higher=True).passed is False
    assert Score("a", 0.4, bar=0.5).passed is True
    assert Score("a", math.nan, bar=0.5).passed is False
    assert Score("a", 0.4).passed is None


def test_tables_and_record(tmp_path):
    results = {
        "good": SuiteResult(
            3, [Score("mIoU", 0.5, bar=0.4, higher=True, note="11 classes")], {"Car": 0.25}, "How."
        ),
        "bad [2]": SuiteResult(
            2, [Score("error", 12.34, "%", bar=10.0), Score("nothing", math.nan)], {"Car": math.nan}
        ),
    }
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    report.print_results(console, "model [x]", results)
    text = console.export_text()
    for expected in (
        "model [x]",
        "good, 3 frames",
        "bad [2], 2 frames",
        "≥ 0.400",
        "pass",
        "12.3 %",
        "≤ 10.0 %",
        "fail",
        "0.250",
        "–",
    ):
        assert expected in text
    assert not report.bars_met(results)
    assert report.bars_met({"good": results["good"]})

    path = tmp_path / "scores.json"
    report.write_json(
        report.record(results, {"gone": "absent"}, Path("m"), {"metric": True}), path
    )
    content = json.loads(path.read_text())
    assert content["suites"]["bad [2]"]["scores"][1]["value"] is None
    assert content["suites"]["good"]["per_class_iou"] == {"Car": 0.25}
    assert content["suites"]["good"]["protocol"] == "How."
    assert content["skipped"] == {"gone": "absent"}
    assert int(content["machine"]["cores"]) >= 1
    assert {"date", "command", "git_commit", "model_provenance"} <= set(content)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="cannot be written"):
        report.write_json(content, tmp_path / "no" / "scores.json")


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args(list(arguments)))


def test_the_command_judges_what_is_there_and_names_what_is_not(tmp_path, capsys):
    camvid_folder(tmp_path, 2)
    model, scores = tmp_path / "model.safetensors", tmp_path / "scores.json"
    save_bundle(untrained_bundle(), model)
    arguments = [
        str(model),
        "--data",
        str(tmp_path),
        "--suite",
        "camvid",
        "--suite",
        "davis",
        "--json",
        str(scores),
    ]
    code = command(*arguments, "--device", "cpu", "--save-scores")
    text = capsys.readouterr().out
    content = json.loads(scores.read_text())
    value = content["suites"]["camvid"]["scores"][0]["value"]
    assert code == (0 if value >= 0.45 else 1)
    assert f"{value:.3f}" in text
    assert "davis skipped:" in text
    saved = load_bundle(model)
    assert saved.scores["camvid"] == {score["name"]: score["value"] for score in content["suites"]["camvid"]["scores"]}
    assert saved.weights.keys() == untrained_bundle().weights.keys()
    assert content["skipped"] == {"davis": f"{tmp_path / 'davis_moving_objects'} is absent"}


def test_the_command_refuses_nonsense_with_a_sentence(tmp_path):
    model = tmp_path / "model.safetensors"
    save_bundle(untrained_bundle(), model)
    with pytest.raises(ConfigError, match="suite is 'kitti', expected one of synthetic, camvid"):
        command(str(model), "--suite", "kitti")
    with pytest.raises(ConfigError, match="frames is 2, expected at least 5"):
        command(str(model), "--frames", "2")
    with pytest.raises(ConfigError, match="no suite could run: .*camvid is absent"):
        command(str(model), "--data", str(tmp_path), "--suite", "camvid")
    with pytest.raises(ConfigError, match="the report's folder .* does not exist"):
        command(str(model), "--json", str(tmp_path / "no" / "scores.json"))
