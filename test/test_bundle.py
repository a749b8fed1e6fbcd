"""The model file: round trips, and a BundleError for everything that is not a sound one."""

from __future__ import annotations

import json
import os
import pickle
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from geoseg_ros import bundle as bundle_module
from geoseg_ros.bundle import Bundle, load_bundle, parameter_count, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BundleError
from geoseg_ros.labels import CAMVID_11


def example(**changes) -> Bundle:
    generator = torch.Generator().manual_seed(3)
    weights = {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "norm.weight": torch.randn(4, generator=generator),
        "norm.running_var": torch.tensor([1e-9, 1e6, 1.0, 2.0]),
        "norm.num_batches_tracked": torch.tensor(17),
    }
    camera = PinholeCamera(640, 192, 500.0, 500.5, 320.0, 96.0, (0.1, 0.0, 0.0, 0.0), frame_id="front")
    fields = {
        "architecture": "perception",
        "config": {"encoder": "lite", "levels": [1, 2]},
        "labels": CAMVID_11,
        "input_size": (640, 192),
        "camera": camera,
        "provenance": {"data": ["synthetic"], "commit": "abc"},
        "scores": {"mIoU": 0.6},
        "licence": "Apache-2.0",
        "weights": weights,
    }
    return Bundle(**(fields | changes))


HEADER = bundle_module._header(example())


def write(path, header, weights=None) -> None:
    """A model file with any header text, valid or not."""
    text = header if isinstance(header, str) else json.dumps(header)
    path.write_bytes(save(weights or {"w": torch.ones(2, 2)}, metadata={"geoseg": text}))


def refused(path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert "\n" not in message and path.name in message
    return message


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "model.safetensors"
    save_bundle(example(), path)
    saved, loaded = example(), load_bundle(path)
    for name in (
        "architecture",
        "config",
        "labels",
        "input_size",
        "camera",
        "provenance",
        "scores",
        "licence",
    ):
        assert getattr(loaded, name) == getattr(saved, name)
    assert loaded.weights.keys() == saved.weights.keys()
    torch.testing.assert_close(loaded.weights["conv.weight"], saved.weights["conv.weight"].half().float())
    for name in ("norm.weight", "norm.running_var", "norm.num_batches_tracked"):
        assert torch.equal(loaded.weights[name], saved.weights[name]), "vectors keep float32, integers stay"
    assert loaded.weights["conv.weight"].dtype == torch.float32
    assert parameter_count(loaded) == 4 * 27 + 4
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]


def test_round_trip_without_camera_and_in_float32(tmp_path):
    path = tmp_path / "model.safetensors"
    save_bundle(example(camera=None), path, dtype=torch.float32)
    loaded = load_bundle(path)
    assert loaded.camera is None
    assert torch.equal(loaded.weights["conv.weight"], example().weights["conv.weight"])


def test_values_beyond_half_precision_and_shared_weights_survive(tmp_path):
    path = tmp_path / "model.safetensors"
    large = torch.tensor([[1e5, 1.0], [2.0, 3.0]])
    save_bundle(example(weights={"large": large, "tied": large, "turned": large.T}), path)
    weights = load_bundle(path).weights
    assert torch.equal(weights["large"], large) and torch.equal(weights["tied"], large)
    assert torch.equal(weights["turned"], large.T)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"weights": {}}, "holds no weights"),
        ({"weights": {"w": torch.tensor([float("nan")])}}, "weight 'w' holds values that are not finite"),
        ({"weights": {"w": torch.tensor([1 + 2j])}}, "weight 'w' has type torch.complex64"),
        ({"config": {"size": {1, 2}}}, "not JSON"),
        ({"scores": {"mIoU": float("nan")}}, "not JSON"),
        ({"input_size": (640, 0)}, "input_size"),
        ({"architecture": None}, "name is a NoneType"),
    ],
)
def test_unsound_bundles_are_not_written(tmp_path, changes, sentence):
    path = tmp_path / "model.safetensors"
    save_bundle(example(), path)
    before = path.read_bytes()
    with pytest.raises(BundleError, match=sentence):
        save_bundle(example(**changes), path)
    assert path.read_bytes() == before


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_bundle(example(), path)
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BundleError, match="cannot be written: .*No space left"):
        save_bundle(example(licence="other"), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_missing_directory_and_special_files(tmp_path):
    assert "does not exist" in refused(tmp_path / "no.safetensors")
    assert "is a directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refused(tmp_path / "pipe")


def test_other_files(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    assert "0 bytes" in refused(path)
    path.write_bytes(pickle.dumps({"state": [1, 2, 3]}))
    refused(path)
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    assert "claims 1099511627776 bytes" in refused(path)
    path.write_bytes((2).to_bytes(8, "little") + b"[]")
    assert "JSON list" in refused(path)
    path.write_bytes(save({"w": torch.ones(2)}))
    assert "no 'geoseg' entry" in refused(path)


@pytest.mark.parametrize(
    "header, sentence",
    [
        ("not json", "not valid JSON"),
        ("[]", "JSON list"),
        ("[" * 100000, "not valid JSON"),
        ('{"format": NaN}', "NaN is not a JSON number"),
        (HEADER | {"format": 2}, "written by a newer version"),
        (HEADER | {"format": "1"}, "format number '1'"),
        (HEADER | {"format": True}, "format number True"),
        ({name: value for name, value in HEADER.items() if name != "labels"}, "labels is missing"),
        (HEADER | {"architecture": "perception"}, "architecture is a str"),
        (HEADER | {"architecture": {"name": 7, "config": {}}}, "name is a int"),
        (HEADER | {"architecture": {"name": "perception"}}, "config is missing"),
        (HEADER | {"input_size": [640]}, "input_size"),
        (HEADER | {"input_size": [640, 192.0]}, "input_size"),
        (HEADER | {"input_size": [640, 10**9]}, "input_size"),
        (HEADER | {"camera": [1]}, "camera is a list"),
        (HEADER | {"camera": HEADER["camera"] | {"fx": "500"}}, "camera fx is '500'"),
        (
            HEADER | {"labels": HEADER["labels"] | {"palette": [[0, 0, 0]]}},
            "1 colours, expected one for each of 11",
        ),
        (HEADER | {"labels": HEADER["labels"] | {"dynamic": ["Dragon"]}}, "'Dragon' dynamic"),
        (HEADER | {"provenance": None}, "provenance is a NoneType"),
        (HEADER | {"licence": 1}, "licence is a int"),
        (json.dumps(HEADER).replace("0.6", "1e999"), "infinite number"),
        (json.dumps(HEADER).replace("0.6", "[" * 40 + "]" * 40), "nested deeper"),
    ],
)
def test_wrong_headers(tmp_path, header, sentence):
    path = tmp_path / "model.safetensors"
    write(path, header)
    assert sentence in refused(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_weights_that_are_not_finite(tmp_path, dtype):
    path = tmp_path / "model.safetensors"
    write(path, HEADER, {"w": torch.tensor([[1.0, float("inf")]], dtype=dtype)})
    assert "weight 'w' holds values that are not finite" in refused(path)


def test_double_precision_weights_beyond_float32(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, HEADER, {"w": torch.tensor([[1e300]], dtype=torch.float64)})
    assert "not finite" in refused(path)


def test_weights_of_other_types(tmp_path):
    path = tmp_path / "model.safetensors"
    write(path, HEADER, {"w": torch.tensor([True])})
    assert "weight 'w' has type torch.bool" in refused(path)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_bundle(example(), path)
    data = path.read_bytes()
    for length in [*range(0, len(data), 37), len(data) - 1]:
        path.write_bytes(data[:length])
        refused(path)


@settings(max_examples=300)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_damaged_bytes_end_in_a_sentence_or_a_bundle(tmp_path_factory, seed, count):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    save_bundle(example(), path)
    data, rng = bytearray(path.read_bytes()), random.Random(seed)
    header_length = int.from_bytes(data[:8], "little")
    for _ in range(count):
        data[rng.randrange(8 + header_length)] = rng.randrange(256)
    path.write_bytes(data)
    try:
        bundle = load_bundle(path)
    except BundleError as error:
        assert str(path) in str(error)
    else:
        assert isinstance(bundle, Bundle)


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "noise.safetensors"
    path.write_bytes(data)
    refused(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(HEADER)), json_values)
def test_any_json_in_any_entry_ends_in_a_sentence_or_a_bundle(tmp_path_factory, entry, value):
    path = tmp_path_factory.getbasetemp() / "entry.safetensors"
    write(path, HEADER | {entry: value})
    try:
        assert isinstance(load_bundle(path), Bundle)
    except BundleError as error:
        assert str(path) in str(error)
