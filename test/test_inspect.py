"""``geoseg inspect``: the table, the JSON, and what a terminal must not see."""

from __future__ import annotations

import argparse
import json

import pytest
import torch

from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.commands import inspect
from geoseg_ros.errors import BundleError
from geoseg_ros.labels import CAMVID_11


def inspected(capsys, *arguments) -> str:
    parser = argparse.ArgumentParser()
    inspect.add_arguments(parser)
    assert inspect.run(parser.parse_args([str(argument) for argument in arguments])) == 0
    return capsys.readouterr().out


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    bundle = Bundle(
        architecture="perception",
        config={"encoder": "lite"},
        labels=CAMVID_11,
        input_size=(640, 192),
        camera=PinholeCamera(640, 192, 400, 401, 320, 96, (-0.25, 0.0, 0.0, 0.0)),
        provenance={"data": ["synthetic", "camvid"], "note": "\x1b[2Jred [bold]text[/nothing]"},
        scores={"camvid_val": {"mIoU": 0.51234}},
        licence="Apache-2.0",
        weights={"a.weight": torch.ones(250, 10), "a.running_mean": torch.zeros(10)},
    )
    save_bundle(bundle, path)
    return path


def test_table(model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = inspected(capsys, model)
    for part in (
        *("perception", "2,500 in 2 tensors", "0.01 MB", "640 x 192 pixels", "fx 400.00", "plumb_bob [-0.25"),
        *("synthetic, camvid", "scores.camvid_val.mIoU", "0.5123", "Apache-2.0", "Bicyclist", "0 128 192"),
    ):
        assert part in text
    assert "\x1b[2J" not in text
    assert "red [bold]text[/nothing]" in text


def test_json(model, capsys):
    data = json.loads(inspected(capsys, model, "--json"))
    assert data["parameters"] == 2500
    assert data["bytes"] == model.stat().st_size
    assert data["camera"]["fx"] == 400
    assert data["labels"]["dynamic"] == ["Car", "Pedestrian", "Bicyclist"]
    assert data["scores"] == {"camvid_val": {"mIoU": 0.51234}}


def test_broken_file(tmp_path, capsys):
    with pytest.raises(BundleError, match="does not exist"):
        inspected(capsys, tmp_path / "no.safetensors")
