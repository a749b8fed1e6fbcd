"""Weights to start from: torchvision's state dicts as .pth and .safetensors, model files, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.errors import BundleError, ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.networks.encoder import create_encoder
from geoseg_ros.training.pretrained import initialise, load_pretrained


@pytest.fixture(scope="module")
def imagenet():
    """What torchvision's ResNet-18 saves: the encoder's names, and a classifier's."""
    torch.manual_seed(0)
    weights = create_encoder("resnet18").state_dict()
    return {**weights, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_an_encoder_starts_from_a_torchvision_file(imagenet, tmp_path, suffix):
    path = tmp_path / f"resnet18{suffix}"
    save_file(imagenet, path) if suffix == ".safetensors" else torch.save(imagenet, path)
    network = create_network("bisenet")
    report, history = initialise(network, SimpleNamespace(init=str(path), data_root=""))
    for name, value in network.encoder.state_dict().items():
        torch.testing.assert_close(value, imagenet[name])
    assert f"{len(imagenet) - 2} of {len(network.state_dict())} taken" in report
    assert "; 2 not used (encoder.fc." in report
    assert history == [{"name": path.name, "steps": None, "git_commit": None}]


def test_half_precision_is_read_as_single(tmp_path):
    torch.save({"conv1.weight": torch.ones(2, dtype=torch.float16), "count": torch.tensor(3)}, tmp_path / "half.pth")
    weights, _ = load_pretrained(tmp_path / "half.pth")
    assert weights["encoder.conv1.weight"].dtype == torch.float32 and weights["encoder.count"].dtype == torch.int64


def test_a_model_file_keeps_its_names(tmp_path):
    weights = {"encoder.a": torch.ones(3)}
    save_bundle(Bundle("fpn", {}, CAMVID_11, (64, 64), provenance={"steps": 5}, weights=weights), tmp_path / "m.safetensors")
    found, provenance = load_pretrained(tmp_path / "m.safetensors")
    assert found.keys() == weights.keys() and provenance == {"steps": 5}


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    "content, message",
    [
        (Harmful(), "is no file of weights alone"),
        ([torch.ones(2)], "holds a list, expected a state dict"),
        ({"model": {"conv1.weight": torch.ones(2)}}, "holds a dict, expected a state dict"),
    ],
)
def test_other_pickles_are_refused(tmp_path, capsys, content, message):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=message):
        load_pretrained(tmp_path / "other.pth")
    assert "executed" not in capsys.readouterr().out


def test_damaged_files_are_refused(tmp_path):
    for name, error in (("damaged.pth", ConfigError), ("damaged.safetensors", BundleError)):
        (tmp_path / name).write_text("no weights at all")
        with pytest.raises(error, match=name):
            load_pretrained(tmp_path / name)
